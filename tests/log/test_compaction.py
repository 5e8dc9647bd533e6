"""Compaction on real files: the outcome against a real Kafka's, passes, the child process, and a crash at every step of
the swap."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ottla.log.compaction import CleanJob
from ottla.log.filesystem import FileSystem
from ottla.log.store import Store
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.records import Record, batches, build_batch, build_control_batch

GOLDEN = Path(__file__).parent / "data" / "log_dir" / "cmp-0"
NOW = 1_700_000_000_000
DAY = 86_400_000
COMPACT = {"cleanup_policy": "compact", "segment_bytes": "700", "file_delete_delay_ms": "0", "retention_ms": "-1"}
FAST = FileSystem(durable=False)
Records = list[tuple[int, bytes | None, bytes | None]]


def send(log: Any, records: list[tuple[bytes | None, bytes | None]], timestamp_ms: int = NOW, **options: Any) -> int:
    batch = build_batch([Record(at, timestamp_ms, k, v) for at, (k, v) in enumerate(records)], **options)
    return int(log.append(batch, leader_epoch=0).value.base_offset)


def fill(log: Any, rounds: int = 12, keys: int = 8) -> None:
    """Every key in every round, one tombstone a round."""
    for n in range(rounds):
        for key in range(keys):
            value = None if key == n % keys else b"%d of round %d" % (key, n)
            send(log, [(b"key %d" % key, value)], NOW + n, codec=(0, 1, 4)[n % 3])


def content(lab: Any, log: Any) -> Records:
    found: Records = []
    offset = log.log_start_offset
    while offset < log.high_watermark:
        got = lab.read_batches(log, offset)
        if not got:
            break
        for one in got:
            assert one.is_valid_crc()
            if not one.is_control:
                found += [(r.offset, r.key, r.value) for r in one.records(1 << 20) if r.offset >= offset]
            offset = one.next_offset
    return found


def latest(records: Records) -> dict[bytes | None, tuple[int, bytes | None]]:
    return {key: (offset, value) for offset, key, value in records}


def names(lab: Any, topic: str = "t") -> set[str]:
    return {path.name for path in (lab.folder / f"{topic}-0").iterdir()}


def test_the_outcome_is_kafkas_byte_for_byte(lab: Any) -> None:
    """The appends that led to the golden folder, compacted at the same moment."""
    store = lab.open()
    log = lab.log(store, "cmp", cleanup_policy="compact", delete_retention_ms="60000")
    lab.clock.advance(1795365029033 - 60_000 - lab.clock.wall_ms())
    first_ms = 1795364899504
    for n in range(5):
        records = [(key, b"%s%d" % (key, n)) for key in (b"a", b"b", b"c")]
        send(log, [*records, (b"d%d" % n, b"only")], first_ms + 5000 * n)
        log.roll()
    send(log, [(b"c", None), (b"z", b"last")], first_ms + 25_000)
    log.roll()
    send(log, [(b"active", b"1")], 1795364959504)
    assert store.cleaning.candidates() == [log]
    job = store.cleaning.begin(log)
    job.run()
    for sync in job.swap():
        sync()
    store.cleaning.end(job)
    assert store.cleaning.candidates() == []
    store.close()
    for name in ("00000000000000000000.log", "00000000000000000000.timeindex", "00000000000000000022.log"):
        assert (lab.folder / "cmp-0" / name).read_bytes() == (GOLDEN / name).read_bytes()
    checkpoint = "cleaner-offset-checkpoint"
    assert (lab.folder / checkpoint).read_bytes().strip() == (GOLDEN.parent / checkpoint).read_bytes().strip()


def test_kafkas_compacted_folder_is_served_and_compacted_on(lab: Any) -> None:
    shutil.copytree(GOLDEN.parent, lab.folder)
    (lab.folder / "expected.json").unlink()
    store = lab.open()
    log = lab.log(store, "cmp", cleanup_policy="compact")
    assert log.cleaned_offset == 22
    before = content(lab, log)
    assert store.cleaning.candidates() == []
    lab.clock.advance(1795365029033 + 1 - lab.clock.wall_ms())  # the tombstone's horizon is over
    assert store.cleaning.clean_now("cmp") == 1
    assert content(lab, log) == [record for record in before if record[2] is not None]


def test_only_the_latest_records_are_left_and_reads_skip_the_gaps(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, **COMPACT)
    fill(log)
    before = content(lab, log)
    end, sizes = log.log_end_offset, log.size_bytes()
    assert len(log.segments) > 5
    assert store.cleaning.clean_now() == 1
    after = content(lab, log)
    assert after == [(offset, key, value) for key, (offset, value) in latest(before).items()]
    assert (log.log_start_offset, log.log_end_offset) == (0, end)
    assert log.size_bytes() < sizes / 5
    assert log.cleaned_offset == end
    for offset in range(end):  # wherever a reader is
        got = lab.read_batches(log, offset, 1)
        assert got[0].last_offset >= offset
        found = [r.offset for r in got[0].records(1000) if r.offset >= offset]
        assert not found or found[0] == next(o for o, _, _ in after if o >= offset)
    assert log.offset_for_timestamp(NOW + 11).value.offset == after[0][0]
    store.deletions.run(lab.clock.mono_ms())
    assert not [name for name in names(lab) if name.endswith((".deleted", ".cleaned", ".swap"))]
    store.close()
    log = lab.log(lab.open(), **COMPACT)
    assert content(lab, log) == after
    assert log.cleaned_offset == end
    assert lab.warnings == []
    send(log, [(b"key 1", b"again")])
    assert content(lab, log)[-1] == (end, b"key 1", b"again")


def test_several_passes_when_the_keys_do_not_fit(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, **COMPACT)
    for n in range(30):
        send(log, [(b"%d" % (n * 10 + at), b"v%d" % n) for at in range(10)])
    fill(log, rounds=20)
    before = content(lab, log)
    tight = 40 * 1024 * 1024 + 24 * 100  # 75 keys beside what the process needs
    assert store.cleaning.clean_now(memory_bytes=tight) > 3
    assert latest(content(lab, log)) == latest(before)
    assert len(content(lab, log)) == 308
    assert store.cleaning.clean_now(memory_bytes=tight) == 0


def test_min_lag_and_transactions_bound_what_is_cleaned(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, min_compaction_lag_ms="60000", **COMPACT)
    fill(log)
    lab.clock.advance(59_000)
    assert store.cleaning.clean_now() == 0
    lab.clock.advance(2_000)
    txn = {"producer_id": 9, "producer_epoch": 0, "base_sequence": 0, "transactional": True}
    opened = send(log, [(b"open", b"1")], lab.clock.wall_ms() - 61_000, **txn)
    assert store.cleaning.clean_now() == 1
    assert log.cleaned_offset == opened
    assert opened == log.last_stable_offset


def test_aborted_records_go_with_their_index_entry(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, **COMPACT)

    def transaction(key: bytes, sequence: int, *, commit: bool) -> None:
        txn = {"producer_id": 9, "producer_epoch": 0, "base_sequence": sequence, "transactional": True}
        send(log, [(key, b"%d" % sequence)], **txn)
        log.append(build_control_batch(9, 0, commit, 0, timestamp_ms=NOW), leader_epoch=0, from_client=False)

    transaction(b"a", 0, commit=True)
    transaction(b"a", 1, commit=False)
    transaction(b"b", 2, commit=False)
    log.roll()
    transaction(b"c", 3, commit=True)
    entries = log.aborted_transactions(0, log.log_end_offset)
    assert len(entries) == 2
    assert store.cleaning.clean_now() == 1
    assert content(lab, log) == [(0, b"a", b"0"), (6, b"c", b"3")]
    assert log.aborted_transactions(0, log.log_end_offset) == entries  # their markers are still there
    for _ in range(2):
        lab.clock.advance(DAY)
        log.cleaned_offset = 0
        assert store.cleaning.clean_now() == 1
    assert content(lab, log) == [(0, b"a", b"0"), (6, b"c", b"3")]
    assert log.aborted_transactions(0, log.log_end_offset) == []
    kept = [batch for segment in log.segments[:-1] for batch in segment.batches(0)]
    assert [(batch.base_offset, batch.attributes & 32) for batch in kept] == [(0, 0), (1, 32), (6, 0), (7, 32)]
    store.abandon()
    (lab.folder / "t-0" / f"{log.segments[-1].base_offset:020d}.snapshot").unlink()  # rebuilt from what is left
    reopened = lab.log(lab.open(defaults={"producer.id.expiration.ms": str(9 * DAY)}), **COMPACT)
    assert reopened.last_stable_offset == reopened.log_end_offset
    assert reopened.producers.producers[9].last_sequence == 3
    assert lab.warnings == []


def test_lookups_by_time_find_records_that_are_there(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, message_timestamp_type="LogAppendTime", **COMPACT)
    send(log, [(b"a", b"1"), (b"b", b"1")])
    log.roll()
    send(log, [(b"a", b"2")])
    store.cleaning.clean_now()
    assert log.offset_for_timestamp(NOW).value.offset == 1


def test_a_slice_under_way_keeps_the_old_file(lab: Any, only_slices: None) -> None:
    store = lab.open()
    log = lab.log(store, **COMPACT)
    fill(log)
    held = log.read(0, 500, min_one_batch=True).value.records
    expected = held.read()
    store.cleaning.clean_now()
    store.deletions.run(lab.clock.mono_ms())
    assert held.read() == expected
    held.release()


def test_compact_and_delete(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, **{**COMPACT, "cleanup_policy": "compact,delete", "retention_ms": "1000"})
    fill(log)
    job = store.cleaning.begin(log)
    lab.clock.advance(5000)
    assert store.apply_retention() == 0  # not while it is compacted
    job.run()
    for sync in job.swap():
        sync()
    store.cleaning.end(job)
    assert store.apply_retention() > 0
    assert content(lab, log) == []


def test_damage_stops_the_compaction_of_that_log_alone(lab: Any) -> None:
    store = lab.open()
    log, other = lab.log(store, **COMPACT), lab.log(store, "other", **COMPACT)
    fill(log)
    fill(other)
    path = log.segments[1].handle.path
    data = bytearray(Path(path).read_bytes())
    data[70] ^= 1
    Path(path).write_bytes(data)
    segments = list(log.segments)
    with pytest.raises(KafkaError, match="CRC"):
        store.cleaning.clean_now("t")
    assert log.segments[:-1] == segments[: len(log.segments) - 1]
    assert log.uncleanable is not None
    assert log not in store.cleaning.candidates()
    assert [w for w in lab.warnings if "is not compacted any more" in w]
    assert store.cleaning.clean_now("other") == 1
    assert not [name for name in names(lab) if name.endswith((".cleaned", ".swap"))]


def test_a_deleted_log_is_let_go(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, **COMPACT)
    fill(log)
    store.cleaning.clean_now()
    fill(log)
    job = store.cleaning.begin(log, overdue=True)
    job.run()
    store.delete("t", 0)
    assert list(job.swap()) == []
    store.cleaning.end(job)
    again = lab.log(store, **COMPACT)
    assert again.cleaned_offset == 0
    fill(again)
    assert b"t 0" not in (lab.folder / "cleaner-offset-checkpoint").read_bytes()


def test_a_garbled_checkpoint_costs_a_pass(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, **COMPACT)
    fill(log)
    store.cleaning.clean_now()
    before = content(lab, log)
    store.close()
    (lab.folder / "cleaner-offset-checkpoint").write_bytes(b"0\n1\ngarbage")
    store = lab.open()
    assert store.was_clean
    log = lab.log(store, **COMPACT)
    assert store.cleaning.clean_now() == 1
    assert content(lab, log) == before
    assert len(lab.warnings) == 1


# --- in a child process


def in_child(job: CleanJob, request: bytes | None = None) -> None:
    command = job.command()
    assert command is not None
    ended = subprocess.run(command, input=request or job.request(), capture_output=True, check=False, cwd="/")
    job.take(ended.returncode, ended.stdout, ended.stderr)


def test_the_child_does_the_same(lab: Any) -> None:
    store = lab.open()
    logs = [lab.log(store, topic, **COMPACT) for topic in ("t", "u")]
    for log in logs:
        fill(log)
        log.roll()
        job = store.cleaning.begin(log, overdue=True)
        if log is logs[0]:
            job.run()
        else:
            in_child(job)
        for sync in job.swap():
            sync()
        store.cleaning.end(job)
    store.close()
    ours, theirs = ({p.name: p.read_bytes() for p in (lab.folder / f"{t}-0").glob("*0.*")} for t in ("t", "u"))
    assert ours == theirs


def test_what_fails_in_the_child_is_told(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, **COMPACT)
    fill(log)
    job = store.cleaning.begin(log)
    with pytest.raises(KafkaError, match="ended with 75"):  # its parent is not the one who asked
        in_child(job, job.request().replace(b'"parent": %d' % os.getpid(), b'"parent": 1'))
    os.rename(log.folder, log.folder + "x")
    with pytest.raises(KafkaError, match="No such file"):
        in_child(job)
    os.rename(log.folder + "x", log.folder)
    store.cleaning.end(job, KafkaError(ErrorCode.KAFKA_STORAGE_ERROR))
    assert store.cleaning.candidates() == []  # not at once
    lab.clock.advance(300_000)
    assert store.cleaning.candidates() == [log]


# --- crashes and failures at every step


class Crash(BaseException):
    """The process is gone."""


class Faulty(FileSystem):
    """Its `at`-th change of files does not happen: it raises `fault`, and so does all after it if that is a crash."""

    def __init__(self) -> None:
        super().__init__(durable=False)
        self.at = -1
        self.count = 0
        self.fault: BaseException = Crash()
        pwrite, datasync = self.pwrite, self.datasync

        def faulty_pwrite(fd: int, data: Any, position: int) -> int:
            self.step()
            return pwrite(fd, data, position)

        def faulty_datasync(fd: int) -> None:
            self.step()
            datasync(fd)

        self.pwrite, self.datasync = faulty_pwrite, faulty_datasync

    def step(self) -> None:
        if self.at < 0:
            return
        self.count += 1
        if self.count == self.at or (self.count > self.at and isinstance(self.fault, Crash)):
            raise self.fault

    def open(self, path: str, flags: int) -> int:
        if flags & os.O_CREAT:
            self.step()
        return super().open(path, flags)

    def write_file(self, path: str, data: Any, *, sync: bool, append: bool = False) -> None:
        self.step()
        super().write_file(path, data, sync=sync, append=append)

    def rename(self, source: str, target: str) -> None:
        self.step()
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self.step()
        super().unlink(path)

    def sync_folder(self, path: str) -> None:
        self.step()
        super().sync_folder(path)


def compact(store: Store, log: Any) -> None:
    """As the broker does, without help from `finally` if the process is gone."""
    job = store.cleaning.begin(log, overdue=True)
    assert job is not None
    error: Exception | None = None
    try:
        job.run()
        for sync in job.swap():
            sync()
    except Exception as failure:
        error = failure
    store.cleaning.end(job, error)


def prepared(lab: Any, fs: Faulty) -> tuple[Store, Any]:
    """A log with several groups of several segments to compact, an aborted transaction in the first."""
    store = lab.open(fs=fs)
    log = lab.log(store, **{**COMPACT, "segment_bytes": "300"})
    txn = {"producer_id": 9, "producer_epoch": 0, "base_sequence": 0, "transactional": True}
    send(log, [(b"lost", b"1")], **txn)
    log.append(build_control_batch(9, 0, False, 0, timestamp_ms=NOW), leader_epoch=0, from_client=False)
    for n in range(12):
        send(log, [(b"only %d" % n, bytes(60))])
        fill(log, 1, keys=2)
    log.roll()
    return store, lab.log(store, **COMPACT)


def steps(lab: Any) -> int:
    """How many changes of files a whole compaction makes."""
    fs = Faulty()
    store, log = prepared(lab, fs)
    fs.at, before = 1 << 30, len(log.segments)
    compact(store, log)
    assert before - 3 > len(log.segments) > 3
    store.abandon()
    shutil.rmtree(lab.folder)
    return fs.count


def check(lab: Any, log: Any, before: Records) -> None:
    after = content(lab, log)
    assert latest(after) == latest(before)
    assert [offset for offset, _, _ in after] == sorted({offset for offset, _, _ in after})
    assert set(after) <= set(before)
    spans = [(b.base_offset, b.last_offset) for s in log.segments for b in s.batches(0)]
    assert all(first[1] < second[0] for first, second in pairwise(spans))


@pytest.mark.parametrize("clean_mark", [False, True])
def test_a_crash_at_any_step(lab: Any, *, clean_mark: bool) -> None:
    total = steps(lab)
    assert total > 30
    for at in range(1, total + 1):
        fs = Faulty()
        store, log = prepared(lab, fs)
        before = [record for record in content(lab, log) if record[1] != b"lost"]
        store.checkpoint()
        fs.at = at
        with pytest.raises(Crash):
            compact(store, log)
        store.abandon()
        if clean_mark:
            (lab.folder / ".kafka_cleanshutdown").write_bytes(b"{}")
        store = lab.open(fs=FAST)
        log = lab.log(store, **COMPACT)
        found = content(lab, log)
        assert [r for r in found if r[1] == b"lost"] == [] or log.aborted_transactions(0, 2)
        log_without = [record for record in found if record[1] != b"lost"]
        assert latest(log_without) == latest(before)
        check(lab, log, content(lab, log))
        assert not [name for name in names(lab) if name.endswith((".deleted", ".cleaned", ".swap"))]
        store.cleaning.clean_now()
        check(lab, log, before)
        assert lab.warnings == []
        store.close()
        log = lab.log(lab.open(fs=FAST), **COMPACT)
        check(lab, log, before)
        lab.stores[-1].abandon()
        shutil.rmtree(lab.folder)


def test_an_error_at_any_step(lab: Any) -> None:
    """The disk refuses one step: the broker goes on with the old segments or the new, and so does the next start."""
    for at in range(1, steps(lab) + 1):
        fs = Faulty()
        store, log = prepared(lab, fs)
        before = content(lab, log)
        fs.fault, fs.at = OSError(28, "No space left on device"), at
        compact(store, log)
        wanted = [record for record in before if record[1] != b"lost"]
        found = [record for record in content(lab, log) if record[1] != b"lost"]
        assert latest(found) == latest(wanted)
        assert log.uncleanable is None
        copy = lab.folder.parent / "copy"
        shutil.copytree(lab.folder, copy)
        again = lab.open(copy, fs=FAST)
        restarted = [record for record in content(lab, again.get("t", 0)) if record[1] != b"lost"]
        assert latest(restarted) == latest(wanted)
        again.abandon()
        store.cleaning.clean_now()
        check(lab, log, wanted)
        store.deletions.run(lab.clock.mono_ms())
        assert not [name for name in names(lab) if name.endswith((".deleted", ".cleaned", ".swap"))]
        store.close()
        check(lab, lab.log(lab.open(fs=FAST), **COMPACT), wanted)
        lab.stores[-1].abandon()
        shutil.rmtree(lab.folder)
        shutil.rmtree(copy)


def test_a_swap_that_had_not_begun_is_forgotten(lab: Any) -> None:
    """Some files are called .swap, the log is still .cleaned; or the other way round, as Kafka renames them."""
    store = lab.open()
    log = lab.log(store, **COMPACT)
    fill(log)
    before = content(lab, log)
    store.close()
    folder = lab.folder / "t-0"
    for swap, cleaned in ((".index", ".log"), (".log", ".index")):
        (folder / f"{0:020d}{swap}.swap").write_bytes(b"")
        (folder / f"{0:020d}{cleaned}.cleaned").write_bytes(b"")
        store = lab.open()
        assert content(lab, lab.log(store, **COMPACT)) == before
        store.close()
    assert not [name for name in names(lab) if name.endswith((".cleaned", ".swap"))]


def test_header_only_batches_are_whole_batches(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, **COMPACT)
    send(log, [(b"a", b"1")], NOW + 5, producer_id=4, producer_epoch=0, base_sequence=0)
    log.roll()
    send(log, [(b"a", b"2")])
    assert store.cleaning.clean_now() == 1
    data = Path(log.segments[0].handle.path).read_bytes()
    assert [(b.base_offset, b.records_count) for b in batches(data)] == [(0, 0), (1, 1)]
    assert log.offset_for_timestamp(NOW).value.offset == 1
    assert log.offset_of_max_timestamp().value.offset == 1
    duplicate = build_batch([Record(0, NOW, b"a", b"1")], producer_id=4, producer_epoch=0, base_sequence=0)
    assert log.append(duplicate, leader_epoch=0).value.duplicate
    store.abandon()
    log = lab.log(lab.open(), **COMPACT)
    assert log.append(duplicate, leader_epoch=0).value.duplicate
