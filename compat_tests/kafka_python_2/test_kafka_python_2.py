"""kafka-python 2 through every scenario, in a virtual environment of its own."""

import pytest

from compat_tests.driving import driven
from compat_tests.scenarios import Scenarios


class TestKafkaPython2(Scenarios):
    """The scenarios with the last 2.x of kafka-python."""

    adapter = driven(
        "kafka_python_2",
        {
            "assignor.cooperative-sticky": "kafka-python 2 has range, roundrobin and sticky, all eager",
            "protocol.consumer": "kafka-python 2 has no KIP-848",
        },
    )
    pytestmark = pytest.mark.compat
