"""Turns: who goes when, what is kept of them, what a failing broker does to the others."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench import client, runner
from bench.brokers import Broker, BrokerError, make
from bench.processes import Spent
from bench.scenario import Figure, Scenario, Size
from compat_tests.harness import free_port

SIZE = Size("tiny", 0.001)
FIGURES = (Figure("mb_s", "MB/s", "throughput", "high"),)


class Named(Broker):
    """Does nothing but keep count."""

    kind = "command"

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.starts: list[str] = []

    @property
    def pid(self) -> int:
        return 0

    def prepare(self) -> None:
        self.starts.append("prepare")

    def start(self) -> None:
        self.starts.append("start")

    def end(self, number: int) -> None:
        self.starts.append("end")

    def another(self, folder: Path) -> Broker:
        return Named(self.name, folder)

    @contextlib.contextmanager
    def meter(self) -> Iterator[Spent]:
        spent = Spent()
        spent.wall_s = 2.0
        yield spent
        self.spent.append(spent)


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Named]:
    monkeypatch.setattr(runner, "warm_up", lambda broker, scale: broker.starts.append("warm"))
    return [Named("a", tmp_path), Named("b", tmp_path)]


def scenario(tell: Any, *, own: bool = False) -> Scenario:
    return Scenario("produce", "", "", FIGURES, (), tell, own=own)


def run(pair: list[Named], scenarios: list[Scenario], rounds: int, path: Path | None = None) -> list[dict[str, Any]]:
    results = runner.Results(path, SIZE, pair)
    runner.run(pair, scenarios, SIZE, rounds, results, lambda text: None)
    return results.turns


def metered(broker: Broker, size: Size) -> Mapping[str, float]:
    with broker.meter():
        pass
    with broker.meter():
        pass
    return {"mb_s": 100.0}


def test_each_round_another_one_goes_first(pair: list[Named]) -> None:
    turns = run(pair, [scenario(metered)], 3)
    assert "".join(turn["broker"] for turn in turns) == "abbaab"
    assert [turn["round"] for turn in turns] == [0, 0, 1, 1, 2, 2]
    assert pair[0].starts == ["prepare", "start", "warm", "end", "end"]


def test_all_is_kept_as_it_comes(pair: list[Named], tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    kept = []

    def tell(broker: Broker, size: Size) -> Mapping[str, float]:
        kept.append(len(json.loads(path.read_text())["turns"]))
        return metered(broker, size)

    run(pair, [scenario(tell)], 1, path)
    document = json.loads(path.read_text())
    assert kept == [0, 1]
    assert document["turns"][0]["figures"] == {"mb_s": 100.0}
    assert document["turns"][0]["wall_s"] == 4.0
    assert {"when", "machine", "python", "revision", "size", "brokers"} < document.keys()


def test_a_broker_that_fails_is_left_out_after_two_turns(pair: list[Named]) -> None:
    def tell(broker: Broker, size: Size) -> Mapping[str, float]:
        if broker.name == "b":
            raise client.BadAnswerError("error NOT_LEADER_OR_FOLLOWER")
        return metered(broker, size)

    turns = run(pair, [scenario(tell)], 4)
    assert [turn.get("error", "") for turn in turns if turn["broker"] == "b"] == ["error NOT_LEADER_OR_FOLLOWER"] * 2
    assert sum(turn["broker"] == "a" for turn in turns) == 4


def test_a_broker_that_does_not_start_is_left_out(pair: list[Named], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise BrokerError("kfake needs go")

    monkeypatch.setattr(pair[0], "prepare", fail)
    assert [turn["broker"] for turn in run(pair, [scenario(metered)], 2)] == ["b", "b"]
    with pytest.raises(BrokerError, match="none of the brokers could be started"):
        run(pair[:1], [scenario(metered)], 2)


def test_scenarios_with_brokers_of_their_own_come_when_the_others_have_stopped(pair: list[Named]) -> None:
    before: list[list[str]] = []

    def tell(broker: Broker, size: Size) -> Mapping[str, float]:
        before.append([one.starts[-1] for one in pair])
        return {"mb_s": 1.0}

    run(pair, [scenario(tell, own=True), scenario(metered)], 1)
    assert before == [["end", "end"]] * 2


def test_all_are_ended_when_a_run_is_interrupted(pair: list[Named]) -> None:
    def tell(broker: Broker, size: Size) -> Mapping[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(pair, [scenario(tell)], 1)
    assert [one.starts[-1] for one in pair] == ["end", "end"]


def test_no_port_is_given_twice() -> None:
    ports = [free_port(also=1000 * (at % 2)) for at in range(20)]
    assert len(set(ports)) == 20


def test_a_command_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        broker = make("mine=sh -c 'echo no room in {dir} for {port} >&2'", tmp_path, stack)
        with pytest.raises(BrokerError, match="mine did not start: no room in /"):
            broker.start()


@pytest.mark.parametrize(
    ("spec", "why"),
    [("ottla@no-such-revision", "git knows no revision 'no-such-revision'"), ("redpanda", "no broker 'redpanda'")],
)
def test_a_broker_that_cannot_be_had(tmp_path: Path, spec: str, why: str) -> None:
    with contextlib.ExitStack() as stack, pytest.raises(BrokerError, match=why):
        make(spec, tmp_path, stack)
