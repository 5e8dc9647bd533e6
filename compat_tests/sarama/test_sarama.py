"""Sarama through every scenario."""

import pytest

from compat_tests.driving import driven
from compat_tests.scenarios import Scenarios


class TestSarama(Scenarios):
    """The scenarios with Sarama."""

    adapter = driven("sarama", {"protocol.consumer": "no KIP-848 member yet, only ConsumerGroupDescribe"})
    pytestmark = pytest.mark.compat
