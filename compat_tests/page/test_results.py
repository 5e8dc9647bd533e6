"""What `pytest --results=FILE` writes of tests that pass, fail, are skipped, left or lacked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compat_tests.results import ROOT

CONFTEST = """
from compat_tests import results
def pytest_collection_modifyitems(config, items):
    lacking = [item for item in items if item.name == "test_seek[end]"]
    for item in lacking:
        results.note_lack("shop", item.name, "it cannot seek")
    config.hook.pytest_deselected(items=lacking)
    items[:] = [item for item in items if item not in lacking]
"""
TESTS = """
import pytest
from compat_tests import results

class Adapter:
    name = "shop"

class TestShop:
    adapter = Adapter

    def test_send(self, record_property):
        record_property("version", "1.2.3")

    @pytest.mark.parametrize("where", ["start", "end"])
    def test_seek(self, where):
        assert where != "end"

    def test_something_of_its_own(self): pass

for scenario in (TestShop.test_send, TestShop.test_seek):
    scenario.__module__ = "compat_tests.scenarios.selling"

@pytest.fixture
def broken():
    results.note_tool("Tool", "--list")
    yield
    raise ValueError

def test_fails(): assert False
def test_breaks_afterwards(broken): results.note_tool("Tool", "--alter")
def test_breaks_before(nobody_has_this): pass
@pytest.mark.skip
def test_is_skipped(): pass
@pytest.mark.long
def test_is_left(): pass
@pytest.mark.soak
def test_soaks(): pass
@pytest.mark.parametrize("client", ["a", "b"])
@pytest.mark.parametrize("level", ["tv1"])
def test_of_clients(level, client): pass
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By the end of a test's id."""
    folder = tmp_path_factory.mktemp("project")
    shop = folder / "compat_tests" / "shop"
    shop.mkdir(parents=True)
    (shop / "conftest.py").write_text(CONFTEST)
    (shop / "test_shop.py").write_text(TESTS)
    (shop / "test_broken.py").write_text("import no_such_module")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    long:\n    soak:\n    compat:\n")
    run(folder, "-m", "not long and not soak", "--continue-on-collection-errors")
    content = json.loads((folder / "results.json").read_text())
    assert len(content["tree"]) == 16
    return {
        line["test"].removeprefix("compat_tests/shop/test_").partition("::")[2] or "": line for line in content["tests"]
    }


def run(folder: Path, *options: str, **environment: str) -> str:
    """pytest there, with the plugin; what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTTLA_", "PYTEST_"))}
    plugins = ("-p", "compat_tests.results", "-p", "no:cacheprovider")
    words = ("-q", "--import-mode=importlib", *plugins, "--results=results.json", *options, "compat_tests")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("test", "outcome"),
    [
        ("TestShop::test_send", "passed"),
        ("TestShop::test_seek[start]", "passed"),
        ("TestShop::test_seek[end]", "lacks"),
        ("test_fails", "failed"),
        ("test_breaks_afterwards", "failed"),
        ("test_breaks_before", "failed"),
        ("test_is_skipped", "skipped"),
        ("test_is_left", "left"),
        ("test_soaks", "soak"),
        ("test_of_clients[tv1-a]", "passed"),
        ("", "failed"),  # the module that cannot be imported
    ],
)
def test_the_outcome(written: dict[str, dict[str, Any]], test: str, outcome: str) -> None:
    assert written[test]["outcome"] == outcome


def test_whose_it_is(written: dict[str, dict[str, Any]]) -> None:
    sent = written["TestShop::test_send"]
    assert (sent["suite"], sent["client"], sent["is_scenario"], sent["version"]) == ("shop", "shop", True, "1.2.3")
    assert written["TestShop::test_seek[end]"]["reason"] == "it cannot seek"
    own = written["TestShop::test_something_of_its_own"]
    assert (own["client"], own["is_scenario"]) == ("shop", False)
    of_clients = written["test_of_clients[tv1-b]"]
    assert (of_clients["client"], of_clients["case"], of_clients["is_scenario"]) == ("b", "tv1", False)


def test_which_tools_it_ran(written: dict[str, dict[str, Any]]) -> None:
    assert written["test_breaks_afterwards"]["tools"] == [["Tool", "--alter"], ["Tool", "--list"]]
    assert "tools" not in written["test_fails"]


def test_nothing_is_said_of_another_broker(tmp_path: Path) -> None:
    (tmp_path / "compat_tests").mkdir()
    assert "--results is for what is said of Ottla" in run(tmp_path, OTTLA_COMPAT_KAFKA="there")
    assert not (tmp_path / "results.json").exists()
