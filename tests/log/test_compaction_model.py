"""A compacted log against a dictionary: random keys and tombstones, rolls, compactions, time, stops and crashes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ottla.log.clock import ManualClock
from ottla.log.filesystem import FileSystem
from ottla.log.ids import Ids
from ottla.log.partition import Partition
from ottla.log.store import Store
from ottla.wire.records import Record, batches, build_batch

OVERRIDES = {
    "cleanup.policy": "compact",
    "segment.bytes": "700",
    "delete.retention.ms": "1000",
    "file.delete.delay.ms": "0",
}
KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
VALUES = st.one_of(st.none(), st.binary(max_size=60))


class CompactedLog(RuleBasedStateMachine):
    """`sent[offset]` is every record that was appended and not torn away by a crash."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ottla-model-"))
        self.clock = ManualClock()
        self.ids = Ids(seed=1)
        self.topic_id = self.ids.uuid()
        self.generation = 0
        self.sent: dict[int, tuple[bytes, bytes | None]] = {}
        self.end = 0
        self.durable = 0

    @initialize()
    def begin(self) -> None:
        self.reopen()

    def reopen(self) -> None:
        self.store = Store.open(
            str(self.folder / str(self.generation)),
            clock=self.clock,
            ids=self.ids,
            node_id=1,
            broker_defaults={"log.index.interval.bytes": "200"},
            warn=lambda _: None,
            fs=FileSystem(durable=False),
        )
        self.log: Partition = self.store.create("t", 0, self.topic_id, OVERRIDES, lazy=True)

    @rule(records=st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=5), codec=st.sampled_from([0, 0, 1, 4]))
    def append(self, records: list[tuple[bytes, bytes | None]], codec: int) -> None:
        now_ms = self.clock.wall_ms()
        data = build_batch([Record(at, now_ms, key, value) for at, (key, value) in enumerate(records)], codec=codec)
        self.log.append(data, leader_epoch=0)
        for record in records:
            self.sent[self.end] = record
            self.end += 1

    @rule()
    def roll(self) -> None:
        self.log.roll()

    @rule()
    def compact(self) -> None:
        self.store.cleaning.clean_now("t")
        self.store.deletions.run(self.clock.mono_ms())
        self.durable = self.end  # what compaction relied on is on the disk, or it could not have dropped anything

    @rule(ms=st.sampled_from([1, 500, 2000]))
    def wait(self, ms: int) -> None:
        self.clock.advance(ms)

    @rule()
    def stop(self) -> None:
        self.store.close()
        self.durable = self.end
        self.reopen()

    @rule(torn=st.integers(0, 300), noise=st.binary(max_size=30))
    def crash(self, torn: int, noise: bytes) -> None:
        """The process dies; up to `torn` bytes of the active segment never reached the disk, `noise` did instead."""
        self.store.abandon()
        old, self.generation = self.folder / str(self.generation), self.generation + 1
        new = self.folder / str(self.generation)
        shutil.copytree(old, new)
        if self.log.active is not None:
            segment = self.log.active
            keep, kept_end = segment.size - torn, segment.base_offset
            for batch in segment.batches(0):
                if batch.last_offset < self.durable:
                    keep = max(keep, batch.position + batch.size)
                if batch.position + batch.size <= keep:
                    kept_end = batch.last_offset + 1
            keep = max(keep, 0)
            with (new / "t-0" / f"{segment.base_offset:020}.log").open("r+b") as file:
                file.truncate(keep)
                if keep < segment.size:
                    file.seek(0, 2)
                    file.write(noise)
            self.end = kept_end
            self.sent = {offset: record for offset, record in self.sent.items() if offset < kept_end}
        self.log.give_up_files()
        self.reopen()

    @invariant()
    def the_latest_of_each_key_is_there_and_nothing_comes_back(self) -> None:
        if not hasattr(self, "log"):
            return
        assert self.log.log_end_offset == self.end
        found = self.read_all()
        assert list(found) == sorted(found)
        for offset, record in found.items():
            assert self.sent[offset] == record, "a record is as it was sent, where it was sent"
        for key in {key for key, _ in self.sent.values()}:
            latest = max(offset for offset, (each, _) in self.sent.items() if each == key)
            if latest not in found:
                assert self.sent[latest][1] is None, "only a tombstone may go"
                assert not [offset for offset, (each, _) in found.items() if each == key], "what it hid came back"

    def read_all(self) -> dict[int, tuple[bytes | None, bytes | None]]:
        found: dict[int, tuple[bytes | None, bytes | None]] = {}
        offset = 0
        while offset < self.log.high_watermark:
            data = self.log.read(offset, 400, min_one_batch=True).value.take()  # type: ignore[union-attr]
            before = offset
            for batch in batches(data):
                for record in batch.records(10_000):
                    if record.offset >= offset:
                        found[record.offset] = (record.key, record.value)
                offset = batch.next_offset
            if offset == before:
                break
        return found

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.abandon()
        shutil.rmtree(self.folder)


CompactedLog.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCompactedLog = CompactedLog.TestCase
