"""A consume-transform-produce loop whose sums must be kept, whatever befalls its client and its broker.

Each input says: so much from one account to another. The loop takes inputs as a member of a group and writes, in one
transaction with the group's offsets, two records: minus to one account's partition, plus to the other's. Every so often
it aborts on purpose and writes the same inputs again, under other names.
"""

import contextlib
import random
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from compat_tests.confluent.adapter import Adapter
from compat_tests.gate import Gate
from compat_tests.harness import Broker
from compat_tests.history import History, Log, Outcome, Read, Transaction
from compat_tests.raw import NONE, RawConnection, one_batch, produce_request
from compat_tests.transactions.driver import StepError
from compat_tests.transactions.worker import DiedError, Taken, Worker

ACCOUNTS = 3
INPUT_PARTITIONS = 2
END = "end"
FED_A_ROUND = 24
LATEST_STRIKE = 40
"""A round's blow falls when so many more requests have passed at most."""
ROUND_DEADLINE_S = 360.0


class Loop(ABC):
    """The loop with its history. `open_worker` starts a driver of what `bootstrap` names."""

    def __init__(self, bootstrap: str, seed: int, open_worker: Callable[[], Worker]) -> None:
        self.history = History()
        self.expected: Counter[int] = Counter()  # account -> the sum of its records
        self.fed = 0
        self.blows: list[str] = []
        self._random = random.Random(seed)
        self._open_worker = open_worker
        self._worker: Worker | None = None
        self._batch: list[Taken] = []
        self._attempts = 0
        self._committed = 0  # transactions that the client called committed
        admin = Adapter(bootstrap)
        admin.create_topic("in", INPUT_PARTITIONS)
        admin.create_topic("out", ACCOUNTS)

    def finish(self) -> None:
        """Goes on until every input is committed, and closes both topics' ends."""
        deadline = time.monotonic() + ROUND_DEADLINE_S
        while self.left():
            self._step(deadline)
        if self._worker is not None:
            self._worker.close()
        self._append("out", [(account, END) for account in range(ACCOUNTS)])

    @abstractmethod
    def left(self) -> int:
        """How many inputs the group has not committed yet."""

    @abstractmethod
    def _append(self, topic: str, records: Sequence[tuple[int, str]]) -> None:
        """Write (partition, value) records, each acknowledged and there once, in order."""

    def check(self, readers: dict[str, Worker]) -> None:
        """By each reader: nothing lost, torn, doubled or taken back, and the sums are what was asked for."""
        found: dict[str, list[Taken]] = {}
        for name, reader in readers.items():
            found[name] = records = reader.read("out", range(ACCOUNTS), END)
            self.history.polled(name, [Read(("out", p), offset, value) for p, offset, value in records])
            self.history.completed(name, [("out", account) for account in range(ACCOUNTS)])
        assert self.history.anomalies() == [], self.blows
        for name, records in found.items():
            done = Counter(int(value.split(".")[0]) for _, _, value in records)
            assert done == dict.fromkeys(range(self.fed), 2), f"{name}: an input's two records, each exactly once"
            sums: Counter[int] = Counter()
            for account, _, value in records:
                sums[account] += int(value.split(".")[2])
            assert sums.total() == 0
            assert sums == self.expected

    def _feed(self) -> None:
        """More inputs: `number:from:to:amount`."""
        inputs = []
        for _ in range(FED_A_ROUND):
            source, target = self._random.sample(range(ACCOUNTS), 2)
            amount = self._random.randint(1, 1_000)
            self.expected[source] -= amount
            self.expected[target] += amount
            inputs.append((self.fed % INPUT_PARTITIONS, f"{self.fed}:{source}:{target}:{amount}"))
            self.fed += 1
        self._append("in", inputs)

    def _step(self, deadline: float) -> None:
        """One transaction, or one failure and what a careful application does about it."""
        assert time.monotonic() < deadline, f"no progress: {self.blows}, {self.history.counts()}"
        transaction: Transaction | None = None
        try:
            if self._worker is None:
                self._batch = []
                self._worker = self._open_worker()
                self._worker.ask("init")
            self._batch = self._batch or self._worker.take(2_000)
            if not self._batch:
                return
            self._worker.ask("begin")
            transaction = self.history.begin("transfers")
            transaction.outcome = Outcome.ABORTED  # until a commit is asked for, nothing may ever be seen
            self._send(self._worker, transaction)
            self._worker.ask("offsets")
            if self._random.random() < 0.2:
                if self._worker.ask("abort"):
                    self._batch = []
                if self._random.random() < 0.5:  # the next one begins where the group is: the offsets were aborted too
                    self._worker.close()
                    self._worker = None
                return
            transaction.outcome = Outcome.UNKNOWN
            self._worker.ask("commit")
            transaction.outcome = Outcome.COMMITTED
            self._committed += 1
            self._batch = []
        except (StepError, DiedError) as error:
            # The consumer stands behind the inputs that it took, so a new one starts at the group's offsets.
            asked = transaction is not None and transaction.outcome is Outcome.UNKNOWN
            if isinstance(error, StepError) and error.abort and transaction is not None and not asked:
                self._abort()
            self._start_again()

    def _send(self, worker: Worker, transaction: Transaction) -> None:
        self._attempts += 1
        records: list[tuple[str, int, str]] = []
        for _, _, value in self._batch:
            number, source, target, amount = map(int, value.split(":"))
            records.append(("out", source, f"{number}.{self._attempts}.{-amount}"))
            records.append(("out", target, f"{number}.{self._attempts}.{amount}"))
        for topic, partition, value in records:
            transaction.tried((topic, partition), value)
        logs: list[Log] = [(topic, partition) for topic, partition, _ in records]
        values = [value for _, _, value in records]
        offsets = worker.send(records)
        transaction.writes.clear()
        for log, value, offset in zip(logs, values, offsets, strict=True):
            transaction.tried(log, value, offset)

    def _abort(self) -> None:
        """Whether it can or not: the next instance aborts what is left open."""
        assert self._worker is not None
        with contextlib.suppress(StepError, DiedError):
            self._worker.ask("abort")

    def _start_again(self) -> None:
        if self._worker is not None:
            self._worker.kill()
        self._worker = None


class Transfers(Loop):
    """The loop whose client and whose broker are killed. The worker reaches the broker through the gate."""

    def __init__(self, broker: Broker, gate: Gate, seed: int, open_worker: Callable[[], Worker]) -> None:
        self.broker = broker
        self.gate = gate
        super().__init__(gate.address, seed, open_worker)

    def round(self) -> None:
        """Feeds, lets one blow fall at a random request, and goes on until a transaction commits after it."""
        self._feed()
        victim = self._random.choice(["client", "broker"])
        at = self.gate.mark() + self._random.randint(1, LATEST_STRIKE)
        self.blows.append(f"{victim}@{at}")
        deadline = time.monotonic() + ROUND_DEADLINE_S
        with ThreadPoolExecutor(1) as arm:
            struck = arm.submit(self._strike, victim, at)
            while not struck.done():
                self._step(deadline)
        struck.result()
        committed = self._committed
        while self._committed == committed:
            if self.left() == 0:
                self._feed()
            self._step(deadline)

    def left(self) -> int:
        with RawConnection(self.broker.port) as connection:
            return self.fed - sum(connection.committed("transfers").values())

    def _append(self, topic: str, records: Sequence[tuple[int, str]]) -> None:
        with RawConnection(self.broker.port) as connection:
            for partition, value in records:
                produced = connection.produce(produce_request(topic, one_batch([value.encode()]), partition))
                assert produced.error == NONE

    def _strike(self, victim: str, at: int) -> None:
        self.gate.wait_for(lambda: len(self.gate.requests) >= at, f"request {at}", ROUND_DEADLINE_S)
        if victim == "broker":
            self.broker.restart(kill=True)
        elif self._worker is not None:
            self._worker.kill()
