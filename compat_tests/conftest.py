"""Fixtures of all client folders: brokers and gates, each test with topics or data of its own."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compat_tests.gate import Gate
from compat_tests.harness import Broker, make_broker

_numbers = itertools.count()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A running broker that the tests of a module share; each uses topics and groups of its own."""
    with make_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A running broker for this test alone: it may be killed and restarted."""
    with make_broker(tmp_path) as running:
        yield running


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[tuple[Broker, Gate]]:
    """A running broker for this test alone that clients can only reach through a counting gate."""
    with Gate() as gate, make_broker(tmp_path, advertise=gate.address) as running:
        gate.upstream_port = running.port
        yield running, gate


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """Makes a name that no other test of this run has."""
    return lambda word: f"{word}-{next(_numbers)}"
