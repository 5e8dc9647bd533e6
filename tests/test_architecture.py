"""The shape of the house, kept: imports go one way, no bare imports, one clock, one source of ids, nothing heavy at
start.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("wire", "log", "coordinator", "broker")  # each may import itself and those before it
ASYNC = {"trio"}
TIME_AND_CHANCE = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter"},
    "uuid": {"uuid1", "uuid4"},
    "datetime": {"now", "utcnow"},
}
MAY_ASK_THE_MACHINE = {"log/clock.py", "log/ids.py"}


def sources(layer: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / layer).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_one_way(layer: str) -> None:
    above = (*LAYERS[LAYERS.index(layer) + 1 :], "testing")
    wrong = []
    for path, tree in sources(layer):
        for name in imported(tree):
            parts = name.split(".")
            if parts[0] == "ottla" and len(parts) > 1 and parts[1] in above:
                wrong.append(f"{path} imports {name}")
            if parts[0] in LAYERS:
                wrong.append(f"{path} imports {name} bare: it would be loaded twice")
            if parts[0] in ASYNC and layer != "broker":
                wrong.append(f"{path} imports {name}: only the broker awaits")
            if parts[0] == "kafka":
                wrong.append(f"{path} imports the client library {name}")
        if layer != "broker":
            wrong += [f"{path} awaits" for node in ast.walk(tree) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]
    assert not wrong


@pytest.mark.parametrize("layer", LAYERS)
def test_only_the_clock_and_the_ids_ask_the_machine_for_time_and_chance(layer: str) -> None:
    wrong = []
    for path, tree in sources(layer):
        if path in MAY_ASK_THE_MACHINE:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.attr in TIME_AND_CHANCE.get(node.value.id, ()):
                    wrong.append(f"{path}:{node.lineno} {node.value.id}.{node.attr}")
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names}
                module = node.module if isinstance(node, ast.ImportFrom) else None
                if "random" in names or "secrets" in names or module in ("random", "secrets"):
                    wrong.append(f"{path}:{node.lineno} random")
                wrong += [
                    f"{path}:{node.lineno} {module}.{n}" for n in names & TIME_AND_CHANCE.get(module or "", set())
                ]
    assert not wrong


def test_every_file_says_what_lives_in_it() -> None:
    silent = [path for layer in (*LAYERS, "ottla") for path, tree in sources(layer) if not ast.get_docstring(tree)]
    assert not silent


def test_the_start_imports_little() -> None:
    """What `ottla serve` has imported when it is ready: counted in modules, since milliseconds depend on the
    machine.
    """
    code = "import sys, ottla.broker.app; print('\\n'.join(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.split()
    heavy = {
        "asyncio",
        "logging",
        "json",
        "dataclasses_json",
        "cramjam",
        "kafka",
        "http",
        "tempfile",
        "argparse",
        "multiprocessing",
    }
    ours = [name for name in modules if name.startswith("ottla.")]
    # trio brings these itself
    allowed = set()
    bare = subprocess.run(
        [sys.executable, "-c", "import sys, trio; print('\\n'.join(sys.modules))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    allowed |= set(bare)
    assert not (heavy & set(modules)) - allowed
    assert not [name for name in ours if name.startswith("ottla.wire.messages.")], (
        "messages are imported when first used"
    )
    assert len(set(modules) - allowed) <= 80
    assert not [name for name in modules if name in LAYERS]
