"""Commit, abort, fencing, time-out and a client's death, with each client library on both protocol generations."""

from collections.abc import Callable

import pytest

from compat_tests.confluent.adapter import Adapter
from compat_tests.harness import Broker
from compat_tests.history import History, Outcome, Read, Transaction
from compat_tests.raw import NONE, RawConnection, one_batch, produce_request
from compat_tests.transactions.conftest import OpenWorker
from compat_tests.transactions.driver import StepError
from compat_tests.transactions.worker import Worker

PARTITIONS = 3
END = "end"
FENCED = {"ProducerFenced", "InvalidProducerEpoch"}


class Journal:
    """One topic, the history of it, and the steps that a test takes, noted as they are taken."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.broker = broker
        self.topic = topic
        self.history = History()
        Adapter(broker.bootstrap).create_topic(topic, PARTITIONS)

    def write(self, worker: Worker, *values: str) -> Transaction:
        """begin, and the values to the partitions in turn."""
        worker.ask("begin")
        transaction = self.history.begin(worker.config.transactional_id)
        self.write_more(worker, transaction, *values)
        return transaction

    def write_more(self, worker: Worker, transaction: Transaction, *values: str) -> None:
        """Values in a transaction that is open."""
        records = [(self.topic, place % PARTITIONS, value) for place, value in enumerate(values)]
        for (topic, partition, value), offset in zip(records, worker.send(records), strict=True):
            transaction.tried((topic, partition), value, offset)

    def end(self, worker: Worker, transaction: Transaction, outcome: Outcome) -> None:
        """commit or abort, which must succeed."""
        worker.ask("commit" if outcome is Outcome.COMMITTED else "abort")
        transaction.outcome = outcome

    def finish(self) -> None:
        """One last record for each partition, outside any transaction: behind those that are open."""
        with RawConnection(self.broker.port) as connection:
            for partition in range(PARTITIONS):
                produced = connection.produce(produce_request(self.topic, one_batch([END.encode()]), partition))
                assert produced.error == NONE

    def read_by(self, worker: Worker, name: str, isolation: str = "read_committed") -> list[str]:
        """All that a client reads until the last records; noted if it reads read_committed. Waits for what is open."""
        found = worker.read(self.topic, range(PARTITIONS), END, isolation)
        if isolation == "read_committed":
            self.history.polled(name, [Read((self.topic, p), offset, value) for p, offset, value in found])
            self.history.completed(name, [(self.topic, partition) for partition in range(PARTITIONS)])
        return [value for _, _, value in found]


@pytest.fixture
def journal(txn_broker: Broker, fresh: Callable[[str], str]) -> Journal:
    return Journal(txn_broker, fresh("txn"))


@pytest.fixture
def worker(client: str, journal: Journal, open_worker: OpenWorker) -> Worker:
    """The client with a transactional id of its own, initialised."""
    opened = open_worker(client, journal.broker.bootstrap, transactional_id=f"id-{journal.topic}")
    opened.ask("init")
    return opened


def test_commit_and_abort(client: str, journal: Journal, worker: Worker) -> None:
    for n in range(8):
        outcome = Outcome.ABORTED if n % 3 == 1 else Outcome.COMMITTED
        transaction = journal.write(worker, *(f"{n}-{k}" for k in range(1 + n % 4)))
        journal.write_more(worker, transaction, f"{n}-more")
        journal.end(worker, transaction, outcome)
    journal.finish()
    committed = journal.read_by(worker, client)
    assert journal.history.anomalies() == []
    every = journal.read_by(worker, client, "read_uncommitted")
    assert set(every) - set(committed) == {
        write.value for one in journal.history.transactions if one.outcome is Outcome.ABORTED for write in one.writes
    }


def test_second_instance_fences_the_first(
    client: str, journal: Journal, worker: Worker, open_worker: OpenWorker
) -> None:
    committed = journal.write(worker, "before")
    journal.end(worker, committed, Outcome.COMMITTED)
    stale = journal.write(worker, "stale-0", "stale-1")
    second = open_worker(client, journal.broker.bootstrap, transactional_id=worker.config.transactional_id)
    second.ask("init")
    stale.outcome = Outcome.ABORTED
    transaction = journal.write(second, "second-0", "second-1")
    with pytest.raises(StepError) as refused:
        worker.ask("commit")
    assert refused.value.name in FENCED
    assert refused.value.fatal
    journal.end(second, transaction, Outcome.COMMITTED)
    journal.finish()
    journal.read_by(second, client)
    assert journal.history.anomalies() == []


def test_transaction_that_takes_too_long_is_aborted(client: str, journal: Journal, open_worker: OpenWorker) -> None:
    slow = open_worker(
        client, journal.broker.bootstrap, transactional_id=f"slow-{journal.topic}", transaction_timeout_ms=1_000
    )
    slow.ask("init")
    transaction = journal.write(slow, "late-0", "late-1", "late-2")
    transaction.outcome = Outcome.ABORTED
    journal.finish()
    with open_worker(client, journal.broker.bootstrap) as reader:
        journal.read_by(reader, client)  # which ends when the broker has aborted
    with pytest.raises(StepError):
        slow.ask("commit")
    assert journal.history.anomalies() == []


def test_client_that_dies_in_its_transaction(
    client: str, journal: Journal, worker: Worker, open_worker: OpenWorker
) -> None:
    dead = journal.write(worker, "dead-0", "dead-1", "dead-2")
    worker.kill()
    dead.outcome = Outcome.ABORTED
    heir = open_worker(client, journal.broker.bootstrap, transactional_id=worker.config.transactional_id)
    heir.ask("init")
    journal.end(heir, journal.write(heir, "alive-0", "alive-1"), Outcome.COMMITTED)
    journal.finish()
    journal.read_by(heir, client)
    assert journal.history.anomalies() == []
