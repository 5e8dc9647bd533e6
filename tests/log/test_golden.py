"""A real directory of a stopped Kafka 4.4: read whole, served, and written again byte for byte from the same
appends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ottla.log.filesystem import FileSystem
from ottla.log.ids import uuid_from_text
from ottla.log.leader_epoch import LeaderEpochs
from ottla.log.offset_index import OffsetIndex
from ottla.log.producer_state import ProducerState
from ottla.log.scan import scan
from ottla.log.time_index import TimeIndex
from ottla.wire.records import RecordBatch, batches

GOLDEN = Path(__file__).parent / "data" / "log_dir"
EXPECTED: dict[str, dict[str, Any]] = json.loads((GOLDEN / "expected.json").read_text())
LOGS = sorted(name for name, content in EXPECTED.items() if content["kind"] == "log")
WITH_FILES = sorted({tuple(name.parent.name.rsplit("-", 1)) for name in map(Path, EXPECTED) if str(name.parent) != "."})


def of_kind(kind: str) -> list[str]:
    return sorted(name for name, content in EXPECTED.items() if content["kind"] == kind)


@pytest.mark.parametrize("name", of_kind("offset index"))
def test_offset_index(name: str) -> None:
    data = (GOLDEN / name).read_bytes()
    base = int(Path(name).stem)
    index = OffsetIndex.decode(data, base, (GOLDEN / name).with_suffix(".log").stat().st_size)
    entries = [(e["relative_offset"], e["position"]) for e in EXPECTED[name]["entries"]]
    assert list(zip(index.offsets, index.positions, strict=True)) == entries
    assert index.encode() == data


@pytest.mark.parametrize("name", of_kind("time index"))
def test_time_index(name: str) -> None:
    data = (GOLDEN / name).read_bytes()
    index = TimeIndex.decode(data, int(Path(name).stem))
    entries = [(e["timestamp"], e["relative_offset"]) for e in EXPECTED[name]["entries"]]
    assert list(zip(index.timestamps, index.offsets, strict=True)) == entries
    assert index.encode() == data


@pytest.mark.parametrize("name", of_kind("producer snapshot"))
def test_producer_snapshot(name: str) -> None:
    data = (GOLDEN / name).read_bytes()
    state = ProducerState.decode(data)
    expected = EXPECTED[name]["value"]["ProducerEntries"]
    assert list(state.producers) == [entry["ProducerId"] for entry in expected]
    assert [p.last_sequence for p in state.producers.values()] == [entry["LastSequence"] for entry in expected]
    assert state.encode() == data


@pytest.mark.parametrize("name", sorted(n for n in EXPECTED if n.endswith("leader-epoch-checkpoint")))
def test_leader_epochs(name: str) -> None:
    data = (GOLDEN / name).read_bytes()
    assert LeaderEpochs.decode(data).encode().rstrip() == data.rstrip()


@pytest.mark.parametrize("name", LOGS)
def test_batches(name: str) -> None:
    data = (GOLDEN / name).read_bytes()
    expected = EXPECTED[name]["batches"]
    found = list(batches(data))
    assert [(b.offset, b.size, b.base_offset, b.last_offset, b.records_count) for b in found] == [
        (b["pos"], b["size"], b["base_offset"], b["last_offset"], b["count"]) for b in expected
    ]
    with (GOLDEN / name).open("rb") as file:
        scanned = list(scan(FileSystem(), file.fileno(), 0, len(data), verify=True))
    assert [
        (s.position, s.size, s.base_offset, s.last_offset, s.leader_epoch, s.max_timestamp_ms) for s in scanned
    ] == [
        (b["pos"], b["size"], b["base_offset"], b["last_offset"], b["leader_epoch"], b["max_timestamp"])
        for b in expected
    ]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    shutil.copytree(GOLDEN, target)
    return target


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
def test_a_store_serves_the_folder(lab: Any, copy: Path, clean: bool) -> None:
    if not clean:
        (copy / ".kafka_cleanshutdown").unlink()
        (copy / "recovery-point-offset-checkpoint").unlink()
    store = lab.open(copy)
    assert lab.warnings == []
    assert store.cluster_id == "AAAAAAAAQACAAAAAAAAAAQ"
    assert sorted((topic, str(partition)) for topic, partition in store.existing()) == WITH_FILES
    for topic, partition in store.existing():
        log = store.get(topic, partition)
        folder = f"{topic}-{partition}"
        stored = [b for name in LOGS if name.startswith(folder + "/") for b in EXPECTED[name]["batches"]]
        text = EXPECTED[f"{folder}/partition.metadata"]["lines"][1].split()[1]
        assert log.topic_id == uuid_from_text(text)
        if not stored:
            assert log.log_end_offset == 0
            continue
        assert log.log_end_offset == stored[-1]["last_offset"] + 1
        offset, got = log.log_start_offset, []
        while offset < log.high_watermark:
            found = lab.read_batches(log, offset)
            got += found
            offset = found[-1].next_offset
        kept = [b for b in stored if b["last_offset"] >= log.log_start_offset]
        assert [(b.base_offset, b.size) for b in got] == [(b["base_offset"], b["size"]) for b in kept]
        assert all(b.is_valid_crc() for b in got)
        for expected in kept:
            assert (
                lab.read_batches(log, max(expected["base_offset"], log.log_start_offset))[0].base_offset
                == expected["base_offset"]
            )
    store.close()
    assert (copy / ".kafka_cleanshutdown").exists()


def test_log_start_comes_from_the_checkpoint(lab: Any, copy: Path) -> None:
    assert lab.open(copy).get("__share_group_state", 0).log_start_offset == 2


def test_offset_for_timestamp(lab: Any, copy: Path) -> None:
    log = lab.open(copy).get("seg", 0)
    for name in (n for n in LOGS if n.startswith("seg-0/")):
        for b in EXPECTED[name]["batches"]:
            found = log.offset_for_timestamp(b["base_timestamp"]).value
            assert (found.offset, found.timestamp_ms, found.leader_epoch) == (b["base_offset"], b["base_timestamp"], 0)
    newest = log.offset_of_max_timestamp().value
    assert (newest.offset, newest.timestamp_ms) == (
        33,
        EXPECTED["seg-0/00000000000000000030.timeindex"]["entries"][-1]["timestamp"],
    )
    assert log.offset_for_timestamp(newest.timestamp_ms + 1).value.offset == -1


def as_produced(batch: RecordBatch) -> bytearray:
    data = bytearray(batch.memory())
    data[:8] = bytes(8)
    data[12:16] = b"\xff" * 4
    return data


def test_the_same_appends_give_the_same_files(lab: Any) -> None:
    store = lab.open()
    log = lab.log(
        store, "seg", segment_ms="1000", index_interval_bytes="100", message_timestamp_after_max_ms=str(2**62)
    )
    for name in (n for n in LOGS if n.startswith("seg-0/")):
        for one in batches((GOLDEN / name).read_bytes()):
            assert log.append(as_produced(one), leader_epoch=0).value.base_offset == one.base_offset
    store.close()
    ours, theirs = lab.folder / "seg-0", GOLDEN / "seg-0"
    assert sorted(f.name for f in ours.iterdir()) == sorted(f.name for f in theirs.iterdir())
    for file in ours.iterdir():
        if file.name != "partition.metadata":
            assert file.read_bytes() == (theirs / file.name).read_bytes(), file.name


def test_the_same_idempotent_batches_give_the_same_producer_state(lab: Any) -> None:
    log = lab.log(lab.open(), "obs-a", message_timestamp_after_max_ms=str(2**62))
    for one in batches((GOLDEN / "obs-a-1" / "00000000000000000000.log").read_bytes()):
        assert log.append(as_produced(one), leader_epoch=0).value.base_offset == one.base_offset
    kept = ProducerState.decode((GOLDEN / "obs-a-1" / "00000000000000000032.snapshot").read_bytes())
    ours = ProducerState.decode(log.producers.encode())
    for producer_id, expected in kept.producers.items():
        found = ours.producers[producer_id]
        assert (found.epoch, found.batches, found.last_timestamp_ms) == (
            expected.epoch,
            expected.batches,
            expected.last_timestamp_ms,
        )


@pytest.mark.parametrize("folder", ["obs-t-0", "obs-a-1", "__consumer_offsets-0"])
def test_producer_state_replayed_from_the_log_is_that_of_the_snapshot(lab: Any, copy: Path, folder: str) -> None:
    (snapshot,) = (copy / folder).glob("*.snapshot")
    data = snapshot.read_bytes()
    snapshot.unlink()
    lab.clock.advance(
        EXPECTED[f"{folder}/00000000000000000000.log"]["batches"][0]["max_timestamp"] - lab.clock.wall_ms()
    )
    topic, partition = folder.rsplit("-", 1)
    replayed = ProducerState.decode(lab.open(copy).get(topic, int(partition)).producers.encode())
    for producer_id, expected in ProducerState.decode(data).producers.items():
        found = replayed.producers[producer_id]
        assert (found.epoch, found.batches, found.coordinator_epoch, found.transaction_first_offset) == (
            expected.epoch,
            expected.batches,
            expected.coordinator_epoch,
            expected.transaction_first_offset,
        )
