"""What is said about a disk that fails: one line when it begins, one when it is over, whatever the number of requests.

Every failed write passes here on its way to a KAFKA_STORAGE_ERROR. What to do about it is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ottla.log.clock import Clock
from ottla.log.files import storage_error
from ottla.wire.errors import KafkaError

QUIET_MS: Final = 5_000  # that long nothing may have failed before writing is said to work again
_READ_LINE_MS: Final = 60_000


class Health:
    """Whether writes to a data folder fail."""

    __slots__ = ("_clock", "_failures", "_last_ms", "_next_read_line_ms", "_since_ms", "_warn", "failing")

    def __init__(self, clock: Clock, warn: Callable[[str], None]) -> None:
        self._clock = clock
        self._warn = warn
        self.failing = False
        self._failures = 0
        self._since_ms = self._last_ms = 0
        self._next_read_line_ms: int | None = None

    def write_failed(self, action: str, error: OSError) -> KafkaError:
        """A KAFKA_STORAGE_ERROR that says that `action` failed; the first of a series is a line for people too."""
        failure = storage_error(action, error)
        now_ms = self._last_ms = self._clock.mono_ms()
        self._failures += 1
        if not self.failing:
            self.failing = True
            self._since_ms = now_ms
            self._failures = 1
            self._warn(
                f"storage fails: {failure.message}; such writes are refused with KAFKA_STORAGE_ERROR until they work "
                "again, reads go on"
            )
        return failure

    def read_failed(self, action: str, error: OSError) -> KafkaError:
        """As `write_failed`, for reads; a line a minute at most."""
        failure = storage_error(action, error)
        now_ms = self._clock.mono_ms()
        if self._next_read_line_ms is None or now_ms >= self._next_read_line_ms:
            self._next_read_line_ms = now_ms + _READ_LINE_MS
            self._warn(f"storage fails: {failure.message}; answered with KAFKA_STORAGE_ERROR")
        return failure

    @property
    def wants_probe(self) -> bool:
        """Writes failed, but none of late: does one work now?"""
        return self.failing and self._clock.mono_ms() - self._last_ms >= QUIET_MS

    def recovered(self) -> None:
        """A write worked again."""
        if self.failing:
            self.failing = False
            seconds = (self._clock.mono_ms() - self._since_ms) // 1000
            self._warn(f"storage works again after {seconds} s and {self._failures} failed writes")
