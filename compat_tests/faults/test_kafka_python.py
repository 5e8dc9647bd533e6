"""The faults with kafka_python."""

from compat_tests.faults import FaultStories
from compat_tests.kafka_python.adapter import Adapter


class TestKafkaPythonFaults(FaultStories):
    """Every story with kafka_python."""

    adapter = Adapter
