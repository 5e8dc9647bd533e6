"""Files and folders that were deleted and are unlinked later, after file.delete.delay.ms: what reads them may go on.

When to look is the broker's. What is not unlinked when it stops is left for the next start (`-delete` folders).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from ottla.log.clock import Clock
from ottla.log.filesystem import FileSystem

DELETED_SUFFIX: Final = "-delete"


class Deletions:
    """What waits to be unlinked."""

    __slots__ = ("_clock", "_fs", "_waiting", "_warn")

    def __init__(self, fs: FileSystem, clock: Clock, warn: Callable[[str], None]) -> None:
        self._fs = fs
        self._clock = clock
        self._warn = warn
        self._waiting: list[tuple[int, list[str]]] = []  # (due mono ms, paths of files or folders)

    def later(self, paths: list[str], delay_ms: int) -> None:
        """Unlink them once the delay is over; folders are told by their suffix."""
        if paths:
            self._waiting.append((self._clock.mono_ms() + delay_ms, paths))

    def next_ms(self) -> int | None:
        """When (mono ms) `run` has something to do; None if nothing waits."""
        return min((due for due, _ in self._waiting), default=None)

    def run(self, now_ms: int) -> None:
        """Unlink what was deleted at least file.delete.delay.ms ago (`now_ms` on the monotonic clock)."""
        for trouble in self.remove(self.due(now_ms)):
            self._warn(trouble)

    def due(self, now_ms: int) -> list[str]:
        """Take the files and folders whose time is over; they are the caller's to `remove`."""
        due = [path for due_ms, paths in self._waiting if due_ms <= now_ms for path in paths]
        if due:
            self._waiting = [entry for entry in self._waiting if entry[0] > now_ms]
        return due

    def remove(self, paths: list[str]) -> list[str]:
        """Unlink `paths`; a sentence for each that could not be. May run in a thread: big files take time."""
        troubles = []
        for path in paths:
            try:
                if path.endswith(DELETED_SUFFIX):
                    self.remove_folder(path)
                else:
                    self._fs.unlink(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                troubles.append(f"cannot remove {path}: {error.strerror or error}")
        return troubles

    def remove_folder(self, folder: str) -> None:
        """At once. Raises OSError."""
        for name in self._fs.list_folder(folder):
            path = f"{folder}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):  # of a snapshot that a crash cut short
                self.remove_folder(path)
            else:
                self._fs.unlink(path)
        self._fs.remove_folder(folder)
