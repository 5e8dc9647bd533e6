"""Each public method of the admins of Java, kadm, confluent-kafka and kafka-python, called: Apache Kafka's answers.

What differs stands in differences.py with its reason, and one that no longer occurs fails too. record.py, which asks
Apache Kafka, has written data/.
"""

import json
from pathlib import Path

import pytest

from compat_tests import drivers
from compat_tests.admin.differences import NOT_CALLED, of
from compat_tests.admin.telling import KAFKAS_OWN, SETTINGS, Told, differing, load, tell
from compat_tests.harness import JUDGED_BY_KAFKA, make_broker

CLIENTS = ["confluent", "kafka_python", *(pytest.param(name, marks=pytest.mark.long) for name in ("java", "franz_go"))]


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """A client, if it can be built here."""
    name: str = request.param
    if absent := drivers.missing(name):
        pytest.skip(absent)
    return name


@pytest.fixture(scope="module")
def told(client: str, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The client's story, told to a fresh broker."""
    settings = SETTINGS if JUDGED_BY_KAFKA else SETTINGS | KAFKAS_OWN
    with make_broker(tmp_path_factory.mktemp("admin"), settings=settings) as broker:
        return tell(client, broker.bootstrap)


def test_no_method_is_left_out(client: str, told: Told) -> None:
    called = {method for step in told.steps for method in step.methods}
    assert set(told.methods) - called == set(NOT_CALLED.get(client, ()))
    assert called <= set(told.methods)


def test_answers_are_apache_kafkas(client: str, told: Told) -> None:
    expected = load(client)
    assert [step.name for step in told.steps if step.name not in expected] == []
    assert len(told.steps) == len(expected)
    unexplained, met = [], set()
    for step in told.steps:
        for path, (theirs, ours) in differing(expected[step.name], step.answer).items():
            reasons = [each for each in of(client) if each.explains(step.name, path)]
            met.update(reasons)
            if not reasons:
                unexplained.append(f"{step.name}: {path}\n    Apache Kafka {theirs!r}\n    Ottla        {ours!r}")
    assert not unexplained, "\n".join(unexplained)
    if not JUDGED_BY_KAFKA:
        assert [each for each in of(client) if each not in met] == [], "listed differences that no longer occur"


def test_what_is_not_built_is_said_clearly(client: str, told: Told) -> None:
    if JUDGED_BY_KAFKA:
        pytest.skip("Apache Kafka has all of it")
    answers = {step.name: json.dumps(step.answer) for step in told.steps}
    for each in of(client):
        for name, answer in answers.items():
            if each.says and each.explains(name, ""):
                assert each.says in answer, name


def test_stored_answers_hold_nothing_of_a_machine(client: str) -> None:
    text = json.dumps(load(client))
    assert str(Path.home()) not in text
    assert "127.0.0.1:" not in text
