"""Where Apache Kafka 4.x itself falls short with files (measured), and Ottla must not: a test or more a row."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ottla.log.data_folder import StoreError
from ottla.log.upkeep import segment_facts
from ottla.wire.errors import ErrorCode, KafkaError
from tests.log.conftest import BadDisk

SEGMENTS = {"segment_bytes": "2000", "index_interval_bytes": "400"}


@pytest.fixture
def filled(lab: Any) -> Any:
    """A store that runs, with batches of one record at offsets 0 to 99 in many segments."""
    store = lab.open(defaults={"log.index.interval.bytes": "400"})
    log = lab.log(store, **SEGMENTS)
    for number in range(100):
        lab.append(log, b"%03d" % number + bytes(100))
    assert len(log.segments) > 5
    return store


def killed(lab: Any) -> Path:
    """The folder as kill -9 would leave it now."""
    target: Path = lab.folder.parent / "killed"
    shutil.copytree(lab.folder, target)
    return target


def offsets(lab: Any, log: Any) -> list[int]:
    return [offset for offset, _ in lab.read_all(log)]


@contextlib.contextmanager
def may_be_full() -> Iterator[None]:
    """No error but KAFKA_STORAGE_ERROR."""
    try:
        yield
    except KafkaError as error:
        if error.code != ErrorCode.KAFKA_STORAGE_ERROR:
            raise


def overwrite(log: Any, segment: Any, position: int, data: bytes, folder: Path | None = None) -> None:
    path = Path(segment.handle.path)
    if folder is not None:
        path = folder / path.parent.name / path.name
    with path.open("r+b") as file:
        file.seek(position)
        file.write(data)


def test_two_brokers_on_one_folder(lab: Any, filled: Any) -> None:
    with pytest.raises(StoreError, match=r"is in use by process \d+"):
        lab.open()
    assert lab.append(filled.get("t", 0)) == 100  # the first lives on


def test_a_full_disk(lab: Any) -> None:
    """At every write that an append, a roll or a checkpoint makes: refused, read on, healed, and nothing lost."""
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store, **SEGMENTS)
    stored: list[int] = []
    for number in range(60):
        disk.room = (number * 37) % 150 if number % 3 else None
        with may_be_full():
            stored.append(lab.append(log, bytes(100)))
        assert offsets(lab, log) == stored == list(range(len(stored)))
        if number % 7 == 0:
            for fails in (store.checkpoint, log.roll):
                with may_be_full():
                    fails()
    disk.room = None
    assert 20 <= len(stored) < 60
    assert lab.append(log) == len(stored)
    store.abandon()
    assert offsets(lab, lab.open().get("t", 0)) == [*stored, len(stored)]


def test_a_disk_full_of_something_else_at_the_end(lab: Any) -> None:
    """What cannot be closed cleanly is recovered."""
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store)
    lab.append(log)
    disk.room = 0
    with pytest.raises(KafkaError):
        store.close()
    again = lab.open()
    assert not again.was_clean
    assert offsets(lab, again.get("t", 0)) == [0]


def test_a_flipped_bit_in_an_old_segment_and_an_unclean_start(lab: Any, filled: Any) -> None:
    copy = killed(lab)
    log = filled.get("t", 0)
    batch = log.segments[2].batches(0)[3]
    overwrite(log, log.segments[2], batch.position + 90, b"\x01", copy)
    again = lab.open(copy).get("t", 0)
    assert offsets(lab, again) == [n for n in range(100) if n != batch.base_offset]
    assert lab.read_batches(again, batch.base_offset)[0].base_offset == batch.base_offset + 1  # as after compaction
    assert [line for line in lab.warnings if f"from offset {batch.base_offset} on" in line]


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_tail_under_a_clean_mark(lab: Any, filled: Any, damage: str) -> None:
    log = filled.get("t", 0)
    segment = log.segments[-1]
    path, size = Path(segment.handle.path), segment.size
    filled.close()
    if damage == "cut":
        with path.open("r+b") as file:
            file.truncate(size - 7)
    else:
        overwrite(log, segment, size - 20, b"\x01")
    again = lab.open().get("t", 0)
    assert lab.warnings
    assert offsets(lab, again) == list(range(99))
    assert lab.append(again) == 100  # never over an offset that was given out


@pytest.mark.parametrize(
    "name",
    [
        "recovery-point-offset-checkpoint",
        "log-start-offset-checkpoint",
        "replication-offset-checkpoint",
        "cleaner-offset-checkpoint",
        "t-0/leader-epoch-checkpoint",
        "t-0/partition.metadata",
    ],
)
@pytest.mark.parametrize(
    "garbage", [b"", b"\xff\xfe\x00", b"0\n1\nt 0\n", b"0\n9\nt 0 1\n", b"1\n0\n", b"0\n1\nt 0 x\n"]
)
def test_garbage_in_a_checkpoint(lab: Any, filled: Any, name: str, garbage: bytes) -> None:
    filled.close()
    (lab.folder / name).write_bytes(garbage)
    store = lab.open()
    assert offsets(lab, store.get("t", 0)) == list(range(100))
    store.close()
    lab.warnings.clear()
    assert offsets(lab, lab.open().get("t", 0)) == list(range(100))
    assert [line for line in lab.warnings if "partition.metadata" not in line] == []  # it was rebuilt


@pytest.mark.parametrize("deltas", [(1, 0), (0, 0), (0, 2), (-1, 0)])
def test_record_deltas_out_of_order(lab: Any, deltas: tuple[int, ...]) -> None:
    log = lab.log(lab.open())
    data = lab.batch(b"a", b"b")
    records = [61, 61 + 1 + data[61] // 2]
    for at, delta in zip(records, deltas, strict=True):
        data[at + 3] = delta * 2 if delta >= 0 else -delta * 2 - 1  # length, attributes, timestamp delta: a byte each
    from ottla.wire.hashing import crc32c

    data[17:21] = crc32c(memoryview(data)[21:], 0).to_bytes(4, "big")
    with pytest.raises(KafkaError) as refused:
        log.append(data, leader_epoch=0)
    assert refused.value.code == ErrorCode.INVALID_RECORD
    assert log.log_end_offset == 0


def test_garbage_after_a_batch(lab: Any) -> None:
    log = lab.log(lab.open())
    with pytest.raises(KafkaError) as refused:
        log.append(lab.batch(b"a") + b"garbage", leader_epoch=0)
    assert refused.value.code == ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("segment_index", [3, -1])
@pytest.mark.parametrize("where", ["header", "length", "batch", "two batches"])
def test_a_hole_that_only_a_read_meets(lab: Any, filled: Any, where: str, segment_index: int) -> None:
    """It costs what lies in it: the fetch there goes on at the next good batch, and so do lookups and retention."""
    log = filled.get("t", 0)
    while len(log.segments[-1].batches(0)) < 6:
        lab.append(log, bytes(100))
    segment = log.segments[segment_index]
    first = segment.batches(0)[3]
    size = {"header": 20, "length": 12, "batch": first.size, "two batches": 2 * first.size}[where]
    overwrite(log, segment, first.position, b"\xff" * size)
    lost = [first.base_offset, first.base_offset + 1] if where == "two batches" else [first.base_offset]
    hole_is_read_past(lab, log, lost)


def test_a_hole_at_the_end_of_an_old_segment(lab: Any, filled: Any) -> None:
    segment = filled.get("t", 0).segments[3]
    last = segment.batches(0)[-1]
    filled.close()
    log = lab.open().get("t", 0)
    overwrite(log, segment, last.position, b"\xff" * 30)
    hole_is_read_past(lab, log, [last.base_offset])


def hole_is_read_past(lab: Any, log: Any, lost: list[int]) -> None:
    for offset in [*lost, *lost]:
        assert lab.read_batches(log, offset, 1)[0].base_offset == lost[-1] + 1
    assert lab.read_batches(log, lost[-1] + 1, 1)[0].base_offset == lost[-1] + 1
    assert lab.read_batches(log, lost[0] - 1, 1)[0].base_offset == lost[0] - 1
    assert log.offset_for_timestamp(0).value.offset == 0
    assert log.offset_of_max_timestamp().value.offset >= 0
    assert len(segment_facts(log)) == len(log.segments)
    assert lab.append(log) == log.log_end_offset - 1
    assert len([line for line in lab.warnings if "no batch at byte" in line]) == 1
