"""A folder and its forks under a random load: whatever one does, no byte of a file that two share changes, and each
reads what was written to it alone.

Every shared file is given one more name as soon as it is seen, so that it stays a shared one, and stays to be looked
at, whatever the forks remove.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ottla.log.clock import ManualClock
from ottla.log.filesystem import FileSystem
from ottla.log.ids import Ids
from ottla.log.partition import Partition
from ottla.log.store import Store
from ottla.wire.errors import KafkaError
from ottla.wire.records import Record, batches, build_batch

DEFAULTS = {"log.index.interval.bytes": "150", "log.cleaner.min.cleanable.ratio": "0"}
TOPICS = {
    "events": {"segment.bytes": "600", "retention.ms": "50", "file.delete.delay.ms": "0"},
    "states": {"segment.bytes": "500", "cleanup.policy": "compact", "file.delete.delay.ms": "0"},
    "roomy": {"segment.bytes": "4000", "preallocate": "true", "file.delete.delay.ms": "0"},
}
PRODUCERS = (10, 11)
MOST_FOLDERS = 4


class Disk(FileSystem):
    """Changes nothing in place that has two names; fails when told to."""

    def __init__(self, *, links: bool) -> None:
        super().__init__()
        self.full = False
        self.syncs = True
        self._links = links
        write, cut, sync = self.pwrite, self.truncate, self.datasync

        def pwrite(fd: int, data: Any, position: int) -> int:
            assert os.fstat(fd).st_nlink == 1
            if self.full:
                write(fd, memoryview(data)[:20], position)
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(fd, data, position)

        def truncate(fd: int, size: int) -> None:
            assert os.fstat(fd).st_nlink == 1
            cut(fd, size)

        def datasync(fd: int) -> None:
            if not self.syncs:
                raise OSError(errno.EIO, "Input/output error")
            sync(fd)

        self.pwrite, self.truncate, self.datasync = pwrite, truncate, datasync

    def make_link(self, source: str, target: str) -> None:
        if not self._links:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        super().make_link(source, target)

    def sync_folder(self, path: str) -> None:
        """Nobody pulls the plug here."""


class Side:
    """One of the folders, and what was written to it: by topic, offset -> (key, value) of those that were kept."""

    def __init__(self, path: Path, disk: Disk, clock: ManualClock, ids: dict[str, bytes]) -> None:
        self.path = path
        self.disk = disk
        self._clock = clock
        self.ids = ids
        self.written: dict[str, dict[int, tuple[bytes, bytes]]] = {name: {} for name in TOPICS}
        self.sequences: dict[tuple[str, int], int] = {}
        self.open()

    def open(self, **options: Any) -> None:
        self.store = Store.open(
            str(self.path),
            clock=self._clock,
            ids=Ids(seed=3),
            node_id=1,
            broker_defaults=DEFAULTS,
            warn=lambda _: None,
            fs=self.disk,
            **options,
        )
        self.logs = {name: self.store.create(name, 0, self.ids[name], TOPICS[name], lazy=True) for name in TOPICS}

    def forked(self, path: Path) -> Side:
        path.mkdir()
        self.store.fork(str(path))
        fork = Side(path, self.disk, self._clock, dict(self.ids))
        fork.written = {name: dict(records) for name, records in self.written.items()}
        fork.sequences = dict(self.sequences)
        return fork

    def append(self, topic: str, keys: list[int], producer_id: int, value: bytes) -> None:
        log = self.logs[topic]
        now_ms = self._clock.wall_ms()
        records = [(b"%d" % key, b"%s/%d" % (value, at)) for at, key in enumerate(keys)]
        sequence = self.sequences.get((topic, producer_id), 0)
        options: dict[str, Any] = {}
        if producer_id >= 0:
            options = {"producer_id": producer_id, "base_sequence": sequence, "producer_epoch": 0}
            options["transactional"] = True
        batch = build_batch([Record(at, now_ms, key, text) for at, (key, text) in enumerate(records)], **options)
        end = log.log_end_offset
        log.append(bytes(batch), leader_epoch=0)
        self.written[topic] |= {end + at: record for at, record in enumerate(records)}
        if producer_id >= 0:
            self.sequences[topic, producer_id] = sequence + len(records)

    def end_transaction(self, topic: str, producer_id: int, commit: bool) -> None:
        commit = commit or topic == "states"  # where compaction removes what was aborted
        self.logs[topic].append_marker(producer_id, 0, commit, 0, leader_epoch=0, transaction_version=1)

    def recreate(self, topic: str, topic_id: bytes) -> None:
        self.store.delete(topic, 0)
        self.store.deletions.run(self._clock.mono_ms())
        self.ids[topic] = topic_id
        self.logs[topic] = self.store.create(topic, 0, topic_id, TOPICS[topic], lazy=True)
        self.written[topic] = {}
        self.sequences = {key: at for key, at in self.sequences.items() if key[0] != topic}

    def crash(self, torn: bytes, lost_index: bool, scan_all: bool) -> None:
        """The process dies in the middle of a write; perhaps an index never reached the disk."""
        self.store.abandon()
        for folder in sorted(self.path.glob("*-0")):
            files = sorted(folder.glob("*.log"))
            if files and torn and files[-1].stat().st_nlink == 1 and "roomy" not in folder.name:
                with files[-1].open("ab") as file:
                    file.write(torn)
            if lost_index and files:
                files[-1].with_suffix(".index").unlink(missing_ok=True)
        self.open(scan_all=scan_all)

    def check(self) -> None:
        for name, log in self.logs.items():
            found = read_all(log)
            expected = {at: record for at, record in self.written[name].items() if at >= log.log_start_offset}
            if name != "states":
                assert found == expected
                continue
            assert found.items() <= expected.items()
            assert latest(found) == latest(expected)


def read_all(log: Partition) -> dict[int, tuple[bytes, bytes]]:
    found: dict[int, tuple[bytes, bytes]] = {}
    offset = log.log_start_offset
    while offset < log.high_watermark:
        result: Any = log.read(offset, 400, min_one_batch=True)
        data = result.value.take()
        if not data:
            break
        for batch in batches(data):
            offset = batch.next_offset
            if not batch.is_control:
                for one in batch.records(10_000):
                    if one.offset >= log.log_start_offset:
                        found[one.offset] = (one.key or b"", one.value or b"")
    return found


def latest(records: dict[int, tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    return {key: value for _, (key, value) in sorted(records.items())}


sides = st.integers(0, MOST_FOLDERS - 1)
topics = st.sampled_from(sorted(TOPICS))


class ForkMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ottla-forks-"))
        self.clock = ManualClock()
        self.ids = Ids(seed=1)
        self.disk = Disk(links=True)
        self.sides: list[Side] = []
        self.shared: dict[Path, tuple[int, bytes]] = {}  # the name we gave it -> what was in it, since when
        self.made = 0

    @initialize()
    def begin(self) -> None:
        (self.folder / "shared").mkdir()
        self.sides.append(Side(self.next_path(), self.disk, self.clock, {name: self.ids.uuid() for name in TOPICS}))

    def next_path(self) -> Path:
        self.made += 1
        return self.folder / str(self.made)

    def side(self, number: int) -> Side:
        return self.sides[number % len(self.sides)]

    @rule(number=sides)
    def fork(self, number: int) -> None:
        self.sides.append(self.side(number).forked(self.next_path()))
        for path in (*self.sides[-1].path.rglob("*"), *self.side(number).path.rglob("*")):
            status = path.stat()
            name = self.folder / "shared" / str(status.st_ino)
            if path.is_file() and status.st_nlink > 1 and name not in self.shared:
                os.link(path, name)
                self.shared[name] = (status.st_mtime_ns, sha256(path.read_bytes()).digest())
        if len(self.sides) > MOST_FOLDERS:
            self.remove(0)

    def remove(self, number: int) -> None:
        """The oldest goes first: nobody needs the folder that it was forked from."""
        gone = self.sides.pop(number)
        gone.store.close()
        shutil.rmtree(gone.path)

    @rule(
        number=sides,
        topic=topics,
        keys=st.lists(st.integers(0, 5), min_size=1, max_size=4),
        producer_id=st.sampled_from((-1, -1, *PRODUCERS)),
        size=st.integers(0, 90),
    )
    def append(self, number: int, topic: str, keys: list[int], producer_id: int, size: int) -> None:
        self.side(number).append(topic, keys, producer_id, b"%d" % number + bytes(size))

    @rule(number=sides, topic=topics, producer_id=st.sampled_from(PRODUCERS), commit=st.booleans())
    def end_transaction(self, number: int, topic: str, producer_id: int, commit: bool) -> None:
        self.side(number).end_transaction(topic, producer_id, commit)

    @rule(number=sides, topic=topics)
    def append_to_a_full_disk(self, number: int, topic: str) -> None:
        self.disk.full = True
        with pytest.raises(KafkaError, match="KAFKA_STORAGE_ERROR"):
            self.side(number).append(topic, [1], -1, b"lost")
        self.disk.full = False

    @rule(number=sides, topic=topics)
    def flush_after_a_failed_flush(self, number: int, topic: str) -> None:
        log = self.side(number).logs[topic]
        if log.recovery_point < log.log_end_offset:
            self.disk.syncs = False
            with pytest.raises(KafkaError, match="KAFKA_STORAGE_ERROR"):
                log.flush()
            self.disk.syncs = True
        log.flush()

    @rule(number=sides, topic=topics, share=st.floats(0, 1))
    def trim(self, number: int, topic: str, share: float) -> None:
        log = self.side(number).logs[topic]
        log.trim(int(log.log_end_offset * share))

    @rule(number=sides, passed_ms=st.integers(0, 100))
    def let_time_pass(self, number: int, passed_ms: int) -> None:
        self.clock.advance(passed_ms)
        store = self.side(number).store
        store.apply_retention()
        store.deletions.run(self.clock.mono_ms())

    @rule(number=sides)
    def compact(self, number: int) -> None:
        self.side(number).store.cleaning.clean_now()

    @rule(number=sides, topic=topics)
    def delete_and_create(self, number: int, topic: str) -> None:
        self.side(number).recreate(topic, self.ids.uuid())

    @rule(number=sides)
    def checkpoint(self, number: int) -> None:
        self.side(number).store.checkpoint()

    @rule(number=sides)
    def restart(self, number: int) -> None:
        side = self.side(number)
        side.store.close()
        side.open()

    @rule(number=sides, torn=st.binary(max_size=40), lost_index=st.booleans(), scan_all=st.booleans())
    def crash(self, number: int, torn: bytes, lost_index: bool, scan_all: bool) -> None:
        self.side(number).crash(torn, lost_index, scan_all)

    @invariant()
    def nobody_wrote_to_a_shared_file(self) -> None:
        for name, before in self.shared.items():
            assert (name.stat().st_mtime_ns, sha256(name.read_bytes()).digest()) == before

    @invariant()
    def each_reads_its_own(self) -> None:
        for side in self.sides:
            side.check()

    def teardown(self) -> None:
        for side in self.sides:
            side.store.abandon()
        shutil.rmtree(self.folder)


ForkMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestForks = ForkMachine.TestCase
