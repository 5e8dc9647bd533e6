"""The few file system calls that the log makes, as one small object so that tests can let a disk fill up or fail.

On the hot path its members are the `os` functions themselves, so they cost nothing. Nothing about Kafka's files lives
here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final, cast

from ottla.wire.schema import Buffer

_BINARY: Final = getattr(os, "O_BINARY", 0)  # Windows opens descriptors in text mode otherwise
READ_WRITE: Final = os.O_RDWR | _BINARY
CREATE: Final = READ_WRITE | os.O_CREAT


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
        """The whole content of a small file."""
        with open(path, "rb") as file:
            return file.read()

    def write_file(self, path: str, data: Buffer, *, sync: bool, append: bool = False) -> None:
        """Write (or append) a small file in place; its old content is not safe against a crash: see `replace_file`."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | _BINARY | (os.O_APPEND if append else os.O_TRUNC), 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if sync and self._durable:
                os.fsync(fd)
        finally:
            os.close(fd)

    def replace_file(self, path: str, data: Buffer, *, sync: bool = True) -> None:
        """Replace a file's content at once: temporary file, fsync, rename, fsync of the folder."""
        temporary = path + ".tmp"
        self.write_file(temporary, data, sync=sync)
        self.rename(temporary, path)
        if sync:
            self.sync_folder(os.path.dirname(path))

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
