"""Starting again: after a clean stop, after kill -9, and with files that are cut, flipped, missing or full of
garbage."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

NOW = 1_700_000_000_000
FIRST = "00000000000000000000"
DENSE = {"log.index.interval.bytes": "150"}


@pytest.fixture
def filled(lab: Any) -> Any:
    """A store whose log `t` holds 20 idempotent batches of two records in several segments, a dense index."""
    store = lab.open(defaults=DENSE)
    log = lab.log(store, segment_bytes="800")
    for number in range(20):
        data = lab.batch(
            b"a%058d" % number,
            b"b",
            timestamp_ms=NOW + number,
            producer_id=5,
            producer_epoch=0,
            base_sequence=2 * number,
        )
        log.append(data, leader_epoch=number // 8)
    assert len(log.segments) >= 4
    return store


def content(lab: Any, log: Any) -> list[int]:
    return [offset for offset, _ in lab.read_all(log)]


def killed(lab: Any, name: str = "killed") -> Path:
    """A copy of the folder as kill -9 would leave it."""
    target = lab.folder.parent / name
    shutil.copytree(lab.folder, target)
    return target


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted((folder / "t-0").glob(f"*{suffix}"))


def retry(lab: Any, number: int) -> bytearray:
    return lab.batch(
        b"a%058d" % number, b"b", timestamp_ms=NOW + number, producer_id=5, producer_epoch=0, base_sequence=2 * number
    )


def test_clean_stop(lab: Any, filled: Any) -> None:
    filled.close()
    store = lab.open()
    log = store.get("t", 0)
    assert store.was_clean
    assert lab.warnings == []
    assert content(lab, log) == list(range(40))
    assert log.append(retry(lab, 19), leader_epoch=2).value.base_offset == 38
    assert log.append(retry(lab, 20), leader_epoch=2).value.base_offset == 40
    assert log.end_offset_for_epoch(0) == (0, 16)


def test_a_clean_start_reads_little(lab: Any, filled: Any) -> None:
    filled.close()
    from ottla.log.filesystem import FileSystem

    fs = FileSystem()
    real, read = fs.pread, []

    def pread(fd: int, size: int, position: int) -> bytes:
        data = real(fd, size, position)
        read.append(len(data))
        return data

    fs.pread = pread
    store = lab.open(fs=fs)
    assert sum(read) < store.get("t", 0).active.size + 300
    store.close()
    times = {f: f.stat().st_mtime_ns for f in (lab.folder / "t-0").iterdir()}
    lab.open().close()
    assert {
        f: f.stat().st_mtime_ns for f in (lab.folder / "t-0").iterdir()
    } == times  # nothing changed, nothing is written


def test_kill(lab: Any, filled: Any) -> None:
    store = lab.open(killed(lab))
    log = store.get("t", 0)
    assert not store.was_clean
    assert lab.warnings == []
    assert content(lab, log) == list(range(40))
    for number in range(15, 20):
        assert log.append(retry(lab, number), leader_epoch=2).value.duplicate
    assert log.append(retry(lab, 20), leader_epoch=2).value.base_offset == 40
    assert log.offset_for_timestamp(NOW + 7).value.offset == 14
    store.close()
    again = lab.open(Path(store.path)).get("t", 0)
    assert content(lab, again) == list(range(42))


def test_indexes_after_kill_are_those_of_a_clean_stop(lab: Any, filled: Any) -> None:
    copy = killed(lab)
    filled.close()
    lab.open(copy, DENSE).close()
    for suffix in (".log", ".index", ".timeindex", ".snapshot"):
        for file in files(lab.folder, suffix):
            assert (copy / "t-0" / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("cut", [1, 50, 61, 62, 140, 141])
def test_a_torn_tail_is_cut(lab: Any, filled: Any, cut: int) -> None:
    copy = killed(lab)
    last = files(copy, ".log")[-1]
    size = last.stat().st_size
    with last.open("r+b") as file:
        file.truncate(size - cut)
    log = lab.open(copy).get("t", 0)
    lost = 1 if cut < filled.get("t", 0).active.last_batch.size else 2
    assert content(lab, log) == list(range(40 - 2 * lost))
    assert any("cut" in line for line in lab.warnings)
    assert log.append(retry(lab, 20 - lost), leader_epoch=2).value.base_offset == 40 - 2 * lost


def test_zeroes_and_noise_behind_the_end(lab: Any, filled: Any) -> None:
    for name, tail in (("zeroes", bytes(5000)), ("noise", random.Random(3).randbytes(5000))):
        copy = killed(lab, name)
        with files(copy, ".log")[-1].open("ab") as file:
            file.write(tail)
        assert content(lab, lab.open(copy).get("t", 0)) == list(range(40))


@pytest.mark.parametrize("where", ["value", "crc", "length", "magic"])
def test_a_flipped_bit_in_an_old_segment_costs_one_batch(lab: Any, filled: Any, where: str) -> None:
    copy = killed(lab)
    second = filled.get("t", 0).segments[1]
    batch = second.batches(0)[1]
    position = batch.position + {"value": 80, "crc": 17, "length": 11, "magic": 16}[where]
    with files(copy, ".log")[1].open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x40]))
    log = lab.open(copy).get("t", 0)
    lost = {batch.base_offset, batch.last_offset}
    assert content(lab, log) == [offset for offset in range(40) if offset not in lost]
    assert any("dropped" in line and f"offset {batch.base_offset}" in line for line in lab.warnings)
    assert lab.read_batches(log, batch.base_offset)[0].base_offset == batch.last_offset + 1
    lab.stores[-1].close()
    assert content(lab, lab.open(copy).get("t", 0)) == content(lab, log)


def test_a_cut_old_segment_keeps_the_later_ones(lab: Any, filled: Any) -> None:
    copy = killed(lab)
    second = files(copy, ".log")[1]
    with second.open("r+b") as file:
        file.truncate(second.stat().st_size - 10)
    log = lab.open(copy).get("t", 0)
    end = filled.get("t", 0).segments[2].base_offset
    assert content(lab, log) == [offset for offset in range(40) if offset not in (end - 2, end - 1)]
    assert lab.read_batches(log, end - 1)[0].base_offset == end


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damage_under_a_clean_mark_is_noticed(lab: Any, filled: Any, damage: str) -> None:
    filled.close()
    last = files(lab.folder, ".log")[-1]
    with last.open("r+b") as file:
        if damage == "cut":
            file.truncate(last.stat().st_size - 5)
        else:
            file.seek(-3, 2)
            file.write(b"#")
    log = lab.open().get("t", 0)
    assert content(lab, log) == list(range(38))
    assert any("although the broker stopped cleanly" in line for line in lab.warnings)
    assert any("38 to 39 are lost" in line for line in lab.warnings)
    assert log.log_end_offset == 40  # consumers that committed 40 must not miss what comes
    assert lab.append(log) == 40
    assert lab.read_batches(log, 38)[0].base_offset == 40
    lab.stores[-1].abandon()
    again = lab.open().get("t", 0)
    assert (again.log_end_offset, content(lab, again)) == (41, [*range(38), 40])


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("suffix", [".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint"])
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "cut"])
def test_files_that_can_be_rebuilt(lab: Any, filled: Any, suffix: str, damage: str, clean: bool) -> None:
    if clean:
        filled.close()
    folder = lab.folder if clean else killed(lab)
    for file in files(folder, suffix):
        data = file.read_bytes()
        if damage == "missing":
            file.unlink()
        else:
            file.write_bytes({"empty": b"", "garbage": b"\x7fgarbage!", "cut": data[: len(data) // 2]}[damage])
    log = lab.open(folder).get("t", 0)
    assert content(lab, log) == list(range(40))
    for number in range(20):
        assert lab.read_batches(log, 2 * number + 1)[0].base_offset == 2 * number
        if suffix != ".timeindex" or damage != "empty":
            assert log.offset_for_timestamp(NOW + number).value.offset == 2 * number
    assert log.append(retry(lab, 19), leader_epoch=2).value.duplicate
    assert log.end_offset_for_epoch(1) == (1, 32)
    lab.stores[-1].close()
    before = list(lab.warnings)
    again = lab.open(folder).get("t", 0)
    assert content(lab, again) == list(range(40))
    assert lab.warnings == before  # repaired once


@pytest.mark.parametrize(
    "name", ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"]
)
def test_garbage_in_a_checkpoint_does_not_stop_the_start(lab: Any, filled: Any, name: str) -> None:
    filled.close()
    (lab.folder / name).write_bytes(b"\x00garbage")
    store = lab.open()
    assert content(lab, store.get("t", 0)) == list(range(40))
    store.close()
    assert (lab.folder / name).read_bytes().startswith(b"0\n")


def test_log_start_survives_kill(lab: Any, filled: Any) -> None:
    filled.get("t", 0).trim(17)
    log = lab.open(killed(lab)).get("t", 0)
    assert (log.log_start_offset, content(lab, log)) == (17, list(range(17, 40)))


def test_only_what_follows_the_recovery_point_is_scanned(lab: Any, filled: Any) -> None:
    log = filled.get("t", 0)
    log.flush()
    filled.checkpoint()
    copy = killed(lab)
    with files(copy, ".log")[0].open("r+b") as file:  # damage before it is not looked for
        file.seek(100)
        file.write(b"#")
    store = lab.open(copy)
    assert lab.warnings == []
    assert store.get("t", 0).log_end_offset == 40


def test_leftovers_of_a_crash(lab: Any, filled: Any) -> None:
    copy = killed(lab)
    folder = copy / "t-0"
    for name in (
        f"{FIRST}.log.deleted",
        "00000000000000000099.index",
        f"{FIRST}.log.cleaned",
        "leader-epoch-checkpoint.tmp",
    ):
        (folder / name).write_bytes(b"x")
    shutil.copy(folder / f"{FIRST}.log", folder / f"{FIRST}.log.swap")
    log = lab.open(copy).get("t", 0)
    assert content(lab, log) == list(range(40))
    assert not [
        f.name for f in folder.iterdir() if f.suffix in (".deleted", ".cleaned", ".tmp", ".swap") or "99" in f.name
    ]


def test_a_crash_right_after_a_roll(lab: Any, filled: Any) -> None:
    filled.get("t", 0).roll()
    log = lab.open(killed(lab)).get("t", 0)
    assert (log.log_end_offset, log.active.size) == (40, 0)
    assert lab.append(log) == 40


def test_a_folder_that_lost_its_batches_goes_on_behind_them(lab: Any, filled: Any) -> None:
    filled.close()
    for file in files(lab.folder, ".log"):
        file.unlink()
    log = lab.open().get("t", 0)
    assert (log.log_start_offset, log.log_end_offset, lab.append(log)) == (40, 40, 40)


def test_damage_that_only_a_read_meets(lab: Any, filled: Any) -> None:
    filled.close()
    first = files(lab.folder, ".log")[0]
    first.write_bytes(bytes(first.stat().st_size))
    log = lab.open().get("t", 0)
    second = log.segments[1].base_offset
    for _ in range(3):
        assert lab.read_batches(log, 5)[0].base_offset == second
    assert lab.read_batches(log, 39)[0].last_offset == 39
    assert len([line for line in lab.warnings if "no batch at byte" in line]) == 1


def test_producers_of_trimmed_records_are_still_known(lab: Any) -> None:
    log = lab.log(lab.open())
    log.append(retry(lab, 0), leader_epoch=0)
    log.trim(2)
    again = lab.open(killed(lab)).get("t", 0)
    assert again.append(retry(lab, 0), leader_epoch=0).value.duplicate


def test_a_swap_that_a_crash_cut_short_is_finished(lab: Any, filled: Any) -> None:
    """As Kafka leaves it: two segments compacted into one that is complete, the old ones still there."""
    copy = killed(lab)
    first, second = files(copy, ".log")[:2]
    merged = first.read_bytes() + second.read_bytes()
    first.with_name(first.name + ".swap").write_bytes(merged)
    log = lab.open(copy).get("t", 0)
    assert content(lab, log) == list(range(40))
    assert not second.exists()
    assert first.read_bytes() == merged
    assert lab.warnings == []


def test_a_crash_between_the_folder_and_its_first_file(lab: Any) -> None:
    store = lab.open()
    lab.append(lab.log(store))
    store.abandon()
    for file in (lab.folder / "t-0").iterdir():
        if file.name != "partition.metadata":
            file.unlink()
    store = lab.open()
    assert list(store.existing()) == [("t", 0)]  # so that whoever owns topics can tell whose it is
    store.delete("t", 0)
    assert lab.append(lab.log(store)) == 0


def test_a_preallocated_segment_has_its_full_size_while_it_is_written_and_no_more_after(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, segment_bytes="2000000", preallocate="true")
    for number in range(10):
        log.append(retry(lab, number), leader_epoch=0)
    first = files(lab.folder, ".log")[0]
    assert first.stat().st_size == 2_000_000
    assert content(lab, log) == list(range(20))
    log.roll()
    assert first.stat().st_size == log.segments[0].size
    log.append(retry(lab, 10), leader_epoch=0)

    crashed = killed(lab)
    store.close()
    assert [path.stat().st_size for path in files(lab.folder, ".log")] == [segment.size for segment in log.segments]
    assert content(lab, lab.log(lab.open())) == list(range(22))

    again = lab.open(crashed).get("t", 0)
    assert content(lab, again) == list(range(22))
    assert any("nothing but zeros" in text for text in lab.warnings)
