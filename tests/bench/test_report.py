"""The table of a run: medians, spread, ratios, goals; what failed, what others disturbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bench import report
from bench.scenario import Figure, Goal, Scenario


def scenario(*goals: Goal, name: str = "produce") -> Scenario:
    figures = (Figure("mb_s", "MB/s", "throughput", "high"), Figure("cpu_us", "us/MB", "broker CPU", "low"))
    return Scenario(name, "large batches", "MB", figures, goals, lambda broker, size: {})


def turn(broker: str, *, name: str = "produce", others_cpu_s: float = 0.0, **figures: float) -> dict[str, Any]:
    return {"scenario": name, "broker": broker, "figures": figures, "wall_s": 1.0, "others_cpu_s": others_cpu_s}


def run(turns: Sequence[Mapping[str, Any]], kinds: Sequence[str] = ("ottla", "kafka")) -> dict[str, Any]:
    return {"brokers": [{"name": kind, "kind": kind.partition("@")[0]} for kind in kinds], "turns": turns}


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its rule."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return [line for line in lines if set(line[0]) != {"-"}]


def test_medians_spread_and_ratio_to_kafka() -> None:
    turns = [turn("ottla", mb_s=value) for value in (300, 100, 250)] + [
        turn("kafka", mb_s=value) for value in (90, 100)
    ]
    head, first, second = rows(report.table(run(turns), [scenario()]))
    assert head == ["scenario", "figure", "ottla", "kafka", "ottla / kafka", "goal"]
    assert first == [
        "produce: large batches",
        "throughput, MB/s",
        "250 (100-300)",
        "95 (90-100)",
        "2.63",
        "",
    ]
    assert second[2:] == ["-", "-", "-", ""]


@pytest.mark.parametrize(
    ("goal", "shown"),
    [
        (Goal("mb_s", at_least=1.5), ">= 1.5: met"),
        (Goal("mb_s", at_least=2.5), ">= 2.5: MISSED (2)"),
        (Goal("mb_s", at_most=2), "<= 2: met"),
        (Goal("mb_s", at_most=0.5), "<= 0.5: MISSED (2)"),
        (Goal("mb_s", against=None, at_most=200), "<= 200: met"),
        (Goal("mb_s", against=None, at_most=60), "<= 60: MISSED (200)"),
        (Goal("mb_s", "kfake", at_least=0.8), ">= 0.8 of kfake: not reached (0.4)"),
        (Goal("mb_s", "kfake", at_least=0.3), ">= 0.3 of kfake: reached (0.4)"),
    ],
)
def test_goals_are_judged_by_the_medians(goal: Goal, shown: str) -> None:
    turns = [turn("ottla", mb_s=200), turn("kafka", mb_s=100), turn("kfake", mb_s=500)]
    table = report.table(run(turns, ("ottla", "kafka", "kfake")), [scenario(goal)])
    assert rows(table)[1][-1] == shown


def test_a_goal_is_unknown_if_either_gave_no_figure_and_left_out_if_its_peer_takes_no_part() -> None:
    goals = (Goal("mb_s", at_least=1.5), Goal("mb_s", "kfake", at_least=0.8))
    turns = [turn("ottla", mb_s=200), turn("kafka")]
    assert rows(report.table(run(turns), [scenario(*goals)]))[1][-1] == ">= 1.5: not measured"


def test_a_ratio_to_nothing_is_unknown() -> None:
    turns = [turn("ottla", mb_s=200), turn("kafka", mb_s=0)]
    first = rows(report.table(run(turns), [scenario(Goal("mb_s", at_least=1.5))]))[1]
    assert first[-2:] == ["-", ">= 1.5: not measured"]


def test_without_kafka_the_ratio_is_to_the_last_broker() -> None:
    turns = [turn("ottla", mb_s=200), turn("ottla@HEAD", mb_s=100)]
    head, first, _ = rows(report.table(run(turns, ("ottla", "ottla@HEAD")), [scenario()]))
    assert (head[4], first[4]) == ("ottla / ottla@HEAD", "2.00")


def test_what_failed_says_so_and_the_turns_that_did_not_still_count() -> None:
    failed = {"scenario": "produce", "broker": "kafka", "error": "error NOT_LEADER|\nagain", "wall_s": 0.0}
    table = report.table(run([turn("ottla", mb_s=200), failed]), [scenario(Goal("mb_s", at_least=1.5))])
    assert rows(table.replace("NOT_LEADER/", "NOT_LEADER"))[1][2:] == [
        "200",
        "FAILED: error NOT_LEADER again",
        "-",
        ">= 1.5: not measured",
    ]
    again = report.table(run([turn("ottla", mb_s=200), failed, turn("kafka", mb_s=100)]), [scenario()])
    assert rows(again)[1][3] == "100"


def test_a_row_that_others_disturbed_is_marked() -> None:
    calm = [turn("ottla", mb_s=1, others_cpu_s=0.1), turn("kafka", mb_s=1)]
    assert rows(report.table(run(calm), [scenario()]))[1][0] == "produce: large batches"
    disturbed = [*calm, *[turn("kafka", mb_s=1, others_cpu_s=1.4)] * 3]
    assert rows(report.table(run(disturbed), [scenario()]))[1][0].endswith("(unreliable: others used 1.4 cores)")


def test_scenarios_without_turns_are_left_out() -> None:
    table = report.table(run([turn("ottla", mb_s=1)]), [scenario(name="consume"), scenario()])
    assert [line[0] for line in rows(table)] == ["scenario", "produce: large batches", ""]


def test_summary_counts_and_names_what_is_missed() -> None:
    goals = (Goal("mb_s", at_least=1.5), Goal("cpu_us", at_most=0.5), Goal("mb_s", "kfake", at_least=0.8))
    turns = [turn("ottla", mb_s=200, cpu_us=90), turn("kafka", mb_s=100, cpu_us=100), turn("kfake", mb_s=200)]
    assert report.summary(run(turns, ("ottla", "kafka", "kfake")), [scenario(*goals)]).splitlines() == [
        "1 of 2 goals against kafka met; missed: produce cpu_us 0.9",
        "1 of 1 goals against kfake met",
    ]


def test_the_page_says_what_was_measured_on_what() -> None:
    scenario = Scenario("fast", "what", "", (Figure("requests_s", "/s", "requests", "high"),), (), lambda *_: {})
    turns = [
        {"scenario": "fast", "broker": name, "round": at, "figures": {"requests_s": value, "p50_us": 9.0}}
        for at in (0, 1)
        for name, value in (("ottla", 30.0), ("kafka", 20.0))
    ]
    document = {
        "when": "2026-01-02T03:04:05Z",
        "machine": {"cpus": 2, "model": "a CPU", "system": "Linux", "release": "6"},
        "python": "3.13",
        "brokers": [{"name": "ottla", "kind": "ottla", "version": "abc"}, {"name": "kafka", "kind": "kafka"}],
        "turns": turns,
    }
    text = report.page(document, [scenario], "growth.svg")
    for part in (
        "2026-01-02, 2 cores (a CPU), Linux 6",
        "Python 3.13. ottla abc, kafka.",
        "Medians of 2 rounds",
        "1.50",
    ):
        assert part in text
    assert report.table(document, [scenario]) in text
    assert "growth.svg" not in text  # nothing of that was measured


def grown(broker: str, step: int, produce_us: float) -> dict[str, Any]:
    return turn(broker, name=f"grow-idle-{step}", produce_us=produce_us)


def test_growth_has_a_chart_an_axis_and_a_line_a_figure_of_a_broker() -> None:
    turns = [grown("ottla", 1, 30.0), grown("ottla", 1, 10.0), grown("ottla", 1, 20.0), grown("ottla", 1000, 21.0)]
    document = run([*turns, grown("kafka", 10, 50.0)])
    (chart,) = [chart for chart in report.growth(document) if any(line.points for line in chart.lines)]
    assert chart.title == "idle connections"
    assert {line.name: line.points for line in chart.lines if line.points} == {
        "produce_us, ottla": [(1, 20.0), (1000, 21.0)],
        "produce_us, kafka": [(10, 50.0)],
    }
    assert rows(report.growth_table(document)) == [
        ["idle connections", "", "1", "10", "100", "1,000"],
        ["Produce of one record, us", "ottla", "20", "-", "-", "21"],
        ["Produce of one record, us", "kafka", "-", "50", "-", "-"],
    ]


def test_waits_are_in_the_table_of_growth_and_not_in_the_picture() -> None:
    document = run([turn("ottla", name="grow-busy-10", produce_us=20.0, p50_produce_us=90.0)])
    assert ["Produce of one record, us by the wall, p50", "ottla", "-", "90", "-", "-"] in rows(
        report.growth_table(document)
    )
    assert [line.name for chart in report.growth(document) for line in chart.lines if line.points] == [
        "produce_us, ottla"
    ]


def test_the_page_of_two_runs_has_the_table_of_one_and_the_picture_of_the_other() -> None:
    about = {
        "when": "2026-01-02T03:04:05Z",
        "machine": {"cpus": 2, "system": "Linux", "release": "6"},
        "python": "3.13",
    }
    first = {**run([{**turn("ottla", mb_s=1), "round": 0}], ["ottla", "kfake"]), **about}
    second = {**run([{**grown("kafka", 1, 5.0), "round": 0}], ["ottla", "kafka"]), **about}
    document = report.merged([first, second])
    assert [broker["name"] for broker in document["brokers"]] == ["ottla", "kfake", "kafka"]
    text = report.page(document, [scenario()], "growth.svg")
    assert "produce: large batches" in text
    assert "](growth.svg)" in text
    assert "| Produce of one record, us | kafka | 5 |" in text
    # each half is written alone, and the other stays
    assert report.page(second, [scenario()], "growth.svg", report.page(first, [scenario()], "growth.svg")) == (
        report.page(first, [scenario()], "growth.svg", report.page(second, [scenario()], "growth.svg"))
    )
    assert report.page(first, [scenario()], "growth.svg", text).endswith(text.partition(report.GROWTH)[2])
    assert report.page(second, [scenario()], "growth.svg", text).startswith(text.partition(report.GROWTH)[0])
