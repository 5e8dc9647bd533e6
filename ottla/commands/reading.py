"""Reading records for `consume` and `tail`: where to begin, until where, and what to do about silence."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ottla.commands.base import CommandError
from ottla.log.clock import SystemClock

if TYPE_CHECKING:
    from kafka import KafkaConsumer

    from ottla.commands.group_facts import Partition

_POLL_MS: Final = 200
_MAX_RECORDS: Final = 500


def isolation(flags: argparse.Namespace) -> str:
    """The isolation level that --committed asks for."""
    return "read_committed" if flags.committed else "read_uncommitted"


def read(
    consumer: KafkaConsumer,
    *,
    ends: dict[Partition, int] | None = None,
    count: int | None = None,
    idle_ms: int | None = None,
) -> Iterator[list[Any]]:
    """Batches of records, until `count` records or, in all partitions that are assigned, the offsets `ends`.

    With both None: for ever. An empty batch says that nothing came for a moment. If nothing comes for `idle_ms` though
    the ends are not reached, raises CommandError.
    """
    with _interrupted_between_polls() as raise_if_interrupted:
        yield from _read(consumer, ends, count, idle_ms, raise_if_interrupted)


@contextmanager
def _interrupted_between_polls() -> Iterator[Callable[[], None]]:
    """Ctrl-C is heard where the function given is called: in the middle of a poll it would leave the library's loop as
    it is, and closing waits for that, for ever at times. A second one is heard at once.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are none of its business
        yield lambda: None
        return
    interrupted = False

    def note(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, before)

    def raise_if_interrupted() -> None:
        if interrupted:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield raise_if_interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _read(
    consumer: KafkaConsumer,
    ends: dict[Partition, int] | None,
    count: int | None,
    idle_ms: int | None,
    raise_if_interrupted: Callable[[], None],
) -> Iterator[list[Any]]:
    clock = SystemClock()
    last = clock.mono_ms()
    left = count
    while left is None or left > 0:
        raise_if_interrupted()
        if ends is not None and _reached(consumer, ends):
            return
        found = consumer.poll(timeout_ms=_POLL_MS, max_records=min(_MAX_RECORDS, left or _MAX_RECORDS))
        batch = [
            record
            for at, records in found.items()
            for record in records
            if ends is None or record.offset < ends.get((at.topic, at.partition), record.offset + 1)
        ]
        if found:
            last = clock.mono_ms()
        elif idle_ms is not None and ends is not None and clock.mono_ms() - last > idle_ms:
            if _reached(consumer, ends):
                return
            raise CommandError(
                f"no records came for {idle_ms / 1000:g} s though there are more; is the cluster well? `ottla topics"
                " describe` shows leaders, --verbose what the client sees, --timeout SECONDS waits longer"
            )
        if left is not None:
            left -= len(batch)
        yield batch


def _reached(consumer: KafkaConsumer, ends: dict[Partition, int]) -> bool:
    assigned = consumer.assignment()
    return bool(assigned) and all(
        (consumer.position(at) or 0) >= ends.get((at.topic, at.partition), 0) for at in assigned
    )
