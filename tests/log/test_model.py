"""A log against a list: random appends, transactions and their markers, reads, rolls, trims, flushes, clean stops and
crashes that tear the unflushed tail."""

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


ENDINGS = ("commit", "abort", "abort late")
TRANSACTIONAL = {10: 1, 11: 2, 12: 2}  # producer id -> version of its transactions


class Stored(NamedTuple):
    """A batch as the model remembers it; a marker has no values."""

    base_offset: int
    values: list[bytes]
    stamps: list[int]
    producer_id: int
    epoch: int
    next_sequence: int
    sent: bytes
    commits: bool | None = None  # of a marker

    @property
    def next_offset(self) -> int:
        return self.base_offset + len(self.stamps)


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
        self.batches.append(Stored(self.end, values, stamps, producer_id, 0, sequence + len(sizes), bytes(data)))
        self.end += len(sizes)

    def last_of(self, producer_id: int) -> Stored | None:
        return next((batch for batch in reversed(self.batches) if batch.producer_id == producer_id), None)

    def is_open(self, producer_id: int) -> bool:
        last = self.last_of(producer_id)
        return last is not None and last.commits is None

    @rule(
        steps=st.lists(
            st.tuples(st.sampled_from(sorted(TRANSACTIONAL)), st.sampled_from(["send", "send", *ENDINGS])),
            min_size=1,
            max_size=6,
        )
    )
    def go_on_with_transactions(self, steps: list[tuple[int, str]]) -> None:
        for producer_id, step in steps:
            if step == "send":
                self.append_in_transaction(producer_id, count=1 + self.end % 3)
            else:
                self.end_transaction(producer_id, commit=step == "commit", late=step == "abort late")

    def append_in_transaction(self, producer_id: int, count: int) -> None:
        last = self.last_of(producer_id)
        epoch, sequence = (last.epoch, last.next_sequence) if last is not None else (0, 0)
        stamp_ms = 1_700_000_000_000 + 10 * len(self.batches)
        values = [b"%d" % (self.end + index) for index in range(count)]
        data = build_batch(
            [Record(i, stamp_ms, b"k", value) for i, value in enumerate(values)],
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=sequence,
            transactional=True,
        )
        done = self.log.append(
            bytes(data), leader_epoch=self.generation, transaction_version=TRANSACTIONAL[producer_id]
        )
        assert done.value.base_offset == self.end  # type: ignore[union-attr]
        stored = Stored(self.end, values, [stamp_ms] * count, producer_id, epoch, sequence + count, bytes(data))
        self.batches.append(stored)
        self.end += count

    def end_transaction(self, producer_id: int, commit: bool, late: bool) -> None:
        """Or write its marker once more; `late`: with the epoch of a transaction before, where each has its own."""
        version, last = TRANSACTIONAL[producer_id], self.last_of(producer_id)
        if last is None:
            return
        bumped = version == 2 and self.is_open(producer_id)
        if late and bumped:
            with pytest.raises(KafkaError, match="INVALID_PRODUCER_EPOCH"):
                self.write_marker(producer_id, last.epoch, commit)
            return
        epoch = last.epoch + bumped
        assert self.write_marker(producer_id, epoch, commit) == self.end
        sequence = 0 if bumped else last.next_sequence
        now_ms = self.clock.wall_ms()
        self.batches.append(Stored(self.end, [], [now_ms], producer_id, epoch, sequence, b"", commit))
        self.end += 1

    def write_marker(self, producer_id: int, epoch: int, commit: bool) -> int:
        outcome = self.log.append_marker(
            producer_id,
            epoch,
            commit,
            0,
            leader_epoch=self.generation,
            transaction_version=TRANSACTIONAL[producer_id],
        )
        return outcome.value.base_offset  # type: ignore[union-attr]

    @rule(producer_id=st.integers(0, 2))
    def send_again(self, producer_id: int) -> None:
        last = self.last_of(producer_id)
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
        self.store.deletions.run(self.clock.mono_ms())
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
        unstable, gone = self.fates()
        assert self.log.last_stable_offset == max(min([self.end, *unstable]), self.start)
        stable = self.log.last_stable_offset
        assert self.read_all(committed_only=True) == [
            (offset, value) for offset, value in expected if offset < stable and offset not in gone
        ]
        for producer_id in TRANSACTIONAL:
            last = self.last_of(producer_id)
            epoch = last.epoch if last is not None and self.is_open(producer_id) else -1
            assert self.log.open_transaction_epoch(producer_id) == epoch

    def fates(self) -> tuple[list[int], set[int]]:
        """(first offsets of the open transactions, offsets of all aborted records)."""
        opened: dict[int, list[Stored]] = {}
        gone: set[int] = set()
        for batch in self.batches:
            if batch.commits is None and batch.producer_id in TRANSACTIONAL:
                opened.setdefault(batch.producer_id, []).append(batch)
            elif batch.commits is not None:
                for ended in opened.pop(batch.producer_id, []):
                    if not batch.commits:
                        gone.update(range(ended.base_offset, ended.next_offset))
        return [sent[0].base_offset for sent in opened.values()], gone

    def read_all(self, *, committed_only: bool = False) -> list[tuple[int, bytes | None]]:
        """As a consumer does: with the list of aborted transactions that came with the bytes."""
        found: list[tuple[int, bytes | None]] = []
        offset = self.start
        while offset < (self.log.last_stable_offset if committed_only else self.log.high_watermark):
            result: Any = self.log.read(offset, 300, min_one_batch=True, committed_only=committed_only)
            data = result.value.take()
            begun = sorted((entry.first_offset, entry.producer_id) for entry in result.value.aborted)
            aborting: set[int] = set()
            for batch in batches(data):
                offset = batch.next_offset
                while begun and begun[0][0] <= batch.last_offset:
                    aborting.add(begun.pop(0)[1])
                if batch.is_control:
                    aborting.discard(batch.producer_id)
                elif not batch.is_transactional or batch.producer_id not in aborting:
                    found += [(r.offset, r.value) for r in batch.records(10_000) if r.offset >= self.start]
        return found

    @precondition(lambda self: self.batches)
    @rule(pick=st.randoms(use_true_random=False), more_ms=st.integers(-3, 3))
    def look_up_a_time(self, pick: random.Random, more_ms: int) -> None:
        target = pick.choice(pick.choice(self.batches).stamps) + more_ms
        expected = next(
            (
                base + index
                for base, _, stamps, *_ in self.batches  # markers, too
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
