"""Each kind of damage to a data folder is found and named; repair heals it, and the undamaged records stay."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ottla.log.check import Counts, Finding, check, lock, log_bytes, repair
from ottla.log.data_folder import CLEAN_FILE, LOG_STARTS, META_FILE, RECOVERY_POINTS, StoreError
from ottla.log.ids import uuid_text
from ottla.log.lock import FolderLock, FolderLockedError
from ottla.log.store import Store
from ottla.wire.records import Record, build_batch, build_control_batch
from ottla.wire.state.cluster_metadata import PartitionRecord, RemoveTopicRecord, TopicRecord
from ottla.wire.state.metadata_frame import encode_metadata_record

GOLDEN = Path(__file__).parent / "data" / "log_dir"
STEM = "{:020d}".format
BATCHES = 40
PER_SEGMENT = 10


def look(folder: Path, **options: Any) -> list[Finding]:
    return list(check(str(folder), Counts(), **options))


def damages(folder: Path, **options: Any) -> list[tuple[str, str]]:
    return [(finding.path, finding.text) for finding in look(folder, **options) if finding.damage]


def mend(lab: Any, folder: Path) -> list[str]:
    found = [finding for finding in look(folder) if finding.damage]
    return repair(str(folder), found, clock=lab.clock, ids=lab.ids)


def values(lab: Any, folder: Path, topic: str = "t") -> dict[int, bytes | None]:
    """What a store serves of the folder."""
    store = lab.open(folder)
    try:
        return dict(lab.read_all(store.get(topic, 0)))
    finally:
        store.close()


@pytest.fixture
def folder(lab: Any) -> Path:
    """A stopped broker's folder: partition t-0 of four segments with ten batches of one record, epochs 0 and 1."""
    store = lab.open()
    log = lab.log(store, index_interval_bytes="150")
    for n in range(BATCHES):
        if n % PER_SEGMENT == 0:
            log.roll()
        lab.clock.advance(1000)
        data = lab.batch(b"value %d " % n * 3, timestamp_ms=lab.clock.wall_ms())
        log.append(data, leader_epoch=n // 20)
    store.close()
    assert look(lab.folder) == []
    return lab.folder


def segment(folder: Path, base: int, suffix: str = ".log") -> Path:
    return folder / "t-0" / f"{STEM(base)}{suffix}"


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


def batch_bytes(folder: Path, base: int) -> int:
    return segment(folder, base).stat().st_size // PER_SEGMENT


def test_a_sound_folder(folder: Path) -> None:
    counts = Counts()
    told: list[int] = []
    assert list(check(str(folder), counts, advance=told.append)) == []
    assert (counts.partitions, counts.segments, counts.batches) == (1, 4, BATCHES)
    assert counts.bytes == sum(told) == log_bytes(str(folder))
    assert (counts.damages, counts.notes) == (0, 0)


def test_kafkas_own_folder() -> None:
    """Its checkpoints name topics that were left out of the copy; nothing else is to be said."""
    expected = json.loads((GOLDEN / "expected.json").read_text())
    known = [line.split() for line in expected[RECOVERY_POINTS]["lines"][2:]]
    starts = {(t, p): int(offset) for t, p, offset in (line.split() for line in expected[LOG_STARTS]["lines"][2:])}
    missing = {
        f"{t}-{p}"
        for t, p, offset in known
        if int(offset) > starts.get((t, p), 0) and not (GOLDEN / f"{t}-{p}").is_dir()
    }
    found = look(GOLDEN)
    assert {finding.path for finding in found} == missing
    assert all("the folder is missing" in finding.text for finding in found)


# --- one kind of damage after the other: what it does to the folder, what is said, which offsets are gone


def _wrong_crc(folder: Path) -> None:
    flip(segment(folder, 10), 3 * batch_bytes(folder, 10) + 70)


def _damaged_length(folder: Path) -> None:
    flip(segment(folder, 10), 3 * batch_bytes(folder, 10) + 9)


def _damaged_end_of_segment(folder: Path) -> None:
    flip(segment(folder, 10), 9 * batch_bytes(folder, 10) + 70)


def _torn_tail(folder: Path) -> None:
    path = segment(folder, 30)
    os.truncate(path, path.stat().st_size - 10)


def _garbage_tail(folder: Path) -> None:
    with segment(folder, 30).open("ab") as file:
        file.write(b"\x01" * 33)


def _lost_segment(folder: Path) -> None:
    segment(folder, 10).unlink()


def _cut_segment(folder: Path) -> None:
    os.truncate(segment(folder, 30), 2 * batch_bytes(folder, 30))


def _overlap(folder: Path) -> None:
    with segment(folder, 10).open("ab") as file:
        file.write(build_batch([Record(20, 1_700_000_000_000, b"k", b"twice")], base_offset=20))


def _index_missing(folder: Path) -> None:
    segment(folder, 10, ".index").unlink()


def _index_odd(folder: Path) -> None:
    with segment(folder, 10, ".index").open("ab") as file:
        file.write(b"xyz")


def _index_wrong(folder: Path) -> None:
    data = bytearray(segment(folder, 10, ".index").read_bytes())
    struct.pack_into(">ii", data, 0, 2, 7)
    segment(folder, 10, ".index").write_bytes(data)


def _time_index_missing(folder: Path) -> None:
    segment(folder, 10, ".timeindex").unlink()


def _time_index_empty(folder: Path) -> None:
    segment(folder, 10, ".timeindex").write_bytes(b"")


def _time_index_wrong(folder: Path) -> None:
    flip(segment(folder, 10, ".timeindex"), 7)


def _snapshot_damaged(folder: Path) -> None:
    flip(segment(folder, 20, ".snapshot"), 3)


def _snapshot_missing(folder: Path) -> None:
    segment(folder, 40, ".snapshot").unlink()


def _snapshot_of_the_future(folder: Path) -> None:
    shutil.copy(segment(folder, 40, ".snapshot"), segment(folder, 99, ".snapshot"))


def _epochs_damaged(folder: Path) -> None:
    (folder / "t-0" / "leader-epoch-checkpoint").write_bytes(b"0\n7\n")


def _epochs_missing(folder: Path) -> None:
    (folder / "t-0" / "leader-epoch-checkpoint").unlink()


def _epochs_wrong(folder: Path) -> None:
    (folder / "t-0" / "leader-epoch-checkpoint").write_bytes(b"0\n1\n0 0\n")


def _epochs_of_the_future(folder: Path) -> None:
    (folder / "t-0" / "leader-epoch-checkpoint").write_bytes(b"0\n3\n0 0\n1 20\n2 99\n")


def _checkpoint_damaged(folder: Path) -> None:
    (folder / RECOVERY_POINTS).write_bytes(b"\0\0\0")


def _checkpoint_of_a_lost_folder(folder: Path) -> None:
    (folder / RECOVERY_POINTS).write_bytes(b"0\n2\nt 0 40\nlost 3 7\n")


def _log_start_behind_the_end(folder: Path) -> None:
    (folder / LOG_STARTS).write_bytes(b"0\n1\nt 0 50\n")


def _partition_metadata_damaged(folder: Path) -> None:
    (folder / "t-0" / "partition.metadata").write_bytes(b"version: 0\ntopic_id: nonsense")


def _identity_missing(folder: Path) -> None:
    (folder / META_FILE).unlink()


ALL = set(range(BATCHES))
KINDS: list[tuple[Callable[[Path], None], str, str, set[int]]] = [
    (_wrong_crc, "t-0/{10}.log", "are damaged (wrong CRC); offsets 13 to 13 are lost", ALL - {13}),
    (_damaged_length, "t-0/{10}.log", "offsets 13 to 13 are lost", ALL - {13}),
    (_damaged_end_of_segment, "t-0/{10}.log", "offsets 19 to 19 are lost", ALL - {19}),
    (_torn_tail, "t-0/{30}.log", "offsets 39 to 39 are lost", ALL - {39}),
    (_garbage_tail, "t-0/{30}.log", "the last 33 bytes are no batch (", ALL),
    (_lost_segment, "t-0", "offsets 10 to 19 are lost: {10}.index is there, but no log file", ALL - set(range(10, 20))),
    (_cut_segment, "t-0", "offsets 32 to 39 are lost: they were flushed", ALL - set(range(32, 40))),
    (_overlap, "t-0/{20}.log", "begins at offset 20, the segment before it goes to 20", ALL),
    (_index_missing, "t-0/{10}.index", "is missing; it is made anew", ALL),
    (_index_odd, "t-0/{10}.index", "bytes are no whole number of entries of 8", ALL),
    (_index_wrong, "t-0/{10}.index", "entry 0 points at byte 7, where no batch begins", ALL),
    (_time_index_missing, "t-0/{10}.timeindex", "is missing; it is made anew", ALL),
    (_time_index_empty, "t-0/{10}.timeindex", "ends at timestamp -1, the largest in the log is", ALL),
    (_time_index_wrong, "t-0/{10}.timeindex", "entry 0 says ", ALL),
    (_snapshot_damaged, "t-0/{20}.snapshot", "is damaged: producer snapshot", ALL),
    (_snapshot_missing, "t-0/{40}.snapshot", "is missing, and so is the producer state", ALL),
    (_snapshot_of_the_future, "t-0/{99}.snapshot", "is of offset 99, the log ends at 40", ALL),
    (_epochs_damaged, "t-0/leader-epoch-checkpoint", "is damaged: ", ALL),
    (_epochs_missing, "t-0/leader-epoch-checkpoint", "is missing; the batches have epochs", ALL),
    (_epochs_wrong, "t-0/leader-epoch-checkpoint", "has epoch 0 at offset 20, whose batch is of epoch 1", ALL),
    (_epochs_of_the_future, "t-0/leader-epoch-checkpoint", "epoch 2 begins at 99, behind the end, 40", ALL),
    (_checkpoint_damaged, RECOVERY_POINTS, "is damaged: checkpoint version", ALL),
    (
        _checkpoint_of_a_lost_folder,
        "lost-3",
        "the folder is missing; " + RECOVERY_POINTS + " knows of records up to 6",
        ALL,
    ),
    (_log_start_behind_the_end, "t-0", "the log start offset 50 is behind the end, 40", set()),
    (_partition_metadata_damaged, "t-0/partition.metadata", "is damaged: ", ALL),
    (_identity_missing, META_FILE, "is missing; a start makes a new one", ALL),
]


def named(text: str) -> str:
    """`{10}` stands for the file stem of offset 10."""
    for base in (10, 20, 30, 40, 99):
        text = text.replace(f"{{{base}}}", STEM(base))
    return text


@pytest.mark.parametrize(("damage", "path", "text", "kept"), KINDS, ids=[kind[0].__name__.strip("_") for kind in KINDS])
def test_damage_is_named_and_healed(
    lab: Any, folder: Path, damage: Callable[[Path], None], path: str, text: str, kept: set[int]
) -> None:
    before = {n: b"value %d " % n * 3 for n in range(BATCHES)}
    damage(folder)
    found = damages(folder)
    assert [where for where, what in found if named(text) in what] == [named(path)], found
    assert len(found) == 1
    mend(lab, folder)
    assert damages(folder) == []
    assert values(lab, folder) == {n: before[n] for n in kept}
    assert damages(folder) == []
    # offsets that were given out are not given out again
    log = lab.open(folder).get("t", 0)
    assert log.log_end_offset >= BATCHES


def test_several_damages_at_once(lab: Any, folder: Path) -> None:
    for damage in (_wrong_crc, _torn_tail, _time_index_empty, _snapshot_damaged, _epochs_damaged, _index_missing):
        damage(folder)
    assert len(damages(folder)) == 6
    mend(lab, folder)
    assert damages(folder) == []
    assert values(lab, folder).keys() == ALL - {13, 39}


def test_what_is_gone_without_a_trace_is_a_note(folder: Path) -> None:
    for suffix in (".log", ".index", ".timeindex", ".snapshot"):
        segment(folder, 10, suffix).unlink()
    (finding,) = look(folder)
    assert not finding.damage
    assert "offsets 10 to 19 are in no segment: compacted away, or lost" in finding.text


def test_left_overs_are_notes(folder: Path) -> None:
    (folder / "t-0" / f"{STEM(0)}.log.deleted").write_bytes(b"")
    (folder / "t-0" / "leader-epoch-checkpoint.tmp").write_bytes(b"")
    (folder / "x-0.0123-delete").mkdir()
    (folder / "x-0.0123-stray").mkdir()
    assert [finding.damage for finding in look(folder)] == [False] * 4


def test_a_folder_of_a_killed_broker_is_no_damage(lab: Any, folder: Path) -> None:
    store = lab.open(folder)
    log = lab.log(store, index_interval_bytes="150")
    for n in range(25):
        log.append(lab.batch(b"more"), leader_epoch=1)
        if n == 10:
            log.roll()
    store.abandon()
    found = look(folder)
    assert [finding for finding in found if finding.damage] == []
    assert "did not stop cleanly" in found[0].text
    assert mend(lab, folder) is not None
    assert look(folder) == []
    assert len(values(lab, folder)) == BATCHES + 25


def test_zeros_of_a_preallocated_file_are_a_note(folder: Path) -> None:
    with segment(folder, 30).open("ab") as file:
        file.write(bytes(100_000))
    (finding,) = look(folder)
    assert (finding.damage, finding.text) == (False, "100000 zero bytes at its end, as preallocated")


# --- transactions


@pytest.fixture
def transactions(lab: Any) -> Path:
    """Partition t-0 of two segments: producer 7 aborts 0..1 and 3..7 (its marker in the second), 8 commits 4..6."""
    store = lab.open()
    log = lab.log(store)
    sequences = {7: 0, 8: 0}

    def append(producer_id: int) -> None:
        options = {"producer_id": producer_id, "producer_epoch": 0, "transactional": True}
        log.append(lab.batch(b"v", base_sequence=sequences[producer_id], **options), leader_epoch=0)
        sequences[producer_id] += 1

    def end(producer_id: int, commit: bool) -> None:
        marker = build_control_batch(producer_id, 0, commit, 0, timestamp_ms=lab.clock.wall_ms())
        log.append(marker, leader_epoch=0, from_client=False)

    append(7)
    end(7, False)  # 1
    lab.append(log)  # 2
    append(7)  # 3
    append(8)  # 4
    log.roll()
    lab.append(log)  # 5
    end(8, True)  # 6
    end(7, False)  # 7
    store.close()
    assert look(lab.folder) == []
    return lab.folder


FIRST, SECOND = (7, 0, 1, 2), (7, 3, 7, 8)


def aborted(store: Store, start: int = 0, end: int = 100) -> list[tuple[int, ...]]:
    log = store.get("t", 0)
    assert log is not None
    return [tuple(entry) for entry in log.aborted_transactions(start, end)]


def test_aborted_transactions_are_indexed_where_their_markers_are(lab: Any, transactions: Path) -> None:
    assert struct.unpack(">hqqqq", segment(transactions, 0, ".txnindex").read_bytes()) == (0, *FIRST)
    assert struct.unpack(">hqqqq", segment(transactions, 5, ".txnindex").read_bytes()) == (0, *SECOND)
    store = lab.open(transactions)
    assert aborted(store) == [FIRST, SECOND]
    assert aborted(store, 2) == [SECOND]
    assert aborted(store, 0, 2) == [FIRST]
    assert aborted(store, 0, 4) == [FIRST, SECOND]
    assert aborted(store, 8) == []


def test_nothing_aborted_makes_no_file(folder: Path) -> None:
    assert not list(folder.rglob("*.txnindex"))


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
@pytest.mark.parametrize("lost", [0, 5])
def test_a_damaged_transaction_index_is_rebuilt_at_start(lab: Any, transactions: Path, clean: bool, lost: int) -> None:
    flip(segment(transactions, lost, ".txnindex"), 0)
    if not clean:
        (transactions / CLEAN_FILE).unlink()
        (transactions / RECOVERY_POINTS).unlink()
    store = lab.open(transactions)
    assert aborted(store) == [FIRST, SECOND]
    store.close()
    assert damages(transactions) == []


def test_a_killed_broker_has_its_transaction_index_rebuilt(lab: Any, transactions: Path) -> None:
    (transactions / CLEAN_FILE).unlink()
    (transactions / RECOVERY_POINTS).unlink()
    for path in transactions.rglob("*.txnindex"):
        path.unlink()
    assert aborted(lab.open(transactions)) == [FIRST, SECOND]


@pytest.mark.parametrize("base", [0, 5])
def test_what_was_aborted_stays_so_if_its_marker_is_damaged(lab: Any, transactions: Path, base: int) -> None:
    path = segment(transactions, base)
    if base:
        os.truncate(path, path.stat().st_size - 3)
    else:
        flip(path, len(lab.batch(b"v")) + 70)
    mend(lab, transactions)
    assert aborted(lab.open(transactions)) == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: path.unlink(), "lacks the transaction of offsets 0 to 1, aborted"),
        (lambda path: path.write_bytes(b"x" * 33), "is damaged: transaction index of 33 bytes"),
        (lambda path: path.write_bytes(struct.pack(">hqqqq", 0, 9, 0, 1, 2)), "says producer 9, marker 1 has another"),
        (
            lambda path: path.write_bytes(struct.pack(">hqqqqhqqqq", 0, *FIRST, 0, 7, 3, 77, 78)),
            "says that offset 77 aborts, the log ends at 5",
        ),
    ],
)
def test_damage_to_a_transaction_index(lab: Any, transactions: Path, damage: Callable[[Path], None], text: str) -> None:
    damage(segment(transactions, 0, ".txnindex"))
    ((path, found),) = damages(transactions)
    assert path == f"t-0/{STEM(0)}.txnindex"
    assert text in found
    mend(lab, transactions)
    assert damages(transactions) == []
    assert aborted(lab.open(transactions)) == [FIRST, SECOND]


# --- the metadata log and the folders


def with_metadata(lab: Any, folder: Path, *records: Any) -> None:
    store = lab.open(folder)
    log = store.create("__cluster_metadata", 0, bytes(15) + b"\x01", {}, lazy=False)
    for record in records:
        value = encode_metadata_record(record)
        log.append(build_batch([Record(0, 1, None, value)]), leader_epoch=0, from_client=False)
    store.close()


def topic_id(folder: Path) -> bytes:
    from ottla.log.check import read_topic_id
    from ottla.log.filesystem import FileSystem

    return read_topic_id(str(folder / "t-0" / "partition.metadata"), FileSystem())


def test_folders_that_the_metadata_log_knows(lab: Any, folder: Path) -> None:
    known = topic_id(folder)
    with_metadata(lab, folder, TopicRecord(name="t", topic_id=known), PartitionRecord(topic_id=known, partition_id=0))
    assert look(folder) == []
    (folder / "t-0" / "partition.metadata").unlink()
    (finding,) = look(folder)
    assert finding == (
        "t-0/partition.metadata",
        f"is missing; a start writes it (topic t has the id {uuid_text(known)})",
        False,
        False,
    )
    (folder / "t-0" / "partition.metadata").write_bytes(b"nonsense")
    mend(lab, folder)
    assert look(folder) == []
    assert topic_id(folder) == known


def test_a_folder_of_another_topic_is_set_aside(lab: Any, folder: Path) -> None:
    other = bytes(15) + b"\x09"
    with_metadata(lab, folder, TopicRecord(name="t", topic_id=other), PartitionRecord(topic_id=other, partition_id=0))
    ((path, text),) = damages(folder)
    assert path == "t-0/partition.metadata"
    assert text.endswith(f"topic t is {uuid_text(other)}")
    assert "t-0 is set aside" in mend(lab, folder)
    assert damages(folder) == []
    assert len(list(folder.glob("t-0.*-stray/*.log"))) == 4


def test_a_folder_of_no_topic(lab: Any, folder: Path) -> None:
    with_metadata(lab, folder, TopicRecord(name="other", topic_id=bytes(15) + b"\x09"))
    ((path, text),) = damages(folder)
    assert path == "t-0"
    assert "belongs to no topic of the metadata log" in text


def test_a_folder_of_a_deleted_topic_is_a_note(lab: Any, folder: Path) -> None:
    known = topic_id(folder)
    with_metadata(lab, folder, TopicRecord(name="t", topic_id=known), RemoveTopicRecord(topic_id=known))
    (finding,) = look(folder)
    assert not finding.damage
    assert "was deleted" in finding.text


# --- who may


def test_a_running_broker_is_left_alone(lab: Any, folder: Path) -> None:
    store = lab.open(folder)
    lab.log(store, index_interval_bytes="150").append(lab.batch(), leader_epoch=1)
    with pytest.raises(FolderLockedError) as error:
        lock(str(folder), create=True)
    assert error.value.pid == os.getpid()
    with segment(folder, 30).open("ab") as file:
        file.write(b"half a batch")
    assert damages(folder, in_use=True) == []


def test_the_lock_is_taken_only_where_there_is_one(folder: Path) -> None:
    (folder / ".lock").unlink()
    assert lock(str(folder), create=False) is None
    assert not (folder / ".lock").exists()
    held = lock(str(folder), create=True)
    assert isinstance(held, FolderLock)
    held.release()


def test_a_folder_whose_identity_is_damaged_is_not_repaired(lab: Any, folder: Path) -> None:
    (folder / META_FILE).write_bytes(b"cluster.id\n")
    ((path, text),) = damages(folder)
    assert path == META_FILE
    assert "restore it, or delete it" in text
    with pytest.raises(StoreError, match="restore it, or delete it"):
        mend(lab, folder)


def test_checking_writes_nothing(folder: Path) -> None:
    _wrong_crc(folder)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}
    assert damages(folder)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")} == before


def test_a_rebuilt_transaction_index_outlives_another_kill(lab: Any, transactions: Path) -> None:
    """It is written at once: the start after that may trust what lies before the recovery point."""
    segment(transactions, 0, ".txnindex").write_bytes(b"odd")
    lab.open(transactions).abandon()
    assert aborted(lab.open(transactions)) == [FIRST, SECOND]


def test_entries_behind_a_cut_are_gone(lab: Any, transactions: Path) -> None:
    (transactions / CLEAN_FILE).unlink()
    (transactions / RECOVERY_POINTS).unlink()
    os.truncate(segment(transactions, 5), 0)
    store = lab.open(transactions)
    assert aborted(store) == [FIRST]
    assert store.get("t", 0).last_stable_offset == 3  # its end was never flushed: the transaction is open again
    assert not segment(transactions, 5, ".txnindex").exists()
