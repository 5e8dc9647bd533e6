"""What real clients ask, asked of Ottla: it answers as Kafka did, or differences.toml knows.

`make test` compares with what Kafka answered when it was recorded, the long tests ask Kafka whether it still does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_tests import apache_kafka
from compat_tests.differential.clients.recorded import Differing, clients, kafka, known, ottla, play
from compat_tests.page.names import CLIENTS

FEWEST = 25  # exchanges of a story


@pytest.mark.parametrize("client", clients())
def test_ottla_answers_a_client_as_kafka_did(client: str, tmp_path: Path) -> None:
    with ottla(tmp_path / "ottla") as broker:
        played, found = play(client, broker.port, tmp_path)
    expected = set(known(client))
    assert played >= FEWEST
    assert not found - expected, _told("Kafka answered otherwise (differences.toml does not know it)", found - expected)
    assert not expected - found, _told("no longer so; take it out of differences.toml", expected - found)


@pytest.mark.long
@pytest.mark.parametrize("client", clients())
def test_kafka_still_answers_so(client: str, tmp_path: Path) -> None:
    if (reason := apache_kafka.unavailable()) is not None:
        pytest.skip(reason)
    with kafka(tmp_path / "kafka") as broker:
        _, found = play(client, broker.port, tmp_path)
    assert not found, _told("record anew", found)


def test_every_client_has_told_its_story() -> None:
    assert set(clients()) == set(CLIENTS)


def test_every_known_difference_has_a_reason_and_a_client() -> None:
    assert all(reason for client in clients() for reason in known(client).values())


def _told(heading: str, differing: set[Differing]) -> str:
    lines = [f"{one.api} {one.field}: Ottla {one.ours}, Kafka {one.theirs}" for one in sorted(differing)]
    return "\n".join([heading, *lines])
