"""What the tests said, as a file: `pytest --results=FILE`. docs/compatibility.md is made of such files (page/).

A plugin of pytest. Each test that makes a cell of the page has a line, also one that was collected and then left to
another run (`-m`), so that nothing drops out unnoticed. A line: which test, of what (suite, client, API at a version,
tools that it ran, configs whose effect it sees), and its outcome. No times: the same outcomes give the same file.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PASSED, FAILED, SKIPPED, LEFT, LACKS, SOAK = "passed", "failed", "skipped", "left", "lacks", "soak"
"""LEFT: collected and not run; LACKS: the library cannot; SOAK: of `make test-soak`, which makes no cell."""
_WORST_FIRST: Final = (FAILED, SKIPPED, PASSED, LEFT)
_SOURCES: Final = ("broker", "coordinator", "log", "wire", "ottla", "compat_tests", "tests/broker")
_NO_SOURCES: Final = {"__pycache__", "node_modules", "target", "page"}
_EFFECTS: Final = "tests.broker.effects"  # where tests say which configs they see

_lacks: dict[tuple[str, str], str] = {}
_tools: list[tuple[str, str]] = []


def note_lack(client: str, scenario: str, reason: str) -> None:
    """A client has no such scenario (the item's name, with what is in brackets), since its library cannot."""
    _lacks[client, scenario] = reason


def note_tool(tool: str, verb: str) -> None:
    """The test that is running asks one of Kafka's tools, named by its class, for something it can do."""
    _tools.append((tool, verb))


def files(folder: str) -> Iterator[Path]:
    """What somebody wrote there: nothing that a build or a run leaves behind, no prose."""
    for place, folders, names in os.walk(ROOT / folder):
        folders[:] = sorted(name for name in folders if name not in _NO_SOURCES and not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith(".") and name[-3:] != ".md")


def tree() -> str:
    """A checksum of everything that the outcomes depend on: results of another one tell nothing about this one."""
    found = hashlib.sha256()
    for path in (path for folder in _SOURCES for path in files(folder)):
        found.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def pytest_addoption(parser: pytest.Parser) -> None:
    """--results"""
    parser.addoption("--results", metavar="FILE", help="write what the tests said, for docs/compatibility.md")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is noted without --results."""
    file = config.getoption("--results")
    if file and "OTTLA_COMPAT_KAFKA" in os.environ:
        raise pytest.UsageError("--results is for what is said of Ottla: without OTTLA_COMPAT_KAFKA")
    if file and config.inipath is None:  # without "=" pytest takes the file for a test, and its folder for the project
        raise pytest.UsageError("no configuration of pytest's was found; write --results=FILE")
    if file:
        config.pluginmanager.register(_Recorder(Path(file)), "results of the compatibility lab")


class _Recorder:
    """Notes what comes of each test, and writes it at the end."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._tree = tree()
        self._lines: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Before others take out what is not to be run now."""
        for item in items:
            line = _line(item)
            if line:
                outcome = SOAK if item.get_closest_marker("soak") else LEFT
                self._lines[item.nodeid] = {"test": item.nodeid, **line, "outcome": outcome}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that could not be imported, or was skipped as a whole."""
        suite = _suite(report.nodeid)
        if suite and report.outcome != PASSED:
            self._lines[report.nodeid] = {"test": report.nodeid, "suite": suite, "outcome": report.outcome}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """The tools that a test has run, fixtures included."""
        _tools.clear()
        try:
            return (yield)
        finally:
            if _tools and item.nodeid in self._lines:
                self._lines[item.nodeid]["tools"] = sorted(set(_tools))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Setup, the test and teardown: the worst of them counts."""
        line = self._lines.get(report.nodeid)
        if line is None or line["outcome"] == SOAK or (report.outcome == PASSED and report.when != "call"):
            return
        line["outcome"] = min(line["outcome"], report.outcome, key=_WORST_FIRST.index)
        line.update((name, value) for name, value in report.user_properties if name == "version")

    def pytest_sessionfinish(self) -> None:
        """The file."""
        for line in self._lines.values():
            if line.get("is_scenario") and (reason := _lacks.get((line["client"], _item_name(line)))):
                line.update(outcome=LACKS, reason=reason)
        content = {"tree": self._tree, "tests": [*self._lines.values()]}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(content, indent=0, ensure_ascii=False) + "\n", "utf-8")


def _line(item: pytest.Item) -> dict[str, Any] | None:
    """What a test is about; None: about nothing that the page tells of."""
    suite = _suite(item.nodeid)
    if not isinstance(item, pytest.Function) or not (suite or _EFFECTS in sys.modules):
        return None
    function = inspect.unwrap(item.function)
    params = item.callspec.params if hasattr(item, "callspec") else {}
    configs = _configs(f"{function.__module__}.{function.__name__}", params)
    if configs or not suite:
        return {"configs": configs} if configs else None
    case = item.callspec.id if params else ""
    home = function.__module__.removeprefix("compat_tests.")
    adapter = getattr(item.cls, "adapter", None)
    client = str(adapter.name) if adapter else _client(params)
    if client and not adapter:
        case = re.sub(rf"(^|-){re.escape(client)}(-|$)", _joined, case, count=1)
    line = {
        "suite": suite,
        "home": home,
        "at": function.__code__.co_firstlineno,
        "name": function.__name__,
        "case": case,
        "client": client,
        "is_scenario": bool(adapter) and home.startswith("scenarios."),  # not what a client's class adds to them
        "make": next((mark for mark in ("compat", "long") if item.get_closest_marker(mark)), ""),
    }
    cell: Any = params.get("cell")  # of compat_tests/differential/generated
    return line | ({"api": [cell.api, cell.version]} if hasattr(cell, "api") else {})


def _suite(nodeid: str) -> str:
    """The folder in compat_tests, or ""."""
    found = re.match(r"compat_tests/(\w+)/", nodeid)
    return found[1] if found and found[1] not in _NO_SOURCES else ""


def _item_name(line: dict[str, Any]) -> str:
    return f"{line['name']}[{line['case']}]" if line["case"] else str(line["name"])


def _client(params: dict[str, Any]) -> str:
    """Whose test it is: a client's, or a group's of several (groups/kinds.py); "": nobody's."""
    kind = params.get("kind")
    return str(getattr(kind, "name", params.get("client", "")))


def _joined(found: re.Match[str]) -> str:
    return "-" if found[1] and found[2] else ""


def _configs(test: str, params: dict[str, Any]) -> list[list[str]]:
    """(kind, name) of the configs whose effect a test sees. Of a test for each name, that one."""
    observed = getattr(sys.modules.get(_EFFECTS), "OBSERVED", {})
    seen = sorted([kind, name] for (kind, name), tests in observed.items() if test in tests)
    return [each for each in seen if each[1] == params.get("name")] or seen
