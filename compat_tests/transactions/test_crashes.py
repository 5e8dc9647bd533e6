"""SIGKILL of the client and of the broker at random requests, under a loop whose sums must be kept."""

from pathlib import Path

import pytest

from compat_tests.gate import Gate
from compat_tests.transactions.conftest import NEW, OLD, PYTHON, OpenWorker, start_broker
from compat_tests.transactions.transfers import Transfers


@pytest.mark.parametrize(
    ("level", "rounds", "seed"),
    [
        pytest.param(NEW, 2, 1, id="tv2-2"),
        pytest.param(OLD, 2, 2, id="tv1-2", marks=pytest.mark.long),
        pytest.param(NEW, 20, 20_261_122, id="tv2-20", marks=pytest.mark.soak),
        pytest.param(OLD, 20, 20_261_123, id="tv1-20", marks=pytest.mark.soak),
    ],
)
def test_sums_are_kept(
    client: str, level: int, rounds: int, seed: int, tmp_path: Path, open_worker: OpenWorker
) -> None:
    with Gate() as gate:
        broker = start_broker(tmp_path, level, advertise=gate.address)
        gate.upstream_port = broker.port
        try:
            config = {"transactional_id": "transfers", "group": "transfers", "topic": "in"}
            transfers = Transfers(broker, gate, seed, lambda: open_worker(client, gate.address, **config))
            for _ in range(rounds):
                transfers.round()
            transfers.finish()
            transfers.check({name: open_worker(name, gate.address) for name in PYTHON})
        finally:
            broker.close()
