"""What is wrong with results or with a page, each a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import unified_diff

from compat_tests.java_tools.verbs import NOT_ASKED, TOOLS
from compat_tests.page.facts import Facts
from compat_tests.page.told import Told
from compat_tests.results import FAILED, PASSED

_SHOWN = 3
_DIFF_LINES = 20


def faults(told: Told, facts: Facts, tree: str) -> list[str]:
    """Of the results: what is red, missing, or about other sources than those that are here."""
    others = [file for file, seen in told.trees.items() if seen != tree]
    return _said(
        _say(told.red(), "failed", "test", "tests"),
        _say(told.missing(), "not run", "test was", "tests were"),
        *gaps(told, facts),
        _say(others, "about other sources than these; run again", "results file is", "results files are"),
    )


def gaps(told: Told, facts: Facts) -> list[str]:
    """What the tree promises and the results do not speak of."""
    return _said(
        _say(_not_told_of(told, facts), "not in the results", "test module is", "test modules are"),
        _say(_untested_versions(told, facts), "announced and without a test", "API version is", "API versions are"),
        _say(_untested_scenarios(told, facts), "neither run nor lacked", "scenario is", "scenarios are"),
        _say(_untested_verbs(told), "asked by no test", "verb of a tool is", "verbs of tools are"),
        _say(_untested_configs(told, facts), "seen by no test", "config that acts is", "configs that act are"),
    )


def disagreement(committed: str, wanted: str) -> list[str]:
    """Between the page that is there and the one that the results make: a sentence and the start of the difference."""
    if committed == wanted:
        return []
    lines = [*unified_diff(committed.splitlines(), wanted.splitlines(), "committed", "results", lineterm="", n=0)]
    more = [f"... {len(lines) - _DIFF_LINES} more lines"] if len(lines) > _DIFF_LINES else []
    return [
        "docs/compatibility.md says something else than the tests; write it with `make compat-page`.",
        *lines[:_DIFF_LINES],
        *more,
    ]


def _said(*sentences: str) -> list[str]:
    return [sentence for sentence in sentences if sentence]


def _say(names: Iterable[str], what: str, one: str, several: str) -> str:
    found = sorted(set(names))
    if not found:
        return ""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{len(found)} {one if len(found) == 1 else several} {what}: {', '.join(found[:_SHOWN])}{more}."


def _not_told_of(told: Told, facts: Facts) -> list[str]:
    return [module for module in facts.modules if module not in told.modules]


def _untested_versions(told: Told, facts: Facts) -> list[str]:
    tested = {line.api for line in told.lines if line.state in (PASSED, FAILED)}
    return [
        f"{api.name} v{version}"
        for api in facts.served
        for version in api.versions
        if (api.name, version) not in tested
    ]


def _untested_scenarios(told: Told, facts: Facts) -> list[str]:
    """For each client all of the list, as it is known from all of them."""
    scenarios = {(line.name, line.case) for line in told.lines if line.is_scenario}
    clients = {line.client for line in told.lines if line.is_scenario} | {*facts.scenario_clients}
    there = {(line.client, line.name, line.case) for line in told.lines if line.is_scenario}
    return [
        f"{client}: {name}{f'[{case}]' if case else ''}"
        for client in clients
        for name, case in scenarios
        if (client, name, case) not in there
    ]


def _untested_verbs(told: Told) -> list[str]:
    asked = {each for line in told.lines for each in line.tools if line.state in (PASSED, FAILED)}
    return [
        f"{tool.script} {verb}"
        for name, tool in TOOLS.items()
        for verb in tool.verbs
        if (name, verb) not in asked and (name, verb) not in NOT_ASKED
    ]


def _untested_configs(told: Told, facts: Facts) -> list[str]:
    seen = {each for line in told.lines for each in line.configs if line.state in (PASSED, FAILED)}
    return [f"{name} ({kind})" for kind, names in facts.acting.items() for name in names if (kind, name) not in seen]
