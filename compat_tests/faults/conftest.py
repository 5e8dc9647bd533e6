"""Brokers that take orders, one for the stories of a client."""

from collections.abc import Iterator

import pytest

from compat_tests.harness import Broker
from compat_tests.nodes.cluster import Cluster

SETTINGS = {"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "500"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One node with a control surface."""
    folder = tmp_path_factory.mktemp("broker")
    with Broker(folder, settings=SETTINGS, args=["--control", "0"]) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with a control surface."""
    running = Cluster(tmp_path_factory.mktemp("cluster"), SETTINGS)
    running.args += ["--topic", "moved", "--topic", "led"]  # by clients they would have one replica each
    with running:
        yield running
