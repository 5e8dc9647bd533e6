"""Forking a data folder: what is shared, what is not, and that neither side writes to what is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ottla.log.door import Pending
from ottla.log.filesystem import FileSystem
from ottla.log.fork import fork_partition
from ottla.log.store import Store
from ottla.wire.errors import KafkaError
from tests.log.conftest import BadDisk, Lab


def fork(lab: Lab, store: Store, name: str = "fork") -> Store:
    path = lab.folder.parent / name
    path.mkdir()
    store.fork(str(path))
    return lab.open(path)


def shared(folder: Path) -> set[str]:
    """Names of the files that are another folder's, too."""
    return {path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_nlink > 1}


def values(store: Store) -> list[bytes | None]:
    return [value for _, value in Lab.read_all(store.get("t", 0))]  # type: ignore[arg-type]


def name(offset: int, suffix: str = ".log") -> str:
    return f"{offset:020d}{suffix}"


def test_segments_and_what_belongs_to_them_are_shared_and_what_comes_next_is_not(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store, segment_bytes="200")
    for value in (b"a" * 100, b"b" * 100, b"c" * 100):
        lab.append(log, value)
    forked = fork(lab, store)
    folder = lab.folder.parent / "fork" / "t-0"
    assert shared(folder) >= {name(at, suffix) for at in (0, 1, 2) for suffix in (".log", ".index", ".timeindex")}
    lab.append(log, b"of the original")
    lab.append(lab.log(forked, segment_bytes="200"), b"of the fork")
    assert values(store)[3:] == [b"of the original"]
    assert values(forked)[3:] == [b"of the fork"]
    assert name(3) not in shared(folder)
    assert lab.warnings == []


def test_a_fork_is_as_after_a_clean_stop(lab: Lab) -> None:
    store = lab.open()
    lab.append(lab.log(store), b"one")
    forked = fork(lab, store)
    assert forked.was_clean
    assert (forked.cluster_id, forked.directory_id) == (store.cluster_id, store.directory_id)
    assert forked.topic_id("t", 0) == store.topic_id("t", 0)


def test_the_second_fork_of_what_did_not_change_writes_nothing_to_the_original(lab: Lab) -> None:
    store = lab.open()
    lab.append(lab.log(store), b"one")
    fork(lab, store, "first")
    before = {path: path.stat().st_mtime_ns for path in lab.folder.rglob("*")}
    fork(lab, store, "second")
    assert {path: path.stat().st_mtime_ns for path in lab.folder.rglob("*")} == before


class Counting(FileSystem):
    """Copies nothing, and knows how much was read of log files."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0
        read = self.pread

        def pread(fd: int, size: int, position: int) -> bytes:
            data = read(fd, size, position)
            self.read += len(data)
            return data

        self.pread = pread

    def copy_file(self, source: str, target: str) -> None:
        raise AssertionError(f"{source} is copied")


def test_no_record_is_copied_and_a_start_reads_the_last_few_of_each_log(lab: Lab) -> None:
    disk = Counting()
    store = lab.open(fs=disk)
    log = lab.log(store, segment_bytes="200000")
    for _ in range(100):
        lab.append(log, bytes(10_000))
    path = lab.folder.parent / "fork"
    path.mkdir()
    disk.read = 0
    store.fork(str(path))
    assert disk.read == 0
    forked = lab.open(path, fs=disk).get("t", 0)
    assert forked is not None
    assert (len(forked.segments), forked.log_end_offset, forked.size_bytes()) == (7, 100, log.size_bytes())
    assert disk.read < 3 * 10_200


def test_an_empty_log_ends_where_it_did(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store, segment_bytes="200", retention_ms="1", file_delete_delay_ms="0")
    for _ in range(3):
        lab.append(log, b"a" * 100)
    lab.clock.advance(1000)
    store.apply_retention()
    assert [segment.size for segment in log.segments] == [0]
    twice = fork(lab, fork(lab, store), "fork of the fork")
    assert twice.get("t", 0).log_end_offset == 3  # type: ignore[union-attr]


def test_a_sealed_log_that_loses_all_its_records_does_not_forget_where_it_ended(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store, retention_ms="1", file_delete_delay_ms="0")
    lab.append(log, b"a", b"b")
    fork(lab, store)
    lab.clock.advance(1000)
    store.apply_retention()
    store.deletions.run(lab.clock.mono_ms())
    store.abandon()
    assert lab.open().get("t", 0).log_end_offset == 2  # type: ignore[union-attr]


def test_log_starts_and_compacted_offsets_come_along(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store, segment_bytes="200", cleanup_policy="compact")
    for value in (b"a" * 100, b"b" * 100, b"c" * 100):
        lab.append(log, value)
    store.cleaning.clean_now()
    log.trim(1)
    forked = fork(lab, store).get("t", 0)
    assert forked is not None
    assert (forked.log_start_offset, forked.cleaned_offset) == (1, log.cleaned_offset)
    assert log.cleaned_offset > 0


def test_folders_of_deleted_topics_and_of_topics_without_records_do_not_come_along(lab: Lab) -> None:
    store = lab.open()
    lab.append(lab.log(store, "gone"), b"one")
    lab.log(store, "silent")
    store.delete("gone", 0)
    fork(lab, store)
    assert [path.name for path in (lab.folder.parent / "fork").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_an_index_that_was_made_anew_is_what_the_fork_gets(lab: Lab, suffix: str) -> None:
    store = lab.open(defaults={"log.index.interval.bytes": "1"})
    log = lab.log(store, segment_bytes="1000")
    for at in range(9):
        lab.append(log, b"a" * 100, timestamp_ms=1_700_000_000_000 + at)
    store.close()
    index = lab.folder / "t-0" / name(0, suffix)
    content = index.read_bytes()
    index.unlink()
    store = lab.open(defaults={"log.index.interval.bytes": "1"})
    log = lab.log(store, segment_bytes="1000")
    assert log.segments[0].offset_index.offsets
    fork(lab, store)
    assert (lab.folder.parent / "fork" / "t-0" / name(0, suffix)).read_bytes() == content


def test_what_a_failed_append_left_behind_does_not_come_along(lab: Lab) -> None:
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store)
    lab.append(log, b"one")
    disk.room, disk.truncates = 20, False
    with pytest.raises(KafkaError, match="KAFKA_STORAGE_ERROR"):
        lab.append(log, b"two")
    disk.room, disk.truncates = None, True
    forked = fork(lab, store)
    assert (lab.folder.parent / "fork" / "t-0" / name(0)).stat().st_size == log.segments[0].size
    assert (values(store), values(forked), lab.warnings[1:]) == ([b"one"], [b"one"], [])


def test_preallocated_zeros_do_not_come_along(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store, segment_bytes="4000", preallocate="true")
    lab.append(log, b"one")
    fork(lab, store)
    lab.append(log, b"two")
    assert (lab.folder.parent / "fork" / "t-0" / name(0)).stat().st_size == log.segments[0].size
    assert (lab.folder / "t-0" / name(1)).stat().st_size == 4000


def test_a_disk_that_fails_leaves_the_original_as_it_was(lab: Lab) -> None:
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store)
    lab.append(log, b"one")
    disk.room = 0
    with pytest.raises(KafkaError, match=r"cannot fork .*: No space left on device"):
        fork(lab, store)
    disk.room = None
    lab.append(log, b"two")
    assert values(store) == [b"one", b"two"]


def test_damage_to_a_shared_file_is_cut_from_one_without_touching_the_other(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store)
    first = lab.append(log, b"one")
    position = log.segments[0].size
    lab.append(log, b"two")
    forked = fork(lab, store)
    forked.abandon()
    path = lab.folder.parent / "fork" / "t-0" / name(first)
    content = bytearray(path.read_bytes())
    content[position + 30] ^= 1
    path.write_bytes(content)  # the disk's doing: the file is one
    repaired = lab.open(path.parent.parent, scan_all=True)
    assert values(repaired) == [b"one"]
    assert (lab.folder / "t-0" / name(first)).read_bytes() == content
    assert len(path.read_bytes()) == position


def test_indexes_of_a_shared_segment_are_rebuilt_apart(lab: Lab) -> None:
    store = lab.open(defaults={"log.index.interval.bytes": "1"})
    log = lab.log(store)
    for _ in range(5):
        lab.append(log, b"a" * 100)
    forked = fork(lab, store)
    forked.abandon()
    index = lab.folder / "t-0" / name(0, ".index")
    before = index.stat().st_mtime_ns
    again = lab.open(lab.folder.parent / "fork", scan_all=True)
    again.close()
    assert (index.stat().st_nlink, index.stat().st_mtime_ns) == (1, before)


def test_a_flush_that_writes_again_writes_to_no_shared_file(lab: Lab) -> None:
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store)
    lab.append(log, b"one")
    written: list[int] = []
    write = disk.pwrite

    def watched(fd: int, data: Any, position: int) -> int:
        written.append(os.fstat(fd).st_nlink)
        return write(fd, data, position)

    disk.pwrite = watched
    fork(lab, store, "before it failed")
    disk.syncs = False
    with pytest.raises(KafkaError):
        log.flush()
    disk.syncs = True
    job = log.begin_flush()
    assert job is not None
    forked = fork(lab, store, "while it is under way")
    job.run_and_finish()
    assert written == [1]
    assert values(store) == values(forked) == [b"one"]


def test_a_snapshot_of_producers_that_is_not_there_is_made_for_the_fork(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store)
    lab.append(log, b"one", producer_id=5, producer_epoch=0, base_sequence=0)
    log.roll()
    (lab.folder / "t-0" / name(1, ".snapshot")).unlink()
    forked = fork(lab, store).get("t", 0)
    assert forked is not None
    assert [one.producer_id for one in forked.producers_view()] == [5]
    assert (lab.folder.parent / "fork" / "t-0" / name(1, ".snapshot")).exists()


def test_what_waits_for_its_flush_is_in_and_still_waits_in_the_original(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store, flush_messages="1")
    waiting = log.append(Lab.batch(b"one"), leader_epoch=0)
    assert isinstance(waiting, Pending)
    settled: list[object] = []
    waiting.then(settled.append)
    forked = fork(lab, store)
    assert (values(store), values(forked), settled) == ([], [b"one"], [])
    store.flushes.run()
    assert (values(store), len(settled)) == ([b"one"], 1)


def test_what_was_aborted_stays_so(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store)
    lab.append(log, b"one", producer_id=5, producer_epoch=0, base_sequence=0, transactional=True)
    log.append_marker(5, 0, False, 0, leader_epoch=0, transaction_version=1)
    forked = fork(lab, store).get("t", 0)
    assert forked is not None
    assert forked.aborted_transactions(0, 2) == log.aborted_transactions(0, 2) != []


def test_a_fork_in_the_middle_of_a_swap_has_the_old_segments(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store, segment_bytes="200", cleanup_policy="compact")
    for value in (b"a" * 100, b"b" * 100, b"c" * 100):
        lab.append(log, value)
    job = store.cleaning.begin(log, overdue=True)
    assert job is not None
    job.run()
    for at, sync in enumerate(job.swap()):
        sync()
        forked = fork(lab, store, f"at step {at}")
        assert values(forked)[-1] == b"c" * 100
        assert lab.warnings == []
    store.cleaning.end(job)
    assert len(values(store)) == 2
    assert len(values(forked)) == 3


@pytest.mark.parametrize("append", [False, True])
def test_a_small_file_with_two_names_is_parted_before_it_is_written(tmp_path: Path, append: bool) -> None:
    fs = FileSystem()
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    theirs.write_bytes(b"before")
    assert fs.link(str(theirs), str(ours))
    fs.write_file(str(ours), b"+", sync=True, append=append)
    assert (ours.read_bytes(), theirs.read_bytes()) == (b"before+" if append else b"+", b"before")
    fs.write_file(str(ours), b"-", sync=True, append=append)
    assert ours.read_bytes() == (b"before+-" if append else b"-")


def test_a_left_over_with_two_names_is_no_begin_of_a_segment(lab: Lab) -> None:
    store = lab.open()
    log = lab.log(store)
    lab.append(log, b"one")
    left_over = lab.folder / "elsewhere"
    left_over.write_bytes(b"not ours")
    os.link(left_over, lab.folder / "t-0" / name(1))
    log.roll()
    lab.append(log, b"two")
    assert left_over.read_bytes() == b"not ours"
    assert values(store) == [b"one", b"two"]


class Unlinked(FileSystem):
    def make_link(self, source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")


def test_where_links_cannot_be_made_files_are_copied_with_their_times(lab: Lab) -> None:
    store = lab.open(fs=Unlinked())
    log = lab.log(store)
    lab.append(log, b"one")
    file = lab.folder / "t-0" / name(0)
    os.utime(file, ns=(1, 1_000_000))
    forked = fork(lab, store)
    copy = lab.folder.parent / "fork" / "t-0" / name(0)
    assert shared(lab.folder) == set()
    assert copy.stat().st_mtime_ns == 1_000_000
    lab.append(log, b"two")
    assert (values(store), values(forked)) == ([b"one", b"two"], [b"one"])


def test_any_other_failure_to_link_is_a_failure(lab: Lab, tmp_path: Path) -> None:
    store = lab.open()
    log = lab.log(store)
    lab.append(log, b"one")
    with pytest.raises(FileNotFoundError):
        fork_partition(FileSystem(), log, str(tmp_path / "nowhere" / "t-0"))
