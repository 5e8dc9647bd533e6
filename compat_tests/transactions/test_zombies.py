"""KIP-447: a group member that slept through its own expulsion cannot commit what another one has processed since."""

from collections.abc import Callable

import pytest

from compat_tests.confluent.adapter import Adapter
from compat_tests.harness import DEADLINE_S, Broker
from compat_tests.history import History, Outcome, Read, Transaction
from compat_tests.raw import NONE, RawConnection, one_batch, produce_request
from compat_tests.transactions.conftest import OpenWorker
from compat_tests.transactions.driver import StepError
from compat_tests.transactions.worker import Taken, Worker

INPUTS = [f"input-{n}" for n in range(6)]
END = "end"
SESSION_MS = 6_000  # not so short that a busy machine ends it
# aiokafka sends no generation with its offsets, and franz-go's session looks after it before it asks the broker
CLIENTS = ["confluent", "kafka_python", pytest.param("java", marks=pytest.mark.long)]


@pytest.mark.parametrize("client", CLIENTS)
def test_expelled_member_cannot_commit(
    client: str, txn_broker: Broker, open_worker: OpenWorker, fresh: Callable[[str], str]
) -> None:
    source, target, group = fresh("in"), fresh("out"), fresh("group")
    for topic in (source, target):
        Adapter(txn_broker.bootstrap).create_topic(topic)
    _produce(txn_broker, source, INPUTS)
    history = History()
    config = {"group": group, "topic": source, "session_timeout_ms": SESSION_MS}
    zombie = open_worker(client, txn_broker.bootstrap, transactional_id=f"{group}-zombie", **config)
    heir = open_worker(client, txn_broker.bootstrap, transactional_id=f"{group}-heir", **config)

    zombie.ask("init")
    lost = _write(history, zombie, target, _take_all(zombie))
    lost.outcome = Outcome.ABORTED
    zombie.pause()
    heir.ask("init")
    kept = _write(history, heir, target, _take_all(heir))  # the group has expelled the one that is silent
    heir.ask("offsets")
    heir.ask("commit")
    kept.outcome = Outcome.COMMITTED
    heir.pause()  # nobody can join the group until its session has ended, so the zombie stays what it is
    zombie.resume()
    with pytest.raises(StepError) as refused:
        zombie.ask("offsets")
    assert refused.value.name in {"UnknownMemberId", "IllegalGeneration", "CommitFailed", "RebalanceInProgress"}
    if refused.value.abort:
        zombie.ask("abort")
    else:
        zombie.kill()
        successor = open_worker(client, txn_broker.bootstrap, transactional_id=f"{group}-zombie")
        successor.ask("init")
    heir.resume()

    _produce(txn_broker, target, [END])
    found = heir.read(target, [0], END)
    history.polled(client, [Read((target, partition), offset, value) for partition, offset, value in found])
    history.completed(client, [(target, 0)])
    assert history.anomalies() == []
    assert len(found) == len(INPUTS)
    with RawConnection(txn_broker.port) as connection:
        assert connection.committed(group) == {(source, 0): len(INPUTS)}


def _produce(broker: Broker, topic: str, values: list[str]) -> None:
    with RawConnection(broker.port) as connection:
        batch = one_batch([value.encode() for value in values])
        assert connection.produce(produce_request(topic, batch)).error == NONE


def _take_all(worker: Worker) -> list[Taken]:
    taken: list[Taken] = []
    for _ in range(int(DEADLINE_S)):
        taken += worker.take(1_000)
        if len(taken) == len(INPUTS):
            return taken
    raise AssertionError(f"{len(taken)} of {len(INPUTS)} inputs")


def _write(history: History, worker: Worker, topic: str, taken: list[Taken]) -> Transaction:
    """An open transaction with a record for each input."""
    name = worker.config.transactional_id
    transaction = history.begin(name)
    values = [f"{name}/{value}" for _, _, value in taken]
    worker.ask("begin")
    for value, offset in zip(values, worker.send([(topic, 0, value) for value in values]), strict=True):
        transaction.tried((topic, 0), value, offset)
    return transaction
