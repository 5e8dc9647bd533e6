"""The faults with aiokafka."""

from compat_tests.aiokafka.adapter import Adapter
from compat_tests.faults import FaultStories


class TestAioKafkaFaults(FaultStories):
    """Every story with aiokafka."""

    adapter = Adapter
