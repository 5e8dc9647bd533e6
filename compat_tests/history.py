"""A checker of histories in the manner of Jepsen's Kafka workload: logs that are appended to and read, nothing else.

A workload notes what it tried, what it was told and what readers saw; `History.anomalies` says what an exactly-once
log must never show. Every value is written at most once, which makes each read traceable. Pure: no client, no clock.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

Log = tuple[str, int]
"""(topic, partition)."""


class Outcome(StrEnum):
    """How a transaction ended, as far as the producer can know."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"
    """The end was asked for and no answer came, or the producer died: either all of it is there or nothing."""


class Kind(StrEnum):
    """What can be wrong."""

    LOST = "lost write"
    ABORTED_READ = "aborted read"
    PHANTOM = "phantom read"
    DUPLICATE = "duplicate"
    TORN = "torn transaction"
    DISAGREEMENT = "two values at one offset"
    REORDERED = "reordered writes"
    NONMONOTONIC = "non-monotonic poll"
    SKIP = "skipped record"


class Anomaly(NamedTuple):
    """One fault, with the words for a person."""

    kind: Kind
    what: str


class Write(NamedTuple):
    """An append that was tried. offset: what the broker acknowledged, None if nothing came."""

    log: Log
    value: str
    offset: int | None = None


class Read(NamedTuple):
    """A record that a reader was given."""

    log: Log
    offset: int
    value: str


@dataclass
class Transaction:
    """Writes that must be seen together or not at all. A write without a transaction is a transaction of its own."""

    name: str
    producer: str
    writes: list[Write] = field(default_factory=list)
    outcome: Outcome = Outcome.UNKNOWN

    def tried(self, log: Log, value: str, offset: int | None = None) -> None:
        """Notes an append, acknowledged (with its offset) or not."""
        self.writes.append(Write(log, value, offset))


class History:
    """What happened. Producers and readers have names; a reader that seeks is a new reader."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self.reads: dict[str, list[Read]] = defaultdict(list)
        self._complete: dict[str, set[Log]] = defaultdict(set)

    def begin(self, producer: str) -> Transaction:
        """A new transaction, of unknown outcome until its `outcome` is set."""
        transaction = Transaction(f"{producer}#{len(self.transactions)}", producer)
        self.transactions.append(transaction)
        return transaction

    def polled(self, reader: str, reads: Iterable[Read]) -> None:
        """Appends to what a read_committed reader was given, in its order."""
        self.reads[reader] += reads

    def completed(self, reader: str, logs: Iterable[Log]) -> None:
        """The reader has read these logs from their start to their end, after the last producer ended."""
        self._complete[reader].update(logs)

    def counts(self) -> Counter[Outcome]:
        """How many transactions ended in which way."""
        return Counter(transaction.outcome for transaction in self.transactions)

    def seen(self) -> set[str]:
        """Every value that any reader was given."""
        return {read.value for reads in self.reads.values() for read in reads}

    def anomalies(self) -> list[Anomaly]:
        """Every fault, in a fixed order; empty for a history that exactly once allows."""
        return sorted(
            {
                *self._values(),
                *self._all_or_nothing(),
                *self._offsets(),
                *self._write_order(),
                *self._poll_order(),
            }
        )

    def _values(self) -> Iterator[Anomaly]:
        """Reads of what was never written, or was taken back, or stands twice."""
        source = {write.value: one for one in self.transactions for write in one.writes}
        target = {write.value: write.log for one in self.transactions for write in one.writes}
        places: dict[str, set[tuple[Log, int]]] = defaultdict(set)
        for reader, reads in self.reads.items():
            for read in reads:
                places[read.value].add((read.log, read.offset))
                transaction = source.get(read.value)
                if transaction is None:
                    yield Anomaly(Kind.PHANTOM, f"{reader} was given {read}, which nobody wrote")
                elif target[read.value] != read.log:
                    yield Anomaly(Kind.PHANTOM, f"{reader} was given {read}, written to {target[read.value]}")
                elif transaction.outcome is Outcome.ABORTED:
                    yield Anomaly(Kind.ABORTED_READ, f"{reader} was given {read} of {transaction.name}")
        for value, found in places.items():
            if len(found) > 1:
                yield Anomaly(Kind.DUPLICATE, f"{value} stands at {sorted(found)}")

    def _all_or_nothing(self) -> Iterator[Anomaly]:
        """By readers that read everything: committed means all of it, unknown means all of it or nothing."""
        for reader, logs in self._complete.items():
            values = {read.value for read in self.reads[reader]}
            for transaction in self.transactions:
                writes = [write for write in transaction.writes if write.log in logs]
                missing = [write for write in writes if write.value not in values]
                if transaction.outcome is Outcome.COMMITTED:
                    for write in missing:
                        yield Anomaly(Kind.LOST, f"{reader} never saw {write} of {transaction.name}, which committed")
                if 0 < len(missing) < len(writes) and transaction.outcome is not Outcome.ABORTED:
                    yield Anomaly(Kind.TORN, f"{reader} saw {transaction.name} without {missing}")

    def _offsets(self) -> Iterator[Anomaly]:
        """One offset, one value; the one that was acknowledged."""
        at: dict[tuple[Log, int], str] = {}
        for reader, reads in sorted(self.reads.items()):
            for read in reads:
                known = at.setdefault((read.log, read.offset), read.value)
                if known != read.value:
                    yield Anomaly(Kind.DISAGREEMENT, f"{reader} was given {read}, another one {known}")
        for transaction in self.transactions:
            for write in transaction.writes:
                if write.offset is None:
                    continue
                found = at.get((write.log, write.offset), write.value)
                if found != write.value:
                    yield Anomaly(Kind.DISAGREEMENT, f"{write} was acknowledged, read was {found}")

    def _write_order(self) -> Iterator[Anomaly]:
        """What one producer appends to one log stands there in its order."""
        offsets = {read.value: read.offset for reads in self.reads.values() for read in reads}
        last: dict[tuple[str, Log], tuple[int, str]] = {}
        for transaction in self.transactions:
            for write in transaction.writes:
                offset = offsets.get(write.value)
                if offset is None:
                    continue
                before = last.get((transaction.producer, write.log))
                if before is not None and before[0] > offset:
                    moved = f"{before[1]} at {before[0]}, then {write.value} at {offset}"
                    yield Anomaly(Kind.REORDERED, f"{transaction.producer} wrote {moved} of {write.log}")
                last[transaction.producer, write.log] = (offset, write.value)

    def _poll_order(self) -> Iterator[Anomaly]:
        """A reader moves forward and passes no record that some reader was given."""
        every: dict[Log, set[int]] = defaultdict(set)
        for reads in self.reads.values():
            for read in reads:
                every[read.log].add(read.offset)
        known = {log: sorted(offsets) for log, offsets in every.items()}
        for reader, reads in self.reads.items():
            by_log: dict[Log, list[int]] = defaultdict(list)
            for read in reads:
                by_log[read.log].append(read.offset)
            for log, offsets in by_log.items():
                for before, after in pairwise(offsets):
                    if after <= before:
                        yield Anomaly(Kind.NONMONOTONIC, f"{reader} was given {after} after {before} of {log}")
                        continue
                    between = known[log][bisect_right(known[log], before) : bisect_left(known[log], after)]
                    if between:
                        yield Anomaly(Kind.SKIP, f"{reader} went from {before} to {after} of {log} past {between}")
