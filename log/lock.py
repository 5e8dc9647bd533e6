"""The lock on a data folder: file `.lock`, held by the operating system, with the holder's pid inside for people.

`fcntl.flock` where there is one, `msvcrt.locking` on Windows. A POSIX record lock is taken too: Kafka itself asks for
that.
"""

from __future__ import annotations

import os
from collections.abc import Callable

LOCK_FILE = ".lock"
_FAR_BYTE = 0x7FFF0000  # msvcrt locks are mandatory: lock a byte that nobody reads

Locker = Callable[[int], None]
"""Takes the lock on a descriptor without waiting; raises OSError if another holds it. Released when the descriptor
closes."""


def lock_posix(fd: int) -> None:
    """`flock` keeps out other openings, also of this process; `lockf` a Kafka broker."""
    import fcntl

    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_windows(fd: int) -> None:
    """One byte far behind the text."""
    import msvcrt

    os.lseek(fd, _FAR_BYTE, os.SEEK_SET)
    msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


def default_locker() -> Locker:
    """What this platform has."""
    try:
        import fcntl  # noqa: F401
    except ImportError:
        return lock_windows
    return lock_posix


class FolderLockedError(Exception):
    """Another process holds the folder; `pid` as its lock file says, None if it does not."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(pid)
        self.pid = pid


class FolderLock:
    """Held from construction to `release`."""

    __slots__ = ("_fd",)

    def __init__(self, folder: str, locker: Locker | None = None) -> None:
        """Raises FolderLockedError, OSError if the file cannot be made."""
        path = os.path.join(folder, LOCK_FILE)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                (locker or default_locker())(fd)
            except OSError as error:
                os.lseek(fd, 0, os.SEEK_SET)
                text = os.read(fd, 32).split()
                raise FolderLockedError(int(text[0]) if text and text[0].isdigit() else None) from error
            os.lseek(fd, 0, os.SEEK_SET)
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    @property
    def released(self) -> bool:
        return self._fd < 0

    def release(self) -> None:
        """Idempotent. The file stays: removing it would race with the next holder."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.ftruncate(fd, 0)
            os.close(fd)
