"""`ottla clock` and `ottla rebalance`: what a person orders of a running broker, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer

from ottla.cli import run
from ottla.testing import Broker

Ottla = Callable[..., tuple[int, str]]


@pytest.fixture
def broker() -> Iterator[Broker]:
    settings = {"group.initial.rebalance.delay.ms": "0"}
    with Broker(topics={"orders": 2}, settings=settings, control=True) as broker:
        yield broker


@pytest.fixture
def ottla(broker: Broker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ottla:
    """Runs a command; its exit code and what it said."""
    monkeypatch.setenv("OTTLA_CONTROL", broker.control_url)

    def ottla(*words: str) -> tuple[int, str]:
        code = run(list(words), started_ms=0)
        said = capsys.readouterr()
        return code, said.out + said.err

    return ottla


@pytest.fixture
def cook(broker: Broker) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": "kitchen",
            "client.id": "cook",
            "heartbeat.interval.ms": 50,
        }
    )
    consumer.subscribe(["orders"])
    while len(consumer.assignment()) < 2:
        consumer.poll(0.05)
    yield consumer
    consumer.close()


def test_a_week_passes(broker: Broker, ottla: Ottla) -> None:
    assert ottla("clock", "freeze")[0] == 0
    before = broker.clock.now_ms
    code, said = ottla("clock", "advance", "7d", "--json")
    assert code == 0
    assert json.loads(said)["frozen"] is True
    assert broker.clock.now_ms - before == 7 * 86_400_000
    assert "frozen" in ottla("clock")[1]
    assert "running" in ottla("clock", "resume")[1]


def test_what_is_no_time_is_said_in_a_sentence(broker: Broker, ottla: Ottla) -> None:
    code, said = ottla("clock", "advance", "soon")
    assert code == 2
    assert said.strip() == (
        'ottla: \'soon\' is no length of time; give one as "7d", "1h30m" or "500ms", or a number of milliseconds'
    )


def test_a_group_is_shown_pinned_and_let_go(broker: Broker, ottla: Ottla, cook: Consumer) -> None:
    code, said = ottla("rebalance", "show", "kitchen")
    assert code == 0
    assert "orders:0,1" in said
    code, said = ottla("rebalance", "pin", "kitchen", "cook=orders:1")
    assert code == 0, said
    while [one.partition for one in cook.assignment()] != [1]:
        cook.poll(0.05)
    shown: Any = json.loads(ottla("rebalance", "show", "kitchen", "--json")[1])
    assert shown["pinned"] == {"cook": {"orders": [1]}}
    assert ottla("rebalance", "unpin", "kitchen")[0] == 0
    while len(cook.assignment()) < 2:
        cook.poll(0.05)


def test_a_member_is_kicked_and_a_coordinator_moved(broker: Broker, ottla: Ottla, cook: Consumer) -> None:
    member = broker.groups["kitchen"].members[0].id
    code, said = ottla("rebalance", "kick", "kitchen", "cook")
    assert code == 0
    assert member in said
    assert ottla("rebalance", "move", "kitchen")[0] == 0
    code, said = ottla("rebalance", "move", "kitchen", "--to", "7")
    assert code == 1
    assert said.startswith("ottla: ")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["show", "nobody"], 1, "there is no group nobody"),
        (["force", "nobody"], 1, "there is no group nobody"),
        (["unpin", "nobody"], 1, "nothing is pinned in nobody"),
        (["pin", "kitchen", "cook=drinks:0"], 1, "there is no topic drinks to pin to cook; create it first"),
        (["pin", "kitchen", "cook"], 2, "cook is not of the form MEMBER=TOPIC:PARTITION,PARTITION"),
    ],
)
def test_what_cannot_be_ordered(ottla: Ottla, words: list[str], code: int, sentence: str) -> None:
    got, said = ottla("rebalance", *words)
    assert got == code
    assert said.startswith("ottla: ")
    assert sentence in said


def test_a_group_that_does_not_come_is_told_after_the_time_that_was_given(broker: Broker) -> None:
    from http.client import HTTPConnection

    connection = HTTPConnection(*broker.control_url.removeprefix("http://").split(":"), timeout=60)
    connection.request("GET", "/v1/groups/kitchen?wait=stable&members=2&timeout=1ms")
    response = connection.getresponse()
    assert response.status == 408
    assert json.loads(response.read())["error"] == "the group kitchen did not come to be so: it is not there"
    connection.close()


def test_a_group_that_comes_is_told_when_it_is_there(broker: Broker, cook: Consumer) -> None:
    from http.client import HTTPConnection

    connection = HTTPConnection(*broker.control_url.removeprefix("http://").split(":"), timeout=60)
    connection.request("GET", "/v1/groups/kitchen?wait=stable&members=1")
    answer = json.loads(connection.getresponse().read())
    assert [member["client_id"] for member in answer["members"]] == ["cook"]
    connection.close()
