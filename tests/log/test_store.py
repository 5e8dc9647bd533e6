"""One data folder: what may not be opened and what is said, identity, partitions come and go, retention, deletion."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from ottla.log.data_folder import StoreError
from ottla.log.door import LogStore
from ottla.log.ids import uuid_from_text
from ottla.log.lock import lock_windows
from ottla.log.store import Store
from ottla.wire.errors import ErrorCode, KafkaError

NOW = 1_700_000_000_000
DAY = 86_400_000


def test_it_keeps_the_door(lab: Any) -> None:
    store: LogStore = lab.open()
    assert len(uuid_from_text(store.cluster_id)) == 16


def test_a_new_folder_has_an_identity(lab: Any) -> None:
    store = lab.open(cluster_id="AAAAAAAAQACAAAAAAAAAAQ")
    store.close()
    lines = (lab.folder / "meta.properties").read_text().splitlines()
    assert lines[:3] == ["version=1", "cluster.id=AAAAAAAAQACAAAAAAAAAAQ", "node.id=1"]
    assert lines[4] == "ottla.format.version=1"
    again = lab.open()
    assert (again.cluster_id, again.directory_id) == (store.cluster_id, store.directory_id)


def error_of(lab: Any, **options: Any) -> str:
    with pytest.raises(StoreError) as caught:
        lab.open(**options)
    return str(caught.value)


def test_a_locked_folder_is_refused(lab: Any) -> None:
    store = lab.open()
    assert f"in use by process {os.getpid()}; stop it or give another" in error_of(lab)
    code = (
        "import sys; from ottla.log.data_folder import StoreError; from ottla.log.store import Store\n"
        "from ottla.log.clock import ManualClock; from ottla.log.ids import Ids\n"
        "try: Store.open(sys.argv[1], clock=ManualClock(), ids=Ids(), node_id=1, broker_defaults={}, warn=print)\n"
        "except StoreError as error: print(error)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    other = subprocess.run(
        [sys.executable, "-c", code, str(lab.folder)], capture_output=True, text=True, env=env, check=True
    )
    assert f"process {os.getpid()}" in other.stdout
    store.close()
    lab.open()


def test_the_windows_lock(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    held: set[int] = set()

    def locking(fd: int, mode: int, size: int) -> None:
        assert os.lseek(fd, 0, os.SEEK_CUR) > 1000  # not where the pid is read
        if held:
            raise OSError(13, "Permission denied")
        held.add(fd)

    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))
    store = lab.open(locker=lock_windows)
    assert f"process {os.getpid()}" in error_of(lab, locker=lock_windows)
    held.clear()
    store.close()
    lab.open(locker=lock_windows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version=1\ncluster.id=abc\nnode.id=1\nottla.format.version=2\n", "format version 2"),
        ("version=2\ncluster.id=abc\nnode.id=1\n", "format version 2"),
        ("version=1\nnode.id=1\n", "damaged"),
        ("version=x\ncluster.id=abc\n", "damaged"),
        ("garbage", "damaged"),
        ("version=1\ncluster.id=abc\nnode.id=7\n", "belongs to node 7"),
    ],
)
def test_folders_of_others(lab: Any, text: str, said: str) -> None:
    lab.folder.mkdir()
    (lab.folder / "meta.properties").write_text(text)
    for _ in range(2):  # the lock is given back
        assert said in error_of(lab)


def test_another_cluster(lab: Any) -> None:
    lab.open(cluster_id="abc").close()
    assert "belongs to cluster abc" in error_of(lab, cluster_id="xyz")


def test_not_a_folder(lab: Any) -> None:
    lab.folder.write_text("")
    assert "is not a folder" in error_of(lab)


def test_a_folder_that_cannot_be_made(lab: Any) -> None:
    (lab.folder.parent / "file").write_text("")
    assert "cannot be written" in error_of(lab, folder=lab.folder.parent / "file" / "data")


def test_wrong_defaults(lab: Any) -> None:
    with pytest.raises(KafkaError, match=r"segment\.bytes"):
        lab.open(defaults={"log.segment.bytes": "x"})


# --- partitions


def test_lazy_partitions_cost_no_files(lab: Any) -> None:
    store = lab.open()
    for number in range(100):
        store.create("__consumer_offsets", number, lab.ids.uuid(), {"cleanup.policy": "compact"}, lazy=True)
    assert list(store.existing()) == []
    assert not [name for name in os.listdir(lab.folder) if name.startswith("__")]
    lab.append(store.get("__consumer_offsets", 7))
    assert list(store.existing()) == [("__consumer_offsets", 7)]
    store.create("eager", 0, lab.ids.uuid(), {}, lazy=False)
    assert (lab.folder / "eager-0" / "00000000000000000000.log").exists()


def test_partitions_come_back(lab: Any) -> None:
    store = lab.open()
    topic_id = lab.ids.uuid()
    log = store.create("my-topic.x_1", 11, topic_id, {"max.message.bytes": "200"}, lazy=True)
    lab.append(log, b"one")
    store.close()
    store = lab.open()
    assert list(store.existing()) == [("my-topic.x_1", 11)]
    again = store.create("my-topic.x_1", 11, topic_id, {"max.message.bytes": "200"}, lazy=True)
    assert again is store.get("my-topic.x_1", 11)
    assert (again.topic_id, again.config.max_message_bytes, lab.append(again, b"two")) == (topic_id, 200, 1)
    with pytest.raises(KafkaError) as caught:
        store.create("my-topic.x_1", 11, lab.ids.uuid(), {}, lazy=True)
    assert caught.value.code == ErrorCode.INCONSISTENT_TOPIC_ID


def test_a_folder_without_id_takes_that_of_its_topic(lab: Any) -> None:
    store = lab.open()
    lab.append(lab.log(store))
    store.close()
    (lab.folder / "t-0" / "partition.metadata").unlink()
    store = lab.open()
    topic_id = lab.ids.uuid()
    store.create("t", 0, topic_id, {}, lazy=True)
    store.close()
    assert lab.open().get("t", 0).topic_id == topic_id


def test_a_name_too_long_for_a_folder(lab: Any) -> None:
    with pytest.raises(KafkaError) as caught:
        lab.open().create("x" * 254, 0, bytes(16), {}, lazy=True)
    assert caught.value.code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_other_folders_are_left_alone(lab: Any) -> None:
    lab.folder.mkdir()
    for name in ("lost+found", "notes", "x-future", "-1", "t-0.abc-stray", "a-b"):
        (lab.folder / name).mkdir()
    (lab.folder / "t-5").write_text("a file")
    assert list(lab.open().existing()) == []
    assert len(os.listdir(lab.folder)) >= 7


def test_reconfigure(lab: Any) -> None:
    store = lab.open()
    logs = [store.create("t", number, bytes(16), {}, lazy=True) for number in range(2)]
    store.reconfigure("t", {"max.message.bytes": "10"})
    for log in logs:
        with pytest.raises(KafkaError) as caught:
            lab.append(log)
        assert caught.value.code == ErrorCode.MESSAGE_TOO_LARGE
    with pytest.raises(KafkaError):
        store.reconfigure("t", {"max.message.bytes": "ten"})
    store.reconfigure("t", {})
    assert lab.append(logs[1]) == 0


# --- deletion


def test_delete(lab: Any, only_slices: None) -> None:
    store = lab.open()
    log = lab.log(store, file_delete_delay_ms="5000")
    lab.append(log, b"kept until sent")
    taken = log.read(0, 1000, min_one_batch=True).value.records
    store.delete("t", 0)
    assert (store.get("t", 0), list(store.existing())) == (None, [])
    (away,) = lab.folder.glob("t-0.*-delete")
    assert len(away.name) == len("t-0.") + 32 + len("-delete")
    assert store.deletions.next_ms() == lab.clock.mono_ms() + 5000
    store.deletions.run(lab.clock.mono_ms() + 4999)
    assert away.exists()
    store.deletions.run(lab.clock.mono_ms() + 5000)
    assert not away.exists()
    assert b"kept until sent" in taken.read()
    taken.release()
    with pytest.raises(KafkaError) as caught:
        lab.append(log)
    assert caught.value.code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    new = lab.log(store)
    assert (new.log_end_offset, lab.append(new, b"new")) == (0, 0)
    store.delete("t", 99)


def test_delete_of_a_lazy_partition(lab: Any) -> None:
    store = lab.open()
    lab.log(store)
    store.delete("t", 0)
    assert store.deletions.next_ms() is None


def test_leftovers_go_at_the_next_start(lab: Any) -> None:
    store = lab.open()
    lab.append(lab.log(store))
    store.delete("t", 0)
    store.close()
    lab.open()
    assert list(lab.folder.glob("t-0*")) == []


def test_a_new_topic_does_not_meet_checkpoints_of_an_old_one(lab: Any) -> None:
    for move in ("delete", "set_aside"):
        store = lab.open()
        log = lab.log(store)
        for _ in range(10):
            lab.append(log)
        log.trim(4)
        store.close()
        store = lab.open()
        getattr(store, move)("t", 0)
        lab.append(lab.log(store))
        store.abandon()
        store = lab.open()
        assert (store.get("t", 0).log_start_offset, store.get("t", 0).log_end_offset) == (0, 1)
        store.delete("t", 0)
        store.close()
    assert len(list(lab.folder.glob("t-0.*-stray"))) == 1


def test_nor_the_log_start_that_was_written_since_the_last_checkpoint(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store)
    for _ in range(10):
        lab.append(log)
    log.trim(4)
    store.delete("t", 0)
    lab.append(lab.log(store))
    store.abandon()
    log = lab.open().get("t", 0)
    assert (log.log_start_offset, log.log_end_offset) == (0, 1)
    assert lab.warnings == []


def test_one_checkpoint_does_for_any_number_of_deletions(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = lab.open()
    for name in ("a", "b", "c"):
        log = store.create(name, 0, bytes(15) + name.encode(), {}, lazy=True)
        lab.append(log)
    store.checkpoint()
    written: list[bool] = []
    checkpoint = Store.checkpoint

    def counted(self: Store, *, sync: bool = True) -> None:
        written.append(sync)
        checkpoint(self, sync=sync)

    monkeypatch.setattr(Store, "checkpoint", counted)
    for name in ("a", "b", "c"):
        store.delete(name, 0)
    assert written == []
    for name in ("a", "b", "c"):
        log = store.create(name, 0, bytes(14) + b"n" + name.encode(), {}, lazy=True)
        lab.append(log)
    assert written == [True]


# --- retention


def offsets(log: Any) -> list[int]:
    return [segment.base_offset for segment in log.segments]


def test_retention_by_time(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, segment_bytes="300", retention_ms=str(DAY), file_delete_delay_ms="1000")
    for number in range(6):
        lab.append(log, b"a" * 60, timestamp_ms=NOW + number * 1000)
    assert offsets(log) == [0, 2, 4]
    lab.clock.advance(DAY + 2500)
    assert store.apply_retention() == 1
    assert (offsets(log), log.log_start_offset) == ([2, 4], 2)
    names = {f.name for f in (lab.folder / "t-0").iterdir()}
    assert "00000000000000000000.log.deleted" in names
    assert "00000000000000000000.log" not in names
    store.deletions.run(lab.clock.mono_ms() + 1000)
    assert not list((lab.folder / "t-0").glob("*.deleted"))
    lab.clock.advance(DAY)
    assert store.apply_retention() == 2  # the active one is rolled first
    assert (offsets(log), log.log_start_offset, log.log_end_offset) == ([6], 6, 6)
    assert store.apply_retention() == 0
    assert lab.append(log) == 6
    store.close()
    again = lab.open().get("t", 0)
    assert (again.log_start_offset, again.log_end_offset) == (6, 7)


def test_retention_by_size(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, segment_bytes="300", retention_bytes="500", retention_ms="-1")
    for _ in range(8):
        lab.append(log, b"a" * 60)
    size = log.segments[0].size
    assert log.size_bytes() == 4 * size
    assert store.apply_retention() == (4 * size - 500) // size
    assert log.size_bytes() >= 500


def test_retention_of_trimmed_segments(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, segment_bytes="300", cleanup_policy="compact")
    for _ in range(6):
        lab.append(log, b"a" * 60)
    log.trim(3)
    assert store.apply_retention() == 1
    assert (offsets(log), log.log_start_offset) == ([2, 4], 3)


def test_compacted_logs_are_not_emptied(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, cleanup_policy="compact", retention_ms="1", retention_bytes="0")
    lab.append(log)
    lab.clock.advance(DAY)
    assert store.apply_retention() == 0


def test_folders_that_no_topic_asked_for_keep_their_data(lab: Any) -> None:
    store = lab.open()
    lab.append(lab.log(store, retention_ms="-1"))
    store.close()
    lab.clock.advance(100 * DAY)
    store = lab.open()
    assert store.apply_retention() == 0
    lab.log(store)
    assert store.apply_retention() == 1


def test_a_slice_survives_retention(lab: Any, only_slices: None) -> None:
    store = lab.open()
    log = lab.log(store, retention_ms="1000", file_delete_delay_ms="0")
    lab.append(log, b"held")
    taken = log.read(0, 1000, min_one_batch=True).value.records
    lab.clock.advance(DAY)
    store.apply_retention()
    store.deletions.run(lab.clock.mono_ms())
    assert b"held" in taken.read()
    taken.release()


def test_producers_expire(lab: Any) -> None:
    store = lab.open(defaults={"producer.id.expiration.ms": "1000"})
    log = lab.log(store)
    log.append(lab.batch(producer_id=1, producer_epoch=0, base_sequence=0), leader_epoch=0)
    assert store.expire_producers() == 0
    lab.clock.advance(1000)
    assert store.expire_producers() == 1


def test_close_twice(lab: Any) -> None:
    store = lab.open()
    store.close()
    store.close()
    assert Path(lab.folder / ".kafka_cleanshutdown").exists()
