"""confluent-kafka through every scenario."""

from compat_tests.confluent.adapter import Adapter
from compat_tests.scenarios import Scenarios


class TestConfluent(Scenarios):
    """The scenarios with confluent-kafka."""

    adapter = Adapter
