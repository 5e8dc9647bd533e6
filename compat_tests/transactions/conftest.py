"""Brokers of both generations of the transaction protocol, and workers that end with their test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from compat_tests.drivers import missing
from compat_tests.harness import JUDGED_BY_KAFKA, Broker, make_broker
from compat_tests.raw import RawConnection
from compat_tests.transactions.driver import DriverConfig
from compat_tests.transactions.worker import Worker

SETTINGS = {
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
    "group.min.session.timeout.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
}
OLD, NEW = 1, 2
# the Python clients speak the old protocol at both levels
LEVELS = [pytest.param(NEW, id="tv2"), pytest.param(OLD, id="tv1", marks=pytest.mark.long)]
PYTHON = ("confluent", "kafka_python", "aiokafka")
CLIENTS = [*PYTHON, *(pytest.param(name, marks=pytest.mark.long) for name in ("java", "franz_go"))]

OpenWorker = Callable[..., Worker]


def start_broker(folder: Path, transaction_version: int, advertise: str | None = None) -> Broker:
    """A running broker at that level of the feature transaction.version."""
    args = ["--feature", f"transaction.version={transaction_version}"]
    broker = make_broker(folder, settings=SETTINGS, args=args, advertise=advertise).start()
    if JUDGED_BY_KAFKA and transaction_version == OLD:
        with RawConnection(broker.port) as connection:
            connection.downgrade_feature("transaction.version", OLD)
    return broker


@pytest.fixture(scope="module", params=LEVELS)
def txn_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A running broker that the tests of a module share, once for each generation."""
    broker = start_broker(tmp_path_factory.mktemp("broker"), request.param)
    yield broker
    broker.close()


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """Each client library."""
    name: str = request.param
    if reason := missing(name):
        pytest.skip(reason)
    return name


@pytest.fixture
def open_worker() -> Iterator[OpenWorker]:
    """Starts drivers: (client, bootstrap, more of DriverConfig)."""
    with ExitStack() as stack:

        def open_one(client: str, bootstrap: str, **config: object) -> Worker:
            return stack.enter_context(Worker(client, DriverConfig(bootstrap, **config)))  # type: ignore[arg-type]

        yield open_one
