"""What `describe` says of files: the golden folder's facts, damage, and memory that does not grow with the file."""

from __future__ import annotations

import json
import re
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ottla.log.dump import DumpError, describe, used_entries
from ottla.log.ids import uuid_from_text, uuid_hex
from ottla.log.record_facts import FAMILIES
from ottla.wire.records import Record, build_batch, build_control_batch

GOLDEN = Path(__file__).parent / "data" / "log_dir"
EXPECTED: dict[str, dict[str, Any]] = json.loads((GOLDEN / "expected.json").read_text())


def facts(path: Path, **options: Any) -> list[dict[str, Any]]:
    return list(describe(str(path), **options))


def of_kind(kind: str) -> list[str]:
    return sorted(name for name, content in EXPECTED.items() if content["kind"] == kind)


def content(path: Path, kind: str = "entry", **options: Any) -> list[dict[str, Any]]:
    found = facts(path, verify=True, **options)
    assert [fact for fact in found if fact["kind"] == "problem"] == []
    assert found[-1]["problems"] == 0
    return [{name: value for name, value in fact.items() if name != "kind"} for fact in found if fact["kind"] == kind]


def test_every_kind_of_fact_is_expected_of_some_file() -> None:
    kinds = {content["kind"] for content in EXPECTED.values()}
    assert kinds == {"log", "offset index", "time index", "transaction index", "producer snapshot", "text"}


@pytest.mark.parametrize("name", of_kind("log"))
def test_log(name: str) -> None:
    found = content(GOLDEN / name, "batch")
    expected = EXPECTED[name]["batches"]
    assert [
        (
            b["position"],
            b["bytes"],
            b["base_offset"],
            b["last_offset"],
            b["records"],
            b["leader_epoch"],
            b["delete_horizon_ms"] if b["delete_horizon_ms"] is not None else b["base_timestamp_ms"],
            b["max_timestamp_ms"],
            b["producer_id"],
            b["producer_epoch"],
            b["base_sequence"],
            b["transactional"],
            b["control"],
            b["crc_valid"],
        )
        for b in found
    ] == [
        (
            b["pos"],
            b["size"],
            b["base_offset"],
            b["last_offset"],
            b["count"],
            b["leader_epoch"],
            b["base_timestamp"],
            b["max_timestamp"],
            b["producer_id"],
            b["producer_epoch"],
            b["base_sequence"],
            bool(b["attributes"] & 16),
            bool(b["attributes"] & 32),
            True,
        )
        for b in expected
    ]


def snake(value: Any) -> Any:
    """Kafka's names as ours, its uuids as the text that expected.json has."""
    if isinstance(value, list):
        return [snake(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"hex"}:
            return value["hex"]
        return {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower(): snake(item) for name, item in value.items()}
    return value


def comparable(value: Any) -> Any:
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, dict):
        return {name: comparable(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str) and re.fullmatch(r"[\w-]{22}", value):
        return uuid_hex(uuid_from_text(value))
    return value


@pytest.mark.parametrize("name", of_kind("log"))
def test_records(name: str) -> None:
    found = content(GOLDEN / name, "record", records=True)
    expected = [record for batch in EXPECTED[name]["batches"] for record in batch.get("records", ())]
    assert [r["offset"] for r in found] == [r["offset"] for r in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert "undecoded" not in ours
        if "control" in theirs:
            assert ours["type"].lower() == theirs["control"]
        elif "type" in theirs:
            assert ours["type"] + "Value" == theirs["type"]
            assert comparable(ours["key"]) == snake(theirs["key_decoded"])
            assert comparable(ours["value"]) == snake(theirs.get("value_decoded"))
            assert ours.get("value_version") == theirs.get("value_version")
        else:
            assert (comparable(ours["key"]), comparable(ours["value"])) == (theirs["key"], theirs["value"])


@pytest.mark.parametrize("name", of_kind("offset index"))
def test_offset_index(name: str) -> None:
    base = int(Path(name).stem)
    entries = [{"offset": base + e["relative_offset"], "position": e["position"]} for e in EXPECTED[name]["entries"]]
    assert content(GOLDEN / name) == entries


@pytest.mark.parametrize("name", of_kind("time index"))
def test_time_index(name: str) -> None:
    base = int(Path(name).stem)
    entries = EXPECTED[name]["entries"]
    assert content(GOLDEN / name) == [
        {"timestamp_ms": e["timestamp"], "offset": base + e["relative_offset"]} for e in entries
    ]


@pytest.mark.parametrize("name", of_kind("transaction index"))
def test_transaction_index(name: str) -> None:
    entries = EXPECTED[name]["entries"]
    assert content(GOLDEN / name) == [
        {**{k: v for k, v in e.items() if k != "lso"}, "last_stable_offset": e["lso"]} for e in entries
    ]


@pytest.mark.parametrize("name", of_kind("producer snapshot"))
def test_producer_snapshot(name: str) -> None:
    head = facts(GOLDEN / name)[0]
    assert (head["version"], head["crc"]) == (EXPECTED[name]["version"], EXPECTED[name]["crc"])
    expected = EXPECTED[name]["value"]["ProducerEntries"]
    assert [list(entry.values()) for entry in content(GOLDEN / name)] == [list(entry.values()) for entry in expected]


@pytest.mark.parametrize("name", of_kind("text"))
def test_small_files(name: str) -> None:
    lines = EXPECTED[name]["lines"]
    if name.endswith(("partition.metadata", "meta.properties", ".kafka_cleanshutdown")):
        found = {p["name"]: str(p["value"]) for p in content(GOLDEN / name, "property")}
        if name.endswith(".kafka_cleanshutdown"):
            assert found == {key: str(value) for key, value in json.loads(lines[0]).items()}
        else:
            separator = ":" if name.endswith(".metadata") else "="
            pairs = (line.split(separator, 1) for line in lines if not line.startswith("#"))
            assert found == {key.strip(): value.strip() for key, value in pairs}
    else:
        assert [" ".join(map(str, entry.values())) for entry in content(GOLDEN / name)] == lines[2:]


def test_every_file_of_the_folder_is_known() -> None:
    for path in GOLDEN.rglob("*"):
        if path.is_file() and path.name != "expected.json":
            assert facts(path, records=True, verify=True)[-1]["problems"] == 0


# --- records, families


def log_of(folder: Path, *batches: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "00000000000000000000.log"
    path.write_bytes(b"".join(batches))
    return path


def batch_of(*values: bytes | None, base_offset: int = 0, **options: Any) -> bytes:
    records = [
        Record(base_offset + n, 1_700_000_000_000 + n, None, value, [("h", b"1"), ("empty", None)])
        for n, value in enumerate(values)
    ]
    return bytes(build_batch(records, base_offset=base_offset, **options))


@pytest.mark.parametrize("codec", range(5))
def test_records_of_every_codec_with_headers(tmp_path: Path, codec: int) -> None:
    path = log_of(tmp_path / "t-0", batch_of(b"a", None, codec=codec))
    assert content(path, "batch")[0]["codec"] == ("none", "gzip", "snappy", "lz4", "zstd")[codec]
    headers = [{"key": "h", "value": b"1"}, {"key": "empty", "value": None}]
    assert content(path, "record", records=True) == [
        {"offset": 0, "timestamp_ms": 1_700_000_000_000, "key": None, "value": b"a", "headers": headers},
        {"offset": 1, "timestamp_ms": 1_700_000_000_001, "key": None, "value": None, "headers": headers},
    ]


def test_records_are_decoded_as_asked(tmp_path: Path) -> None:
    source = GOLDEN / "__consumer_offsets-0" / "00000000000000000000.log"
    path = log_of(tmp_path / "copy", source.read_bytes())
    plain, decoded = facts(path, records=True)[2], facts(path, records=True, family="offsets")[2]
    assert isinstance(plain["key"], bytes)
    assert decoded["key"] == {"group": "og3"}
    wrong = [f for f in facts(path, records=True, family="metadata") if "undecoded" in f]
    assert wrong
    assert all(isinstance(f["value"], bytes) for f in wrong)


def test_metadata_records(lab: Any, tmp_path: Path) -> None:
    from ottla.wire.state.cluster_metadata import TopicRecord
    from ottla.wire.state.metadata_frame import encode_metadata_record

    value = encode_metadata_record(TopicRecord(name="orders", topic_id=bytes(15) + b"\x07"))
    path = log_of(tmp_path / "__cluster_metadata-0", batch_of(value))
    (record,) = content(path, "record", records=True)
    assert (record["type"], record["value"]) == (
        "TopicRecord",
        {"name": "orders", "topic_id": "AAAAAAAAAAAAAAAAAAAABw"},
    )
    snapshot = path.rename(path.with_name("00000000000000000001-0000000001.checkpoint"))
    assert content(snapshot, "record", records=True) == [record]


def test_old_messages_are_listed(tmp_path: Path) -> None:
    body = struct.pack(">bb", 1, 0) + struct.pack(">q", 1234) + struct.pack(">i", -1) + struct.pack(">i", 1) + b"v"
    from zlib import crc32

    message = struct.pack(">qi", 5, len(body) + 4) + struct.pack(">I", crc32(body)) + body
    (batch,) = content(log_of(tmp_path / "t-0", message), "batch")
    assert (batch["magic"], batch["base_offset"], batch["max_timestamp_ms"], batch["crc_valid"]) == (1, 5, 1234, True)


# --- damage


def problems(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [fact for fact in facts(path, **options) if fact["kind"] == "problem"]


def test_damaged_batches_are_named_and_the_others_shown(tmp_path: Path) -> None:
    one, two, three = (batch_of(b"x" * 50, base_offset=n) for n in range(3))
    flipped = bytearray(two)
    flipped[-5] ^= 1
    path = log_of(tmp_path / "t-0", one, bytes(flipped), three)
    assert problems(path) == []  # headers are fine
    (problem,) = problems(path, verify=True)
    assert problem["position"] == len(one)
    assert "wrong CRC" in problem["text"]
    path.write_bytes(one + b"\xff" * 40 + three + two[:30])
    assert [(p["position"], p["bytes"]) for p in problems(path)] == [(len(one), 40), (len(one) + 40 + len(three), 30)]
    assert [f["base_offset"] for f in facts(path) if f["kind"] == "batch"] == [0, 2]
    path.write_bytes(one + bytes(5000))
    assert [p["text"] for p in problems(path)] == ["nothing but zeros"]


def test_records_that_lie_are_found(tmp_path: Path) -> None:
    wrong_delta = batch_of(b"a", b"b", last_offset_delta=0)
    assert "offset 1" in problems(log_of(tmp_path / "a-0", wrong_delta), verify=True)[0]["text"]


@pytest.mark.parametrize(
    ("suffix", "entries", "text"),
    [
        (".index", struct.pack(">ii", 1, 7), "points at byte 7, where no batch begins"),
        (".index", struct.pack(">ii", 5, 70), "says offset 5, the batch at byte 70 ends at 1"),
        (".index", struct.pack(">iiii", 1, 70, 0, 70), "points at byte 70"),
        (".index", struct.pack(">ii", 9, 9999), "behind the last batch"),
        (".index", struct.pack(">ii", 1, 70) + b"xyz", "11 bytes are no whole number of entries of 8"),
        (".timeindex", struct.pack(">qi", 1, 0), "says 1, the batch of offset 0 has 1700000000000"),
        (".timeindex", struct.pack(">qi", 1_700_000_000_000, 9), "says offset 9, behind the last batch"),
        (".timeindex", struct.pack(">qiqi", 1_700_000_000_000, 0, 1_700_000_000_000, 1), "does not follow"),
    ],
)
def test_index_entries_are_compared_with_the_log(tmp_path: Path, suffix: str, entries: bytes, text: str) -> None:
    batches = [bytes(build_batch([Record(n, 1_700_000_000_000, None, b"vv")], base_offset=n)) for n in range(2)]
    assert len(batches[0]) == 70
    path = log_of(tmp_path / "t-0", *batches).with_suffix(suffix)
    path.write_bytes(entries)
    assert text in " | ".join(p["text"] for p in problems(path, verify=True))
    path.with_suffix(".log").unlink()
    assert "no 00000000000000000000.log beside it" in problems(path, verify=True)[-1]["text"]


def test_damaged_small_files(tmp_path: Path) -> None:
    snapshot = tmp_path / "00000000000000000032.snapshot"
    data = bytearray((GOLDEN / "obs-a-1" / snapshot.name).read_bytes())
    data[20] ^= 1
    snapshot.write_bytes(data)
    assert "wrong CRC" in problems(snapshot, verify=True)[0]["text"]
    snapshot.write_bytes(data[:100])
    assert "5 producers are announced, 100 bytes are there" in problems(snapshot)[0]["text"]
    snapshot.write_bytes(b"\0\x09" + bytes(8))
    assert "version 9" in problems(snapshot)[0]["text"]
    for name, garbage in {
        "leader-epoch-checkpoint": b"0\n1\n1\n",
        "recovery-point-offset-checkpoint": b"7\n",
        "meta.properties": b"nothing\n",
        "partition.metadata": b"nothing",
        ".kafka_cleanshutdown": b"{",
    }.items():
        (tmp_path / name).write_bytes(garbage)
        assert len(problems(tmp_path / name)) == 1, name


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DumpError, match=r"notes.txt is no file of a data folder; those end in \.log, "):
        facts(tmp_path / "notes.txt")


def test_files_that_wait_for_deletion_are_read(tmp_path: Path) -> None:
    path = log_of(tmp_path / "t-0", batch_of(b"v", base_offset=0))
    assert content(path.rename(f"{path}.deleted"), "batch")[0]["last_offset"] == 0


def test_zeros_behind_the_last_entry_are_not_entries() -> None:
    assert list(used_entries(iter([(1, 2), (0, 0), (0, 0)]))) == [(1, 2)]
    assert list(used_entries(iter([(1, 2), (0, 0), (3, 4)]))) == [(1, 2), (0, 0), (3, 4)]


def test_an_index_that_was_preallocated(tmp_path: Path) -> None:
    for name in ("00000000000000000015.log", "00000000000000000015.index", "00000000000000000015.timeindex"):
        (tmp_path / name).write_bytes((GOLDEN / "seg-0" / name).read_bytes())
    for suffix, entry_bytes in ((".index", 8), (".timeindex", 12)):
        path = tmp_path / f"00000000000000000015{suffix}"
        path.write_bytes(path.read_bytes() + bytes(entry_bytes * 1000))
        assert len(content(path)) == 4


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    one = bytearray(batch_of(b"x" * 20_000))
    small, large = log_of(tmp_path / "a-0"), log_of(tmp_path / "b-0")

    def fill(path: Path, count: int) -> None:
        with path.open("wb") as file:
            for n in range(count):
                one[:8] = n.to_bytes(8, "big")
                file.write(one)

    def peak(path: Path) -> int:
        tracemalloc.start()
        for _ in describe(str(path), records=True, verify=True):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    fill(small, 50)
    fill(large, 1000)
    peak(small)
    assert peak(large) < 1.5 * peak(small)
    told = []
    list(describe(str(large), verify=True, advance=told.append))
    assert sum(told) == large.stat().st_size


def test_families_are_those_of_the_internal_topics() -> None:
    assert set(FAMILIES) == {"offsets", "transactions", "metadata", "share"}


def test_markers_say_what_they_are(tmp_path: Path) -> None:
    markers = [
        bytes(build_control_batch(5, 1, commit, 9, timestamp_ms=1, base_offset=n))
        for n, commit in enumerate((True, False))
    ]
    found = content(log_of(tmp_path / "t-0", *markers), "record", records=True)
    assert [(f["type"], f["value"]) for f in found] == [
        ("COMMIT", {"coordinator_epoch": 9}),
        ("ABORT", {"coordinator_epoch": 9}),
    ]
