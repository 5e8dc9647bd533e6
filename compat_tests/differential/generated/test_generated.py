"""Each API at each version, asked of Ottla in every way: what Kafka says, or what differences.toml knows.

`make test` compares with what Kafka said when it was recorded, the long tests ask Kafka whether it still says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from compat_tests import apache_kafka
from compat_tests.differential.generated.cases import Cell, cases, cells
from compat_tests.differential.generated.differences import between, entries, known
from compat_tests.differential.generated.line import Line
from compat_tests.differential.generated.playing import play
from compat_tests.differential.generated.recorded import kafka_stage, ottla_stage, recorded
from compat_tests.differential.generated.scene import Stage
from ottla.broker.handlers import handlers
from ottla.wire.messages.api_versions import ApiVersionsRequest

CELLS = pytest.mark.parametrize("cell", cells(), ids=str)
OTHER_REQUESTS = "the requests are others than those that were recorded: see recorded.py"
LISTED_BELOW = {0: 3}  # Produce: announced from version 0, as Kafka does, served from 3


@pytest.fixture(scope="module")
def ottla(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Ottla, with the settings that Kafka had."""
    with ottla_stage(tmp_path_factory.mktemp("ottla")) as stage:
        yield stage


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Apache Kafka."""
    reason = apache_kafka.unavailable()
    if reason is not None:
        pytest.skip(reason)
    with kafka_stage(tmp_path_factory.mktemp("kafka")) as stage:
        yield stage


def questions(played: dict[str, Any]) -> dict[str, int]:
    """What was asked in a cell, by checksum."""
    return {case: exchange["asked"] for case, exchange in played.items()}


def fail_if(lines: list[str], heading: str) -> None:
    if lines:
        pytest.fail("\n".join([heading, *lines]), pytrace=False)


@CELLS
def test_ottla_says_what_kafka_says(ottla: Stage, cell: Cell) -> None:
    theirs = recorded()[str(cell)]
    ours = play(ottla, cell)
    assert questions(ours) == questions(theirs), OTHER_REQUESTS
    found = {difference for difference in between(ours, theirs) if not difference.is_words}
    expected = known(cell)
    fail_if(
        sorted(map(str, found - expected)), f"{cell}: Kafka says something else (differences.toml does not know it)"
    )
    fail_if(sorted(map(str, expected - found)), f"{cell}: no longer so; take it out of differences.toml")


@pytest.mark.long
@CELLS
def test_kafka_still_says_what_was_recorded(kafka: Stage, cell: Cell) -> None:
    said = recorded()[str(cell)]
    says = play(kafka, cell, said)
    assert questions(says) == questions(said), OTHER_REQUESTS
    fail_if([str(difference) for difference in between(says, said)], f"{cell}: record anew")


def test_every_version_that_is_announced_is_asked(ottla: Stage) -> None:
    """And what is served without being announced (client metrics), too."""
    with Line(ottla.port, ottla.patience_s) as line:
        announced = line.ask(ApiVersionsRequest(), 0).api_keys
    asked = {(cell.spec.key, cell.version) for cell in cells()}
    for entry in announced:
        lowest = LISTED_BELOW.get(entry.api_key, entry.min_version)
        assert {(entry.api_key, version) for version in range(lowest, entry.max_version + 1)} <= asked
    assert {cell.spec.key for cell in cells()} == set(handlers)
    assert recorded().keys() == {str(cell) for cell in cells()}


def test_every_cell_has_its_odd_requests() -> None:
    exchanges = {cell: len(cases(cell)) for cell in cells()}
    assert sum(exchanges.values()) > 4000
    assert all(number >= 2 for number in exchanges.values())


def test_every_known_difference_is_of_a_cell_and_has_a_reason() -> None:
    names = {(cell.api, cell.version): {case.name for case in cases(cell)} for cell in cells()}
    for entry in entries():
        assert entry.reason
        there = set[str]().union(*(names[entry.api, version] for version in entry.versions))
        assert there >= set(entry.cases), f"{entry.api}: no such case"


def test_no_difference_is_known_twice() -> None:
    for cell in cells():
        said = [
            (case, field)
            for entry in entries()
            if entry.api == cell.api and cell.version in entry.versions
            for case in entry.cases
            for field in entry.fields
        ]
        assert len(said) == len(set(said)), f"{cell}: {sorted(one for one in said if said.count(one) > 1)[:3]}"
