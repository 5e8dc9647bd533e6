"""A story ends as soon as one of its members does what no member should."""

import pytest

from compat_tests.client import MemberConfig
from compat_tests.member import Story


def test_a_member_that_ends_by_itself_fails_the_story_with_its_last_words() -> None:
    with Story() as story:
        story.join("kafka_python", "127.0.0.1:1", MemberConfig("group", "topic", assignor="nobody knows it"))
        with pytest.raises(AssertionError, match=r"(?s)m0 ended with 1.*KeyError: 'nobody knows it'"):
            story.wait_for(lambda: False, "nothing")
