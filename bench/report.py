"""The table: medians, spread, ratios, and whether a goal is met; the lines of the picture. Pure: results in, markdown
out.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.growth import AXES, Axis
from bench.picture import Chart, Line
from bench.scenario import Figure, Goal, Scenario

STRETCH = "kfake"  # goals against it are a stretch, not a condition
GROWTH = "## How cost grows\n"
NOISY_CORES = 0.25  # used by others than broker and client while a broker was measured: only ratios tell something then


class Cell(NamedTuple):
    """What the turns of one broker gave for one figure."""

    median: float
    least: float
    most: float
    turns: int


class Verdict(NamedTuple):
    """A goal and what came of it: the ratio, or the figure if there is no peer; `met` None: not measured."""

    scenario: str
    goal: Goal
    ratio: float | None
    met: bool | None


def cell(document: Mapping[str, Any], scenario: str, broker: str, key: str) -> Cell | None:
    """None if no turn gave the figure."""
    values = [
        turn["figures"][key]
        for turn in document["turns"]
        if turn["scenario"] == scenario and turn["broker"] == broker and key in turn.get("figures", {})
    ]
    return Cell(statistics.median(values), min(values), max(values), len(values)) if values else None


def verdicts(document: Mapping[str, Any], scenarios: Sequence[Scenario]) -> list[Verdict]:
    """Of every goal of the scenarios, for the first broker that is Ottla's."""
    ours = _first_of(document, "ottla")
    found = []
    for scenario in scenarios:
        for goal in scenario.goals:
            own = cell(document, scenario.name, ours, goal.key) if ours is not None else None
            ratio = None if own is None else own.median
            if goal.against is not None:
                theirs = _first_of(document, goal.against)
                other = cell(document, scenario.name, theirs, goal.key) if theirs is not None else None
                ratio = ratio / other.median if ratio is not None and other is not None and other.median else None
            met = None
            if ratio is not None:
                met = (goal.at_least is None or ratio >= goal.at_least) and (
                    goal.at_most is None or ratio <= goal.at_most
                )
            found.append(Verdict(scenario.name, goal, ratio, met))
    return found


def others_cores(document: Mapping[str, Any], scenario: str) -> float:
    """How many cores others used in the turns of a scenario: the median of the broker that suffered most."""
    busy: dict[str, list[float]] = {}
    for turn in document["turns"]:
        if turn["scenario"] == scenario and turn.get("wall_s"):
            busy.setdefault(turn["broker"], []).append(turn["others_cpu_s"] / turn["wall_s"])
    return max((statistics.median(cores) for cores in busy.values()), default=0.0)


def table(document: Mapping[str, Any], scenarios: Sequence[Scenario]) -> str:
    """Markdown: a row for each figure of each scenario that was measured."""
    brokers = [broker["name"] for broker in document["brokers"]]
    kinds = {None, *(broker["kind"] for broker in document["brokers"])}
    judged = [verdict for verdict in verdicts(document, scenarios) if verdict.goal.against in kinds]
    base = _first_of(document, "kafka") or brokers[-1]
    compared = [name for name in brokers if name != base]
    heads = ["scenario", "figure", *brokers, *(f"{name} / {base}" for name in compared), "goal"]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- " + "| ---: " * (len(brokers) + len(compared)) + "| --- |"]
    measured = {turn["scenario"] for turn in document["turns"]}
    for scenario in scenarios:
        if scenario.name not in measured:
            continue
        for at, figure in enumerate(scenario.figures):
            cells = {name: cell(document, scenario.name, name, figure.key) for name in brokers}
            row = [f"{scenario.name}: {scenario.what}" if at == 0 else "", f"{figure.what}, {figure.unit}"]
            if at == 0 and (busy := others_cores(document, scenario.name)) > NOISY_CORES:
                row[0] += f" (unreliable: others used {busy:.1f} cores)"
            for name in brokers:
                row.append(
                    _shown(cells[name]) if cells[name] else (_failure(document, scenario.name, name) if not at else "-")
                )
            for name in compared:
                one, other = cells[name], cells[base]
                row.append(f"{one.median / other.median:.2f}" if one and other and other.median else "-")
            row.append(
                "; ".join(
                    _goal(each) for each in judged if (each.scenario, each.goal.key) == (scenario.name, figure.key)
                )
            )
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def page(document: Mapping[str, Any], scenarios: Sequence[Scenario], picture: str, old: str = "") -> str:
    """docs/performance.md: what was measured, on what, and how to do it again. `picture`: the file of the charts, by
    its path from there; of `old`, the page so far, the half stays that was not measured.
    """
    measured = {turn["scenario"] for turn in document["turns"]}
    old_table, heading, old_growth = old.partition(GROWTH)
    judged = any(scenario.name in measured for scenario in scenarios)
    first = _goals_section(document, scenarios) if judged or not old else old_table
    grown = _growth_section(document, picture)
    if not grown and heading:
        grown = f"\n{heading}{old_growth}"
    return first.rstrip("\n") + "\n" + grown


def _goals_section(document: Mapping[str, Any], scenarios: Sequence[Scenario]) -> str:
    machine = document["machine"]
    where = f"{machine['cpus']} cores ({machine.get('model', '?')}), {machine['system']} {machine['release']}"
    brokers = ", ".join(f"{broker['name']} {broker.get('version', '')}".strip() for broker in document["brokers"])
    rounds = 1 + max(turn["round"] for turn in document["turns"])
    return f"""# Performance

Made by `python -m bench --table FILE --write-docs`; to measure on your own machine: `make bench`
([how to read it](../bench/README.md)). Only the ratios mean anything elsewhere.

{document["when"][:10]}, {where}, Python {document["python"]}. {brokers}.
Medians of {rounds} rounds (least-most), all brokers warm, the client on the same machine.
Goals are the project's own, of the median's ratio to Kafka's; not all are met.

{table(document, scenarios)}

{summary(document, scenarios)}
"""


def _growth_section(document: Mapping[str, Any], picture: str) -> str:
    numbers = growth_table(document)
    if not numbers:
        return ""
    return f"""
{GROWTH}
Nothing on a hot path may grow with what idles beside it. Costs are broker CPU in us unless they are by the wall, the
restart is in ms by the wall; both axes of the picture are logarithmic, and it leaves the waits out. The brokers of the
segments and of the large logs are fresh at each step: read along a row there, not across, since Kafka's JVM is cold.
Made by `python -m bench --growth`.

![Cost over partitions, topics, connections, segments and size of the log]({picture})

{numbers}
"""


def growth(document: Mapping[str, Any]) -> list[Chart]:
    """A chart for each axis along which costs were measured, with a line for each figure of each broker."""
    brokers = [broker["name"] for broker in document["brokers"]]
    return [
        Chart(
            axis.what,
            axis.steps,
            [
                Line(f"{figure.key}, {broker}", _growth_of(document, axis, figure, broker), color, dash)
                for color, figure in enumerate(axis.costs)
                for dash, broker in enumerate(brokers)
            ],
        )
        for axis in AXES
    ]


def growth_table(document: Mapping[str, Any]) -> str:
    """Markdown: the numbers behind the charts."""
    brokers = [broker["name"] for broker in document["brokers"]]
    lines = []
    for axis in AXES:
        rows = []
        for figure in axis.figures:
            for broker in brokers:
                found = dict(_growth_of(document, axis, figure, broker))
                if found:
                    shown = [_number(found.get(step)) for step in axis.steps]
                    rows.append("| " + " | ".join([figure.what, broker, *shown]) + " |")
        if rows:
            heads = [axis.what, "", *(f"{step:,g}" for step in axis.steps)]
            lines += ["", "| " + " | ".join(heads) + " |", "| --- | --- " + "| ---: " * len(axis.steps) + "|", *rows]
    return "\n".join(lines[1:])


def _growth_of(document: Mapping[str, Any], axis: Axis, figure: Figure, broker: str) -> list[tuple[float, float]]:
    cells = [(step, cell(document, axis.scenario(step).name, broker, figure.key)) for step in axis.steps]
    return [(step, found.median) for step, found in cells if found is not None and found.median > 0]


def merged(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All turns of several runs; of what they were taken on, the first one's word."""
    first, *_ = documents
    brokers = {broker["name"]: broker for document in reversed(documents) for broker in document["brokers"]}
    named = [broker["name"] for broker in first["brokers"]]
    named += [name for name in brokers if name not in named]
    turns = [turn for document in documents for turn in document["turns"]]
    return {**first, "brokers": [brokers[name] for name in named], "turns": turns}


def everything(document: Mapping[str, Any], scenarios: Sequence[Scenario]) -> str:
    """The tables, and the summary if there is anything to judge."""
    measured = {turn["scenario"] for turn in document["turns"]}
    found = table(document, scenarios) if any(scenario.name in measured for scenario in scenarios) else ""
    return "\n\n".join(filter(None, (found, summary(document, scenarios), growth_table(document))))


def summary(document: Mapping[str, Any], scenarios: Sequence[Scenario]) -> str:
    """How many goals are met, and which are not."""
    judged = verdicts(document, scenarios)
    lines = []
    for against in dict.fromkeys(verdict.goal.against for verdict in judged):
        mine = [verdict for verdict in judged if verdict.goal.against == against and verdict.met is not None]
        if not mine:
            continue
        missed = [verdict for verdict in mine if not verdict.met]
        peer = f"against {against}" if against is not None else "without a peer"
        text = f"{len(mine) - len(missed)} of {len(mine)} goals {peer} met"
        if missed:
            text += "; missed: " + ", ".join(f"{one.scenario} {one.goal.key} {_number(one.ratio)}" for one in missed)
        lines.append(text)
    return "\n".join(lines)


def _goal(verdict: Verdict) -> str:
    goal = verdict.goal
    bound = f">= {_number(goal.at_least)}" if goal.at_least is not None else f"<= {_number(goal.at_most)}"
    against = "" if goal.against in (None, "kafka") else f" of {goal.against}"
    state = "not measured" if verdict.met is None else "met" if verdict.met else f"MISSED ({_number(verdict.ratio)})"
    if goal.against == STRETCH and verdict.met is not None:
        state = f"{'reached' if verdict.met else 'not reached'} ({_number(verdict.ratio)})"
    return f"{bound}{against}: {state}"


def _shown(found: Cell | None) -> str:
    assert found is not None
    if found.turns == 1:
        return _number(found.median)
    return f"{_number(found.median)} ({_number(found.least)}-{_number(found.most)})"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _failure(document: Mapping[str, Any], scenario: str, broker: str) -> str:
    for turn in document["turns"]:
        if (turn["scenario"], turn["broker"]) == (scenario, broker) and "error" in turn:
            return "FAILED: " + str(turn["error"]).replace("|", "/").replace("\n", " ")[:80]
    return "-"


def _first_of(document: Mapping[str, Any], kind: str) -> str | None:
    return next((broker["name"] for broker in document["brokers"] if broker["kind"] == kind), None)
