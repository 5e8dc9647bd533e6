"""Fixtures of all client folders: brokers and gates, each test with topics or data of its own."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compat_tests.gate import Gate
from compat_tests.harness import Broker, make_broker
from compat_tests.results import note_lack

pytest.register_assert_rewrite(
    "compat_tests.scenarios", "compat_tests.faults", "compat_tests.member", "compat_tests.driving"
)

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A scenario that needs what its client lacks does not exist for that client."""
    lacking = {item: reason for item in items if (reason := _lacked(item))}
    for item, reason in lacking.items():
        note_lack(item.cls.adapter.name, item.name, reason)  # type: ignore[attr-defined]
    if lacking:
        config.hook.pytest_deselected(items=[*lacking])
        items[:] = [item for item in items if item not in lacking]


def _lacked(item: pytest.Item) -> str:
    """Why the client of a scenario cannot do what it needs; "": it can."""
    adapter = getattr(getattr(item, "cls", None), "adapter", None)
    needed = [feature for mark in item.iter_markers("needs") for feature in mark.args]
    return next((adapter.lacks[feature] for feature in needed if adapter and feature in adapter.lacks), "")
