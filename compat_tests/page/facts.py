"""What this tree promises, whatever the tests say: the APIs it announces, its configs, the folders that have tests."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

from compat_tests.differential.generated.cases import Cell, cases
from compat_tests.differential.generated.differences import entries
from compat_tests.results import ROOT, files
from ottla.broker.config_effects import effects
from ottla.broker.handlers import handlers
from ottla.wire.apis import API

FOLDER: Final = ROOT / "compat_tests"


class Served(NamedTuple):
    """An API, as ApiVersions tells of it."""

    name: str
    key: int
    versions: range


class Differing(NamedTuple):
    """A reason why answers differ from Kafka's: by API, at which versions, and in how many requests of a version."""

    reason: str
    versions: dict[str, set[int]]
    cases: dict[str, set[str]]


class Facts(NamedTuple):
    """modules: test files that results must tell of. acting, idle: by kind, configs; tools: see java_tools/verbs.py."""

    served: list[Served]
    not_served: list[str]
    requests: dict[str, int]
    differing: list[Differing]
    acting: dict[str, list[str]]
    idle: dict[str, int]
    modules: list[str]
    scenario_clients: list[str]


def facts() -> Facts:
    """As of now."""
    served = [
        Served(API[key].name, int(key), range(handlers[key].min_version, handlers[key].max_version + 1))
        for key in sorted(handlers)
    ]
    acts: dict[str, list[str]] = {}
    for kind, known in effects().items():
        acts[kind] = sorted(name for name, effect in known.items() if effect.reason is None)
    tests = [path for path in files(FOLDER.name) if re.fullmatch(r"test_.*\.py", path.name) and _is_ours(path)]
    return Facts(
        served=served,
        not_served=[API[key].name for key in API if key not in handlers],
        requests={api.name: sum(len(cases(Cell(api.name, version))) for version in api.versions) for api in served},
        differing=_differing(),
        acting=acts,
        idle={kind: len(known) - len(acts[kind]) for kind, known in effects().items()},
        modules=[path.relative_to(ROOT).as_posix() for path in tests],
        scenario_clients=sorted({path.parent.name for path in tests if "(Scenarios)" in path.read_text("utf-8")}),
    )


def _is_ours(path: Path) -> bool:
    """Not of a project that stands here to be tested, nor of the machinery."""
    above = [folder for folder in path.parents if folder.is_relative_to(FOLDER)]
    return path.parent != FOLDER and not any((folder / "pytest.ini").exists() for folder in above)


def _differing() -> list[Differing]:
    """By reason, in the order of differences.toml."""
    found: dict[str, Differing] = {}
    for entry in entries():
        each = found.setdefault(entry.reason, Differing(entry.reason, defaultdict(set), defaultdict(set)))
        each.versions[entry.api].update(entry.versions)
        each.cases[entry.api].update(entry.cases)
    return [*found.values()]
