"""The committed offsets of a group as its broker knows them, read all the time from outside the group."""

import threading
import time
from collections import defaultdict
from typing import NamedTuple, Self

from compat_tests.harness import Broker
from compat_tests.member import Story
from compat_tests.raw import RawConnection

_PAUSE_S = 0.05


class Sample(NamedTuple):
    """Partition -> committed offset, at a moment of the machine's monotonic clock."""

    at_s: float
    offsets: dict[int, int]


class Watch:
    """Reads until the end of the block. A broker that is away is asked again."""

    def __init__(self, broker: Broker, group: str, topic: str) -> None:
        self.samples: list[Sample] = []
        self._broker = broker
        self._group = group
        self._topic = topic
        self._changed = threading.Condition()
        self._enough = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._read)

    def wait_for(self, offsets: dict[int, int], timeout_s: float) -> None:
        """Waits until exactly these offsets are committed."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._last() == offsets, timeout_s):
                left = {p: (self._last().get(p), end) for p, end in offsets.items() if self._last().get(p) != end}
                raise AssertionError(f"not within {timeout_s:.0f} s: all is committed; (committed, end) differ: {left}")

    def faults(self, story: Story) -> list[str]:
        """Each step back of a committed offset, and each offset that was committed before it was consumed."""
        consumed = sorted((event.at_s, p, offset) for event in story.named("records") for p, offset, _ in event.value)
        faults, before, highest, at = [], Sample(0.0, {}), defaultdict(int), 0
        for sample in self.samples:
            while at < len(consumed) and consumed[at][0] <= sample.at_s:
                _, partition, offset = consumed[at]
                highest[partition] = max(highest[partition], offset + 1)
                at += 1
            for partition, offset in sample.offsets.items():
                if offset > highest[partition]:
                    faults.append(
                        f"{partition}: {offset} committed, consumed up to {highest[partition]}: {sample.at_s}"
                    )
            for partition, offset in before.offsets.items():
                if sample.offsets.get(partition, -1) < offset:
                    faults.append(f"{partition}: {offset} went back to {sample.offsets.get(partition)}: {sample.at_s}")
            before = sample
        return faults

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()
        if self._failures:
            raise self._failures[0]

    def _last(self) -> dict[int, int]:
        return self.samples[-1].offsets if self.samples else {}

    def _read(self) -> None:
        while not self._enough.is_set():
            try:
                with RawConnection(self._broker.port) as connection:
                    while not self._enough.wait(_PAUSE_S):
                        self._take(connection)
            except OSError:  # killed, or not started again yet
                self._enough.wait(_PAUSE_S)
            except BaseException as failure:
                self._failures.append(failure)
                return

    def _take(self, connection: RawConnection) -> None:
        committed = connection.committed_if_served(self._group)
        if committed is None:
            return
        offsets = {partition: offset for (topic, partition), offset in committed.items() if topic == self._topic}
        with self._changed:
            self.samples.append(Sample(time.monotonic(), offsets))
            self._changed.notify_all()
