"""The few file system calls that the log makes, as one small object so that tests can let a disk fill up or fail.

A file with more than one name (a fork's, see fork.py) is never written in place: `write_file` and `make_own` see to
that. On the hot path its members are the `os` functions themselves, so they cost nothing. Nothing about Kafka's files
lives here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from typing import Final, cast

from ottla.wire.schema import Buffer

_BINARY: Final = getattr(os, "O_BINARY", 0)  # Windows opens descriptors in text mode otherwise
READ_WRITE: Final = os.O_RDWR | _BINARY
CREATE: Final = READ_WRITE | os.O_CREAT
_COPY_CHUNK: Final = 1 << 20
# Why a second name cannot be had though the file can be read: another disk, a file system without links, too many.
_NO_LINKS: Final = frozenset(
    (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EINVAL)
)


def seek_pread(fd: int, size: int, position: int) -> bytes:
    """`os.pread` where there is none (Windows): it moves the file position, which nobody here relies on."""
    os.lseek(fd, position, os.SEEK_SET)
    return os.read(fd, size)


def seek_pwrite(fd: int, data: Buffer, position: int) -> int:
    """`os.pwrite` where there is none."""
    os.lseek(fd, position, os.SEEK_SET)
    return os.write(fd, data)


def _sync_nothing(fd: int) -> None:
    pass


class FileSystem:
    """The machine's own file system. Every method raises OSError as the `os` function of that name does."""

    __slots__ = ("_durable", "_scatters", "datasync", "pread", "pwrite", "truncate")

    pread: Callable[[int, int, int], bytes]
    pwrite: Callable[[int, Buffer, int], int]
    truncate: Callable[[int, int], None]
    datasync: Callable[[int], None]

    def __init__(self, *, positioned: bool = hasattr(os, "pwrite"), durable: bool = True) -> None:
        """`positioned` False forces the fallbacks of systems without pread and pwrite; `durable` False syncs nothing (a
        temporary data folder)."""
        self._durable = durable
        self._scatters = positioned and hasattr(os, "preadv")
        self.pread = os.pread if positioned else seek_pread
        self.pwrite = os.pwrite if positioned else seek_pwrite
        self.truncate = os.ftruncate
        self.datasync = cast(Callable[[int], None], getattr(os, "fdatasync", os.fsync)) if durable else _sync_nothing

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags, 0o644)

    def pread_into(self, fd: int, room: memoryview, position: int) -> int:
        """Fill `room` from `position` on, as far as the file goes; how many bytes those were."""
        if self._scatters:
            return os.preadv(fd, (room,), position)
        data = self.pread(fd, len(room), position)
        room[: len(data)] = data
        return len(data)

    def read_file(self, path: str) -> bytes:
        """The whole content of a small file. (A file object would cost a start four times as much.)"""
        fd = os.open(path, os.O_RDONLY | _BINARY)
        try:
            size = os.fstat(fd).st_size
            data = os.read(fd, size + 1)
            while len(data) != size:  # a file system that reads in pieces, or a file that grows
                more = os.read(fd, _COPY_CHUNK)
                if not more:
                    break
                data += more
            return data
        finally:
            os.close(fd)

    def write_file(self, path: str, data: Buffer, *, sync: bool, append: bool = False) -> None:
        """Write (or append) a small file in place; its old content is not safe against a crash: see `replace_file`."""
        flags = os.O_WRONLY | os.O_CREAT | _BINARY | (os.O_APPEND if append else 0)
        fd = os.open(path, flags, 0o644)
        try:
            status = os.fstat(fd)
            if status.st_nlink > 1:
                os.close(fd)
                fd = -1
                if append:
                    self.make_own(path)
                else:
                    os.unlink(path)
                fd = os.open(path, flags, 0o644)
            elif status.st_size and not append:
                os.ftruncate(fd, 0)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if sync and self._durable:
                os.fsync(fd)
        finally:
            if fd >= 0:
                os.close(fd)

    def replace_file(self, path: str, data: Buffer, *, sync: bool = True) -> None:
        """Replace a file's content at once: temporary file, fsync, rename, fsync of the folder."""
        temporary = path + ".tmp"
        self.write_file(temporary, data, sync=sync)
        self.rename(temporary, path)
        if sync:
            self.sync_folder(os.path.dirname(path))

    def link(self, source: str, target: str) -> bool:
        """Give a file a second name, which must be free; a copy where that cannot be, with the same time of change.

        True if it is a link: neither name may be written to any more. Raises OSError.
        """
        try:
            self.make_link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self.copy_file(source, target)
            return False
        return True

    def make_link(self, source: str, target: str) -> None:
        if not hasattr(os, "link"):
            raise OSError(errno.ENOTSUP, "no links on this platform")
        os.link(source, target)

    def copy_file(self, source: str, target: str) -> None:
        """A new file of the same bytes and time of change; what was at `target` is gone."""
        with open(source, "rb") as taken, open(target, "wb") as given:
            while chunk := taken.read(_COPY_CHUNK):
                given.write(chunk)
            status = os.fstat(taken.fileno())
            if self._durable:
                given.flush()
                os.fsync(given.fileno())
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))

    def make_own(self, path: str) -> None:
        """Part a file from its other names: a copy takes its place, which may be written to. Whoever has the file open
        must open it again."""
        temporary = path + ".tmp"
        try:
            self.copy_file(path, temporary)
            self.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def make_folder(self, path: str) -> None:
        os.mkdir(path)

    def remove_folder(self, path: str) -> None:
        os.rmdir(path)

    def list_folder(self, path: str) -> list[str]:
        return os.listdir(path)

    def sync_folder(self, path: str) -> None:
        """Make renames and new files in a folder durable; nothing where folders cannot be opened (Windows)."""
        if sys.platform == "win32" or not self._durable:
            return
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
