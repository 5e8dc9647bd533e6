"""Open files: the bound, holders, slices that outlive their file's name, and systems without pread and pwrite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ottla.log.files import FileHandle, FilePool, StoredSlice
from ottla.log.filesystem import FileSystem
from ottla.wire.errors import ErrorCode, KafkaError


def handle(pool: FilePool, folder: Path, name: str) -> FileHandle:
    (folder / name).write_bytes(name.encode())
    return FileHandle(pool, str(folder / name))


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("positioned", [True, False])
def test_a_slice_outlives_its_file(tmp_path: Path, positioned: bool) -> None:
    fs = FileSystem(positioned=positioned)
    held = handle(FilePool(fs, 4), tmp_path, "some bytes")
    taken = StoredSlice(fs, held.open(), 5, 5)
    fd = taken.fileno()
    held.close()
    (tmp_path / "some bytes").unlink()
    assert (taken.nbytes, taken.position, taken.read()) == (5, 5, b"bytes")
    taken.release()
    taken.release()
    assert not is_open(fd)
    with pytest.raises(ValueError, match="released"):
        taken.fileno()


def test_files_that_no_slice_holds_are_closed_over_the_bound(tmp_path: Path) -> None:
    fs = FileSystem()
    pool = FilePool(fs, 3)
    handles = [handle(pool, tmp_path, str(number)) for number in range(8)]
    taken = [StoredSlice(fs, h.open(), 0, 1) for h in handles[:2]]
    for h in handles[2:] * 2:
        assert fs.pread(h.open().fd, 10, 0) == Path(h.path).name.encode()
        assert sum(other.file is not None for other in handles) <= 3
    assert all(h.file is not None for h in handles[:2])
    assert [one.read() for one in taken] == [b"0", b"1"]
    for one in taken:
        one.release()
    for h in handles[2:]:
        h.open()
    assert any(h.file is None for h in handles[:2])


def test_used_files_stay(tmp_path: Path) -> None:
    pool = FilePool(FileSystem(), 3)
    handles = [handle(pool, tmp_path, str(number)) for number in range(10)]
    hot = handles[0].open()
    for h in handles[1:]:
        handles[0].open()
        h.open()
    assert handles[0].file is hot


def test_a_file_that_is_too_short(tmp_path: Path) -> None:
    fs = FileSystem()
    taken = StoredSlice(fs, handle(FilePool(fs, 4), tmp_path, "abc").open(), 1, 10)
    with pytest.raises(KafkaError) as caught:
        taken.read()
    assert caught.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    taken.release()


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileHandle(FilePool(FileSystem(), 4), str(tmp_path / "gone")).open()


def test_fallbacks_write_where_they_are_told(tmp_path: Path) -> None:
    fs = FileSystem(positioned=False)
    fd = FileHandle(FilePool(fs, 4), str(tmp_path / "f")).open(create=True).fd
    assert fs.pwrite(fd, b"world", 5) == 5
    assert fs.pwrite(fd, memoryview(b"hello"), 0) == 5
    assert fs.pread(fd, 100, 3) == b"loworld"
