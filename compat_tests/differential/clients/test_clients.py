"""What real clients ask, asked of Ottla: it answers as Kafka did, or differences.toml knows.

`make test` compares with what Kafka answered when it was recorded, the long tests ask Kafka whether it still does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_tests import apache_kafka
from compat_tests.differential.clients.recorded import (
    Differing,
    clients,
    is_news,
    kafka,
    known,
    ottla,
    overtaken,
    play,
)
from compat_tests.page.names import CLIENTS
from ottla.commands.comparing import ABSENT, Difference
from ottla.commands.recorded import Line

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


def _line(kind: str, n: int, api: str, **more: object) -> Line:
    return {"kind": kind, "n": n, "api": api, **more}


def _fetched(n: int, records: str | None) -> Line:
    return _line("response", n, "Fetch", response={"responses": [{"partitions": [{"records": records}]}]})


def test_only_a_fetch_that_waited_in_vain_while_others_asked_may_have_waited_longer() -> None:
    lines = [
        _line("request", 1, "Fetch"),
        _fetched(1, None),  # nobody asked while it waited
        _line("request", 2, "Fetch"),
        _line("request", 3, "Fetch"),
        _line("request", 4, "Produce"),
        _fetched(2, None),
        _fetched(3, "AAAA"),  # not in vain
        _line("response", 4, "Produce", response={"responses": []}),
    ]
    assert overtaken(lines) == {2}


@pytest.mark.parametrize(
    ("path", "before", "after", "news"),
    [
        ("responses[t].partitions[0].highWatermark", 5, 6, True),
        ("responses[t].partitions[0].highWatermark", 6, 5, False),
        ("responses[t].partitions[0].lastStableOffset", ABSENT, 6, True),
        ("responses[t].partitions[0].logStartOffset", 0, 6, False),
        ("responses[t].partitions[0].records[0]", ABSENT, {"value": "AAAA"}, True),
        ("responses[t].partitions[0].records[0]", {"value": "AAAA"}, ABSENT, False),
        ("responses[t].partitions[0].records[0].value", "AAAA", "BBBB", False),
        ("responses[t].partitions[0].abortedTransactions[0]", ABSENT, {"firstOffset": 7}, True),
        ("responses[t].partitions[0].errorCode", 0, 1, False),
        ("responses[t]", ABSENT, {"partitions": []}, True),
    ],
)
def test_what_comes_to_those_who_wait(path: str, before: object, after: object, news: bool) -> None:
    assert is_news(Difference(path, before, after)) is news


def _told(heading: str, differing: set[Differing]) -> str:
    lines = [f"{one.api} {one.field}: Ottla {one.ours}, Kafka {one.theirs}" for one in sorted(differing)]
    return "\n".join([heading, *lines])
