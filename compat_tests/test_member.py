"""A story ends as soon as one of its members does what no member should, and it knows what was never committed."""

from collections import Counter
from typing import Any

import pytest

from compat_tests.client import MemberConfig
from compat_tests.member import Event, Story


def test_a_member_that_ends_by_itself_fails_the_story_with_its_last_words() -> None:
    with Story() as story:
        story.join("kafka_python", "127.0.0.1:1", MemberConfig("group", "topic", assignor="nobody knows it"))
        with pytest.raises(AssertionError, match=r"(?s)m0 ended with 1.*KeyError: 'nobody knows it'"):
            story.wait_for(lambda: False, "nothing")


def _records(*places: tuple[int, int]) -> tuple[str, Any]:
    return "records", [[partition, offset, "value"] for partition, offset in places]


@pytest.mark.parametrize(
    ("told", "uncommitted"),
    [
        pytest.param([_records((0, 5)), ("committed", {"0": 6})], [], id="acknowledged"),
        pytest.param([_records((0, 5)), ("committed", {"0": 5})], [(0, 5)], id="acknowledged up to it"),
        pytest.param([_records((0, 5)), _records((0, 6)), ("committed", {"0": 7})], [], id="two batches at once"),
        pytest.param([_records((0, 5), (1, 5)), ("revoked", [0]), ("committed", {"1": 6})], [(0, 5)], id="given back"),
        pytest.param([_records((0, 5)), ("lost", [0]), ("committed", {"0": 9})], [(0, 5)], id="lost, and back again"),
        pytest.param([_records((0, 5)), _records((0, 5)), ("committed", {"0": 6})], [(0, 5)], id="read again"),
        pytest.param([_records((0, 5)), ("commit_failed", "REBALANCE_IN_PROGRESS")], [(0, 5)], id="refused"),
    ],
)
def test_what_a_member_may_have_left_for_others_to_do_again(
    told: list[tuple[str, Any]], uncommitted: list[tuple[int, int]]
) -> None:
    story = Story()
    for at, (name, value) in enumerate(told):
        story.add(Event("m0", at, name, value))
    assert story.uncommitted() == Counter(uncommitted)
