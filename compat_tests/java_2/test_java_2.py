"""The Java client 2.8, of 2021, through every scenario."""

import pytest

from compat_tests.driving import driven
from compat_tests.scenarios import Scenarios


@pytest.mark.compat
class TestJavaTwo(Scenarios):
    """The scenarios with the Java client 2.8, of 2021."""

    adapter = driven("java_2", {"protocol.consumer": "older than KIP-848"})
