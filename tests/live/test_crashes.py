"""kill -9 again and again under load, and a disk that is really full: nothing that was acknowledged is missing."""

from __future__ import annotations

import contextlib
import os
import resource
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compat_tests.harness import DEADLINE_S, Broker, make_broker
from compat_tests.raw import NONE, RawConnection, one_batch, produce_request

KILLS = 20
LOAD = 100  # records that are acknowledged between two kills
STORAGE_ERROR = 56
TOPIC = "t"


class Writer(threading.Thread):
    """Sends numbered records one after another, each until it is acknowledged, over as many connections as it takes.

    `acked[n]` is the offset that record n was acknowledged with.
    """

    def __init__(self, name: bytes, broker: Broker, *, idempotent: bool) -> None:
        super().__init__()
        self.prefix = name
        self.idempotent = idempotent
        self.acked: list[int] = []
        self.retries = 0
        self.stop = False
        self.error: BaseException | None = None
        self._port = broker.port
        self._producer_id, self._epoch = -1, -1

    def run(self) -> None:
        try:
            while not self.stop:
                with contextlib.suppress(OSError), RawConnection(self._port) as connection:
                    if self.idempotent and self._producer_id < 0:
                        _, self._producer_id, self._epoch = connection.init_producer_id()
                    while not self.stop:
                        self._write_one(connection)
                time.sleep(0.01)  # the broker is away
        except BaseException as error:
            self.error = error

    def _write_one(self, connection: RawConnection) -> None:
        number = len(self.acked)
        batch = one_batch(
            [b"%s:%d" % (self.prefix, number) + bytes(2000)],
            producer_id=self._producer_id,
            producer_epoch=self._epoch,
            base_sequence=number if self.idempotent else -1,
        )
        try:
            answer = connection.produce(produce_request(TOPIC, batch))
        except OSError:
            self.retries += 1
            raise
        assert answer.error == NONE, answer
        self.acked.append(answer.base_offset)


def write_more(writers: list[Writer]) -> None:
    """Waits until LOAD more records are acknowledged, some of each writer."""
    before = [len(writer.acked) for writer in writers]
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        more = [len(writer.acked) - acked for writer, acked in zip(writers, before, strict=True)]
        if min(more) > 0 and sum(more) >= LOAD:
            return
        assert all(writer.error is None for writer in writers), [writer.error for writer in writers]
        assert time.monotonic() < deadline_s, more
        time.sleep(0.01)


def read_all(port: int) -> dict[int, bytes]:
    """Offset and value (up to the padding) of each record; each batch here holds one."""
    found: dict[int, bytes] = {}
    with RawConnection(port) as connection:
        end, offset = connection.end_offset(TOPIC), 0
        while offset < end:
            data = connection.fetch(TOPIC, offset)
            at = 0
            while at + 61 <= len(data):
                base, length = struct.unpack_from(">qi", data, at)
                if at + 12 + length > len(data):
                    break
                assert base == offset, f"offset {offset} expected, {base} found"
                value = data[at + 61 : at + 12 + length]
                found[base] = value[value.index(b"w") : value.index(b"\0", value.index(b"w"))]
                offset, at = base + 1, at + 12 + length
            assert at, f"nothing at offset {offset} of {end}"
    return found


@pytest.mark.long
@pytest.mark.parametrize("flush", ["never", "before each acknowledgement"])
def test_kill_under_load(tmp_path: Path, flush: str, figure: Callable[[str, object], None]) -> None:
    settings = {"log.segment.bytes": str(1 << 20)}
    if flush != "never":
        settings["log.flush.interval.messages"] = "1"
    with make_broker(tmp_path, settings=settings) as broker:
        with RawConnection(broker.port) as connection:
            connection.make_topic(TOPIC)
        writers = [Writer(b"w%d" % n, broker, idempotent=n % 2 == 0) for n in range(4)]
        for writer in writers:
            writer.start()
        for _ in range(KILLS):
            write_more(writers)
            broker.restart(kill=True)
        write_more(writers)
        for writer in writers:
            writer.stop = True
        for writer in writers:
            writer.join(DEADLINE_S)
            assert writer.error is None
            assert not writer.is_alive()
        found = read_all(broker.port)
        broker.restart()
        assert read_all(broker.port) == found
    assert list(found) == list(range(len(found)))
    figure("acknowledged", sum(len(writer.acked) for writer in writers))
    figure("retries", sum(writer.retries for writer in writers))
    assert sum(writer.retries for writer in writers) > KILLS // 2, "nobody was hit"
    for writer in writers:
        for number, offset in enumerate(writer.acked):
            assert found[offset] == b"%s:%d" % (writer.prefix, number)
        if writer.idempotent:
            stored = [value for value in found.values() if value.startswith(writer.prefix + b":")]
            numbers = [int(value.partition(b":")[2]) for value in stored]
            assert numbers == list(range(len(numbers))), "exactly once, and in order"
            assert len(numbers) - len(writer.acked) <= 1


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[Broker], tuple[Callable[[], None], Callable[[], None]]]]:
    """Gives what fills, and what relieves, the disk of a broker in `folder`: a file system of 8 MiB where one may be
    mounted, a limit on the size of files elsewhere.
    """
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "ottla-test", str(folder)]
    try:
        mounted = not subprocess.run(command, check=False, capture_output=True).returncode
    except OSError:
        mounted = False

    def of(broker: Broker) -> tuple[Callable[[], None], Callable[[], None]]:
        if mounted:
            fill = folder / "of others"
            return (
                lambda: fill.write_bytes(bytes(os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize)) and None,
                fill.unlink,
            )
        pid = broker.pid
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        return (
            lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (50_000, limits[1])) and None,
            lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, limits) and None,
        )

    try:
        yield of
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.long
def test_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "data"  # of the broker; its log is beside it
    folder.mkdir()
    with small_disk(folder) as disk_of, make_broker(tmp_path, settings={"log.segment.bytes": str(1 << 20)}) as broker:
        fill, relieve = disk_of(broker)
        acked: dict[int, bytes] = {}
        number = 0

        def write() -> int:
            nonlocal number
            number += 1
            value = b"w:%d" % number
            answer = connection.produce(produce_request(TOPIC, one_batch([value + bytes(3000)])))
            if answer.error == NONE:
                acked[answer.base_offset] = value
            return answer.error

        with RawConnection(broker.port) as connection:
            connection.make_topic(TOPIC)
            for _ in range(20):
                assert write() == NONE
            for _ in range(3):
                fill()
                codes = [write() for _ in range(200)]
                assert set(codes) <= {NONE, STORAGE_ERROR}
                assert codes[-1] == STORAGE_ERROR
                assert read_all(broker.port) == acked  # reads go on
                relieve()
                assert write() == NONE  # and so do writes
            deadline_s = time.monotonic() + DEADLINE_S
            while "storage works again" not in broker.log:
                assert time.monotonic() < deadline_s, broker.log
                time.sleep(0.05)
            assert 1 <= broker.log.count("storage fails") <= 3
        fill()
        broker.kill()
        with contextlib.suppress(ProcessLookupError):  # a limit ended with its process
            relieve()
        broker.start()
        assert read_all(broker.port) == acked
