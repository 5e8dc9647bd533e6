"""A log against a list: random appends, reads, rolls, trims, flushes, clean stops and crashes that tear the unflushed
tail."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.log.clock import ManualClock
from ottla.log.filesystem import FileSystem
from ottla.log.ids import Ids
from ottla.log.partition import Partition
from ottla.log.store import Store
from ottla.wire.errors import KafkaError
from ottla.wire.records import Record, batches, build_batch

OVERRIDES = {"segment.bytes": "600", "retention.ms": "-1", "file.delete.delay.ms": "0"}
DEFAULTS = {"log.index.interval.bytes": "200"}


class Stored(NamedTuple):
    """A batch as the model remembers it."""

    base_offset: int
    values: list[bytes]
    stamps: list[int]
    producer_id: int
    next_sequence: int
    sent: bytes


class LogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ottla-model-"))
        self.clock = ManualClock()
        self.ids = Ids(seed=1)
        self.topic_id = self.ids.uuid()
        self.generation = 0
        self.batches: list[Stored] = []
        self.start = 0
        self.end = 0
        self.durable = 0

    @initialize()
    def begin(self) -> None:
        self.reopen()

    def reopen(self) -> None:
        path = self.folder / str(self.generation)
        self.store = Store.open(
            str(path),
            clock=self.clock,
            ids=self.ids,
            node_id=1,
            broker_defaults=DEFAULTS,
            warn=lambda _: None,
            fs=FileSystem(durable=False),
        )
        self.log: Partition = self.store.create("t", 0, self.topic_id, OVERRIDES, lazy=True)

    @rule(
        sizes=st.lists(st.integers(0, 80), min_size=1, max_size=4),
        producer_id=st.integers(-1, 2),
        codec=st.sampled_from([0, 0, 1]),
        step_ms=st.integers(-5, 10),
    )
    def append(self, sizes: list[int], producer_id: int, codec: int, step_ms: int) -> None:
        now_ms = 1_700_000_000_000 + 10 * len(self.batches) + step_ms
        stamps = [now_ms + (index * 7) % 5 for index in range(len(sizes))]
        values = [b"%d:" % (self.end + index) + bytes(size) for index, size in enumerate(sizes)]
        sequence = next((b.next_sequence for b in reversed(self.batches) if b.producer_id == producer_id), 0)
        data = build_batch(
            [Record(i, t, b"k", v) for i, (t, v) in enumerate(zip(stamps, values, strict=True))],
            codec=codec,
            producer_id=producer_id,
            producer_epoch=0 if producer_id >= 0 else -1,
            base_sequence=sequence if producer_id >= 0 else -1,
        )
        done = self.log.append(bytes(data), leader_epoch=self.generation)
        assert done.value.base_offset == self.end  # type: ignore[union-attr]
        self.batches.append(Stored(self.end, values, stamps, producer_id, sequence + len(sizes), bytes(data)))
        self.end += len(sizes)

    @rule(producer_id=st.integers(0, 2))
    def send_again(self, producer_id: int) -> None:
        last = next((b for b in reversed(self.batches) if b.producer_id == producer_id), None)
        if last is not None:
            done = self.log.append(last.sent, leader_epoch=self.generation).value  # type: ignore[union-attr]
            assert (done.base_offset, done.duplicate) == (last.base_offset, True)

    @rule()
    def roll(self) -> None:
        self.log.roll()

    @rule()
    def flush(self) -> None:
        self.log.flush()
        self.store.checkpoint()
        self.durable = self.end

    @rule(share=st.floats(0, 1))
    def trim(self, share: float) -> None:
        self.start = max(self.start, int(share * self.end))
        assert self.log.trim(self.start) == self.start

    @rule()
    def drop(self) -> None:
        self.store.apply_retention()
        self.store.run_deletions(self.clock.mono_ms())
        assert self.log.log_start_offset == self.start

    @rule()
    def stop(self) -> None:
        self.store.close()
        self.durable = self.end
        self.reopen()

    @rule(torn=st.integers(0, 400), noise=st.binary(max_size=30))
    def crash(self, torn: int, noise: bytes) -> None:
        """The process dies; up to `torn` bytes behind the recovery point never reached the disk, `noise` took their
        place."""
        self.store.abandon()
        old, self.generation = self.folder / str(self.generation), self.generation + 1
        shutil.copytree(old, self.folder / str(self.generation))
        logs = sorted((self.folder / str(self.generation) / "t-0").glob("*.log"))
        if logs:
            segment = self.log.segments[-1]
            durable_bytes = 0
            for batch in segment.batches(0):
                if batch.last_offset < self.durable:
                    durable_bytes = batch.position + batch.size
            keep = max(durable_bytes, segment.size - torn)
            kept_end = segment.base_offset
            for batch in segment.batches(0):
                if batch.position + batch.size <= keep:
                    kept_end = batch.last_offset + 1
            with logs[-1].open("r+b") as file:
                file.truncate(keep)
                if keep < segment.size:
                    file.seek(0, 2)
                    file.write(noise)
            self.forget_from(kept_end)
        self.log.give_up_files()
        self.reopen()

    def forget_from(self, end: int) -> None:
        self.batches = [batch for batch in self.batches if batch.base_offset < end]
        self.end = max(end, self.start)

    @invariant()
    def everything_is_there(self) -> None:
        if not hasattr(self, "log"):
            return
        assert (self.log.log_start_offset, self.log.log_end_offset) == (self.start, self.end)
        expected = [
            (base + index, value)
            for base, values, *_ in self.batches
            for index, value in enumerate(values)
            if base + index >= self.start
        ]
        assert self.read_all() == expected

    def read_all(self) -> list[tuple[int, bytes | None]]:
        found: list[tuple[int, bytes | None]] = []
        offset = self.start
        while offset < self.log.high_watermark:
            taken: Any = self.log.read(offset, 300, min_one_batch=True).value.records  # type: ignore[union-attr]
            data = taken.read()
            taken.release()
            for batch in batches(data):
                found += [(r.offset, r.value) for r in batch.records(10_000) if r.offset >= self.start]
                offset = batch.next_offset
        return found

    @precondition(lambda self: self.batches)
    @rule(pick=st.randoms(use_true_random=False), more_ms=st.integers(-3, 3))
    def look_up_a_time(self, pick: random.Random, more_ms: int) -> None:
        target = pick.choice(pick.choice(self.batches).stamps) + more_ms
        expected = next(
            (
                base + index
                for base, _, stamps, *_ in self.batches
                for index, stamp in enumerate(stamps)
                if stamp >= target and base + index >= self.start
            ),
            -1,
        )
        assert self.log.offset_for_timestamp(target).value.offset == expected  # type: ignore[union-attr]

    @rule()
    def outside(self) -> None:
        with pytest.raises(KafkaError):
            self.log.read(self.end + 1, 100, min_one_batch=True)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.abandon()
        shutil.rmtree(self.folder)


LogMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLog = LogMachine.TestCase
