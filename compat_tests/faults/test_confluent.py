"""The faults with confluent."""

from compat_tests.confluent.adapter import Adapter
from compat_tests.faults import FaultStories


class TestConfluentFaults(FaultStories):
    """Every story with confluent."""

    adapter = Adapter
