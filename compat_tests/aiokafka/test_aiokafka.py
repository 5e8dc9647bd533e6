"""aiokafka through every scenario."""

from compat_tests.aiokafka.adapter import Adapter
from compat_tests.scenarios import Scenarios


class TestAiokafka(Scenarios):
    """The scenarios with aiokafka."""

    adapter = Adapter
