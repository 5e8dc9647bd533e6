"""kafka-python through every scenario."""

from compat_tests.kafka_python.adapter import Adapter
from compat_tests.scenarios import Scenarios


class TestKafkaPython(Scenarios):
    """The scenarios with kafka-python."""

    adapter = Adapter
