"""Open files of the log: counted references, a bound on how many stay open, and the slices that responses carry.

A file is closed only when nobody holds it, so a slice outlives the deletion of its segment. Must not know batches or
offsets.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from ottla.log.filesystem import CREATE, READ_WRITE, FileSystem
from ottla.wire.errors import ErrorCode, KafkaError


def storage_error(action: str, error: OSError) -> KafkaError:
    """KAFKA_STORAGE_ERROR that says what failed and why."""
    return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"cannot {action}: {error.strerror or error}")


class OpenFile:
    """One descriptor and how many slices (or running syncs) hold it."""

    __slots__ = ("fd", "holders", "retired", "used")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.holders = 0
        self.retired = False  # its owner gave it up: the last holder closes it
        self.used = False  # again since it was opened: a second chance against eviction

    def release(self) -> None:
        """One holder fewer; closes a retired file that nobody holds any more."""
        self.holders -= 1
        if self.retired and self.holders <= 0:
            self._close()

    def retire(self) -> None:
        """The owner needs it no more; closed now, or when the last holder is done."""
        if not self.retired:
            self.retired = True
            if self.holders <= 0:
                self._close()

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class FileHandle:
    """A log file that may be open or not: `file` is set while it is.

    `begin`: the file is not there yet. It is made when it is first opened, and given to `begin` by its descriptor.
    """

    __slots__ = ("_pool", "begin", "file", "path")

    def __init__(self, pool: FilePool, path: str, begin: Callable[[int], None] | None = None) -> None:
        self._pool = pool
        self.path = path
        self.file: OpenFile | None = None
        self.begin = begin

    def open(self, *, create: bool = False) -> OpenFile:
        """The open file, opened now if it is not (and made, if asked). Raises OSError."""
        file = self.file
        if file is not None:
            file.used = True
            return file
        begin = self.begin
        if begin is None:
            return self._pool.open(self, create=create)
        file = self._pool.open(self, create=True)
        try:
            if os.fstat(file.fd).st_nlink > 1:  # a left-over that is not ours alone
                self.close()
                self._pool.fs.unlink(self.path)
                file = self._pool.open(self, create=True)
            begin(file.fd)
        except OSError:
            self.close()
            raise
        self.begin = None
        return file

    def open_own(self) -> OpenFile:
        """As `open`, to change bytes that are there or to add some: a file with other names is parted from them first.

        Whoever holds the old file keeps it. Raises OSError.
        """
        file = self.open()
        if os.fstat(file.fd).st_nlink > 1:
            self.close()
            self._pool.fs.make_own(self.path)
            file = self.open()
        return file

    def close(self) -> None:
        """Give the descriptor back; slices that hold it keep it until they are released."""
        file, self.file = self.file, None
        if file is not None:
            file.retire()


class FilePool:
    """All open log files of a store: at most `limit` that no slice holds, the least used closed first (second
    chance)."""

    __slots__ = ("_open", "fs", "limit", "warn")

    def __init__(self, fs: FileSystem, limit: int, warn: Callable[[str], None] = lambda _: None) -> None:
        self.fs = fs
        self.limit = limit
        self.warn = warn  # what is found damaged in these files
        self._open: deque[tuple[FileHandle, OpenFile]] = deque()

    def open(self, handle: FileHandle, *, create: bool) -> OpenFile:
        """Open the handle's file, closing an idle one if the bound is reached. Raises OSError."""
        if len(self._open) >= self.limit:
            self._make_room()
        file = OpenFile(self.fs.open(handle.path, CREATE if create else READ_WRITE))
        handle.file = file
        self._open.append((handle, file))
        return file

    def _make_room(self) -> None:
        for _ in range(2 * len(self._open)):
            if len(self._open) < self.limit:
                return
            entry = self._open.popleft()
            handle, file = entry
            if file.retired:
                continue
            if file.used or file.holders:
                file.used = False
                self._open.append(entry)
            else:
                handle.close()


class StoredSlice:
    """`nbytes` bytes of an open log file from `position` on; see `door.FileSlice`."""

    __slots__ = ("_file", "_fs", "nbytes", "position")

    def __init__(self, fs: FileSystem, file: OpenFile, position: int, nbytes: int) -> None:
        file.holders += 1
        self._file: OpenFile | None = file
        self._fs = fs
        self.position = position
        self.nbytes = nbytes

    def fileno(self) -> int:
        """The descriptor. Only before `release`."""
        file = self._file
        if file is None:
            raise ValueError("the slice was released")
        return file.fd

    def read_into(self, room: memoryview, start: int) -> int:
        """Fill `room` with the slice's bytes from `start` on, as many as there are; how many those were. Raises
        KafkaError KAFKA_STORAGE_ERROR when the file does not give them."""
        wanted = min(len(room), self.nbytes - start)
        filled = 0
        try:
            while filled < wanted:  # a signal or a pipe-like file system may cut a read short
                got = self._fs.pread_into(self.fileno(), room[filled:wanted], self.position + start + filled)
                if not got:
                    raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "a log file is shorter than its index says")
                filled += got
        except OSError as error:
            raise storage_error("read a log file", error) from error
        return filled

    def read(self, start: int = 0, nbytes: int | None = None) -> bytes:
        """`nbytes` bytes (None: all that are left) from `start` on. Raises KafkaError KAFKA_STORAGE_ERROR when the file
        does not give them."""
        if nbytes is None:
            nbytes = self.nbytes - start
        position = self.position + start
        try:
            data = self._fs.pread(self.fileno(), nbytes, position)
            while len(data) < nbytes:  # a signal or a pipe-like file system may cut a read short
                more = self._fs.pread(self.fileno(), nbytes - len(data), position + len(data))
                if not more:
                    raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "a log file is shorter than its index says")
                data += more
        except OSError as error:
            raise storage_error("read a log file", error) from error
        return data

    def release(self) -> None:
        """Give the file back; idempotent."""
        file, self._file = self._file, None
        if file is not None:
            file.release()
