"""kafka-transactions, the real tool: lists, describes, finds a hanging transaction and aborts it."""

import time
from collections.abc import Callable, Iterator

import pytest

from compat_tests.harness import Broker, make_broker
from compat_tests.java_tools.conftest import Tool
from compat_tests.raw import NONE, RawConnection, one_batch, produce_request
from compat_tests.transactions.driver import DriverConfig
from compat_tests.transactions.worker import Worker

pytestmark = pytest.mark.long
HOUR_MS = 3_600_000
TIMEOUT_MS = 600_000  # of a transaction that is open while several tools start and end


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that lets a transaction begin behind its coordinator's back, as brokers before 3.6 did."""
    settings = {"transaction.partition.verification.enable": "false"}
    with make_broker(tmp_path_factory.mktemp("broker"), settings=settings) as running:
        yield running


def table(output: str) -> list[dict[str, str]]:
    """The tool's table: a row a dictionary."""
    head, *rows = [line.split("\t") for line in output.splitlines() if "\t" in line]
    names = [name.strip() for name in head]
    return [dict(zip(names, (cell.strip() for cell in row), strict=True)) for row in rows]


def test_open_transaction_is_listed_described_and_terminated(
    tool: Tool, broker: Broker, fresh: Callable[[str], str]
) -> None:
    topic, name = fresh("open"), fresh("open-id")
    with RawConnection(broker.port) as connection:
        connection.make_topic(topic)
    config = DriverConfig(broker.bootstrap, transactional_id=name, transaction_timeout_ms=TIMEOUT_MS)
    with Worker("confluent", config) as worker:
        worker.ask("init")
        worker.ask("begin")
        worker.send([(topic, 0, "one")])

        (listed,) = [row for row in table(tool("TransactionsCommand", "list")) if row["TransactionalId"] == name]
        assert listed["TransactionState"] == "Ongoing"
        (described,) = table(tool("TransactionsCommand", "describe", "--transactional-id", name))
        assert described["ProducerId"] == listed["ProducerId"]
        assert described["TransactionState"] == "Ongoing"
        assert described["TransactionTimeoutMs"] == str(TIMEOUT_MS)
        assert described["TopicPartitions"] == f"{topic}-0"
        (producer,) = table(tool("TransactionsCommand", "describe-producers", "--topic", topic, "--partition", "0"))
        assert producer["ProducerId"] == listed["ProducerId"]
        assert producer["ProducerEpoch"] == described["ProducerEpoch"]
        assert producer["CurrentTransactionStartOffset"] == "0"

        tool("TransactionsCommand", "forceTerminateTransaction", "--transactionalId", name)
        (described,) = table(tool("TransactionsCommand", "describe", "--transactional-id", name))
        assert described["TransactionState"] == "Empty"


def test_hanging_transaction_is_found_and_aborted(tool: Tool, broker: Broker, fresh: Callable[[str], str]) -> None:
    topic, name = fresh("hanging"), fresh("hanging-id")
    with RawConnection(broker.port) as connection:
        connection.make_topic(topic)
        error, producer_id, epoch = connection.init_producer_id(name)
        assert error == NONE
        batch = one_batch(
            [b"hanging"],
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=0,
            timestamp_ms=time.time_ns() // 1_000_000 - HOUR_MS,
            transactional=True,
        )
        assert connection.produce(produce_request(topic, batch, transactional_id=name)).error == NONE

    find = ["TransactionsCommand", "find-hanging", "--topic", topic]
    (hanging,) = table(tool(*find))
    assert (hanging["Topic"], hanging["Partition"], hanging["ProducerId"]) == (topic, "0", str(producer_id))
    assert hanging["StartOffset"] == "0"
    tool("TransactionsCommand", "abort", "--topic", topic, "--partition", "0", "--start-offset", "0")
    assert table(tool(*find)) == []
