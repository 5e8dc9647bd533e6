"""The pytest plugin (entry point `pytest11`): fixtures `ottla`, `ottla_session`, `ottla_cluster`, `ottla_clock` and
`ottla_faults`, the marker `ottla`, and what a failed test is told of its brokers.

Imports nothing but pytest: a run that asks for no broker pays for this file and nothing else. The brokers are
ottla.testing's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from ottla.testing.broker import Broker
    from ottla.testing.namespace import Namespace
    from ottla.testing.report import KeptLog

REQUESTS: Final = 50  # shown of a failed test
_MARKER: Final = (
    "ottla(nodes=1, topics={}, settings={}, racks=(), clock=None, control=False): the broker of a test: how many "
    "nodes, which topics (name: partitions), which broker settings, whether its clock stands still (clock='frozen')"
)
_MARKED: Final = ("nodes", "topics", "settings", "racks", "clock", "control")


class _Seen:
    """A broker of a test: what the test knows it as, and what is told of it, (how many requests) -> text."""

    def __init__(self, name: str, tell: Callable[[int], str], log: KeptLog) -> None:
        self.name = name
        self.tell = tell
        self.log = log


_seen = pytest.StashKey[list[_Seen]]()


class _NotRewritten:
    """Finds our modules as Python does. pytest would rewrite the assertions of whatever comes with a plugin: that takes
    a second at the first start, and makes a broker slower.
    """

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path, target) if name.startswith("ottla.") else None


sys.meta_path.insert(0, _NotRewritten)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ottla", "a Kafka broker for each test (Ottla)")
    group.addoption(
        "--ottla-log",
        metavar="LEVEL",
        choices=("debug", "info", "warning", "error"),
        help="what a failed test is told of the broker's log (default: warning)",
    )
    group.addoption(
        "--ottla-requests",
        metavar="N",
        type=int,
        help=f"how many of the last requests a failed test is told (default: {REQUESTS})",
    )
    group.addoption("--ottla-nodes", metavar="N", type=int, help="nodes of each broker (default: 1)")
    group.addoption(
        "--ottla-topic",
        metavar="NAME[:PARTITIONS]",
        action="append",
        default=[],
        help="a topic that every broker has; may be repeated",
    )
    group.addoption(
        "--ottla-set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of every broker, by Kafka's name; may be repeated",
    )
    parser.addini("ottla_log", "as --ottla-log", default="warning")
    parser.addini("ottla_requests", "as --ottla-requests", default=str(REQUESTS))
    parser.addini("ottla_nodes", "as --ottla-nodes", default="1")
    parser.addini("ottla_topics", "as --ottla-topic, a line each", type="linelist")
    parser.addini("ottla_settings", "as --ottla-set, a line each", type="linelist")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    for name in ("requests", "nodes"):
        _number(config, name)


@pytest.hookimpl(hookwrapper=True)  # not wrapper=True, which pytest before 8 does not know
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """A failed test is told what its brokers hold and were asked."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.failed:
        requests = _number(item.config, "requests")
        for seen in item.stash.get(_seen, ()):
            try:
                report.sections.append((seen.name, seen.tell(requests)))
            except RuntimeError as error:  # it was stopped
                report.sections.append((seen.name, str(error)))
            log = seen.log.text()
            if log:
                report.sections.append((f"log of {seen.name}", log))


@pytest.fixture
def ottla(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A Kafka broker of the test's own, with nothing in it: see ottla.testing.Broker. What it is like can be said by
    the marker `ottla`, by options and in the ini file.
    """
    with _broker(request.node, "ottla", _asked(request)) as broker:
        yield broker


@pytest.fixture
def ottla_cluster(request: pytest.FixtureRequest) -> Iterator[Callable[..., Broker]]:
    """A function that starts a broker of several nodes: `ottla_cluster(nodes=3)`, 3 being the default. It takes what
    the marker `ottla` does, and what ottla.testing.Broker does. All of them end with the test.
    """
    from contextlib import ExitStack

    asked = {"nodes": 3, **_asked(request)} if _marked(request) else {**_asked(request), "nodes": 3}
    with ExitStack() as stack:
        started = 0

        def start(**own: Any) -> Broker:
            nonlocal started
            started += 1
            name = "ottla_cluster" if started == 1 else f"ottla_cluster ({started})"
            return stack.enter_context(_broker(request.node, name, {**asked, **own}))

        yield start


@pytest.fixture
def ottla_session(request: pytest.FixtureRequest, _ottla_shared: _Shared) -> Iterator[Namespace]:
    """A broker that all tests of this process share, with names of the test's own: `topic("orders")`, `group("g")`.
    What the test leaves of them is deleted after it.
    """
    namespace = _ottla_shared.namespace(request.node.name)
    with _watched(request.node, _Seen("ottla_session", namespace.told, _ottla_shared.log)):
        yield namespace
    namespace.clear()


@pytest.fixture(scope="session")
def _ottla_shared(request: pytest.FixtureRequest) -> Iterator[_Shared]:
    from ottla.testing.report import KeptLog

    log = KeptLog()
    with _started({**_configured(request.config), "log": log}) as broker:
        yield _Shared(broker, log)


@pytest.fixture
def ottla_clock(ottla: Broker) -> Any:
    """The clock of the test's broker: `advance("7d")`, `freeze()`."""
    return ottla.clock


@pytest.fixture
def ottla_faults(ottla: Broker) -> Any:
    """The faults of the test's broker: `produce(topic="orders").error("NOT_LEADER_OR_FOLLOWER", times=3)`."""
    return ottla.faults


class _Shared:
    """The broker of all tests of a process."""

    def __init__(self, broker: Broker, log: KeptLog) -> None:
        self.log = log
        self._broker = broker
        self._tests = 0

    def namespace(self, test: str) -> Namespace:
        from ottla.testing.namespace import Namespace, prefix_of

        self._tests += 1
        return Namespace(self._broker, prefix_of(test, self._tests))


@contextmanager
def _broker(item: pytest.Item, name: str, asked: Mapping[str, Any]) -> Iterator[Broker]:
    """Runs inside; `name` is what the report of a failure calls it."""
    from ottla.testing.report import KeptLog, told

    log = KeptLog()
    with _started({"log": log, **asked}) as broker, _watched(item, _Seen(name, partial(told, broker), log)):
        yield broker


@contextmanager
def _watched(item: pytest.Item, seen: _Seen) -> Iterator[None]:
    brokers = item.stash.setdefault(_seen, [])
    brokers.append(seen)
    try:
        yield
    finally:
        brokers.remove(seen)


@contextmanager
def _started(asked: Mapping[str, Any]) -> Iterator[Broker]:
    from ottla.testing import Broker

    refusal = ""
    try:
        broker = Broker(**asked).start()
    except ValueError as error:
        refusal = str(error)
    if refusal:
        pytest.fail(f"the broker cannot be as it is asked for: {refusal}", pytrace=False)
    try:
        yield broker
    finally:
        broker.stop()


def _asked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What options, ini file and markers say, the closest one last."""
    asked = _configured(request.config)
    for marked in _marked(request):
        topics, settings = _texts(marked.get("topics", ())), marked.get("settings", {})
        asked |= {
            **marked,
            "topics": [*_others(asked["topics"], topics), *topics],
            "settings": {**asked["settings"], **settings},
        }
    return asked


def _marked(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What each marker says, that of the module before that of the test."""
    said = []
    for marker in request.node.iter_markers("ottla"):
        if marker.args:
            pytest.fail(f"@pytest.mark.ottla takes names, as in nodes=3, not {marker.args[0]!r}", pytrace=False)
        unknown = next((name for name in marker.kwargs if name not in _MARKED), None)
        if unknown is not None:
            pytest.fail(f"@pytest.mark.ottla knows no {unknown!r}; it takes {', '.join(_MARKED)}", pytrace=False)
        said.append(dict(marker.kwargs))
    return said[::-1]


def _configured(config: pytest.Config) -> dict[str, Any]:
    """What options and the ini file say."""
    from ottla.testing.settings import parse_settings

    try:
        settings = {
            **parse_settings(config.getini("ottla_settings"), "ottla_settings:"),
            **parse_settings(config.getoption("ottla_set"), "--ottla-set"),
        }
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    return {
        "nodes": _number(config, "nodes"),
        "topics": [*config.getini("ottla_topics"), *config.getoption("ottla_topic")],
        "settings": settings,
        "log_level": config.getoption("ottla_log") or config.getini("ottla_log"),
    }


def _number(config: pytest.Config, name: str) -> int:
    """Of an option, or else of the ini file."""
    given = config.getoption(f"ottla_{name}")
    text = str(config.getini(f"ottla_{name}")) if given is None else str(given)
    if not text.isascii() or not text.isdecimal():
        raise pytest.UsageError(f"ottla_{name} = {text}: give a number")
    return int(text)


def _texts(topics: Any) -> list[str]:
    """As options have them."""
    return [f"{name}:{partitions}" for name, partitions in topics.items()] if isinstance(topics, Mapping) else [*topics]


def _others(topics: list[str], than: list[str]) -> list[str]:
    named = {text.partition(":")[0] for text in than}
    return [text for text in topics if text.partition(":")[0] not in named]
