"""Leaders, coordinators, ISRs and nodes move at random under load: nothing is lost, doubled, torn or taken back."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from compat_tests.client import Outgoing
from compat_tests.confluent.adapter import Adapter
from compat_tests.drivers import missing
from compat_tests.nodes.cluster import KINDS, Cluster, Mover
from compat_tests.transactions.conftest import PYTHON, SETTINGS
from compat_tests.transactions.driver import DriverConfig
from compat_tests.transactions.transfers import ACCOUNTS, INPUT_PARTITIONS, ROUND_DEADLINE_S, Loop
from compat_tests.transactions.worker import Worker

FEEDS_AT_ONCE = 5
LATEST_MOVE_S = 0.05  # after the last transaction: anywhere in the next one
LOGS = [*(("in", p) for p in range(INPUT_PARTITIONS)), *(("out", p) for p in range(ACCOUNTS))]
OpenWorker = Callable[[str], Worker]


class Moving(Loop):
    """The loop over a cluster that moves."""

    def __init__(self, cluster: Cluster, seed: int, kinds: Sequence[str], open_worker: Callable[[], Worker]) -> None:
        super().__init__(cluster.bootstrap, seed, open_worker)
        self.mover = Mover(cluster, seed, logs=LOGS, group="transfers", transaction="transfers", kinds=kinds)
        self.blows = self.mover.moves
        self._client = Adapter(cluster.bootstrap)
        self._moments = random.Random(seed)

    def move(self) -> None:
        """A move at a random moment, and on until a transaction is committed after it."""
        deadline = time.monotonic() + ROUND_DEADLINE_S
        with ThreadPoolExecutor(1) as arm:
            moved = arm.submit(self._strike)
            while not moved.done():
                self._go_on(deadline)
        moved.result()
        committed = self._committed
        while self._committed == committed:
            self._go_on(deadline)

    def left(self) -> int:
        committed = self._client.committed("transfers", "in", range(INPUT_PARTITIONS))
        return self.fed - sum(offset or 0 for offset in committed.values())

    def _go_on(self, deadline: float) -> None:
        begun = len(self.history.transactions)
        self._step(deadline)
        if len(self.history.transactions) == begun:  # there was nothing left to take
            for _ in range(FEEDS_AT_ONCE):
                self._feed()

    def _strike(self) -> None:
        time.sleep(self._moments.uniform(0, LATEST_MOVE_S))
        self.mover.move()

    def _append(self, topic: str, records: Sequence[tuple[int, str]]) -> None:
        with self._client.sender() as sender:
            sent = sender.send(topic, [Outgoing(value.encode(), partition=partition) for partition, value in records])
        assert len(sent) == len(records)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that are steered from outside."""
    with Cluster(tmp_path, SETTINGS) as running:
        yield running


@pytest.fixture
def open_worker(cluster: Cluster) -> Iterator[OpenWorker]:
    """Starts a driver of a client."""
    with ExitStack() as stack:

        def open_one(client: str, **config: object) -> Worker:
            options = DriverConfig(cluster.bootstrap, **config)  # type: ignore[arg-type]
            return stack.enter_context(Worker(client, options))

        yield open_one


@pytest.mark.parametrize(
    ("moves", "seed"),
    [
        pytest.param(12, 1, id="12"),
        pytest.param(60, 2, id="60", marks=pytest.mark.long),
        pytest.param(200, 3, id="200", marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize(
    "client", ["confluent", *(pytest.param(name, marks=pytest.mark.long) for name in ("java", "franz_go"))]
)
def test_nothing_is_lost_or_doubled(
    client: str, moves: int, seed: int, cluster: Cluster, open_worker: Callable[..., Worker]
) -> None:
    if reason := missing(client):
        pytest.skip(reason)
    kinds = [kind for kind in KINDS if (client, kind) != ("confluent", "node")]  # confluent/FINDINGS.md, 1
    config = {"transactional_id": "transfers", "group": "transfers", "topic": "in"}
    loop = Moving(cluster, seed, kinds, lambda: open_worker(client, **config))
    for _ in range(moves):
        loop.move()
    loop.mover.settle()
    loop.finish()
    loop.check({name: open_worker(name) for name in PYTHON})
