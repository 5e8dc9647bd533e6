"""kafkajs through every scenario."""

import pytest

from compat_tests.driving import driven
from compat_tests.scenarios import Scenarios

_EAGER = "kafkajs 2 rebalances eagerly and has a round robin assigner alone"


class TestKafkajs(Scenarios):
    """The scenarios with kafkajs."""

    adapter = driven(
        "kafkajs",
        {
            "groups.restart": "a closed connection empties its list of brokers; a consumer that must ask then crashes "
            "and joins anew (FINDINGS.md)",
            "assignor.range": _EAGER,
            "assignor.sticky": _EAGER,
            "assignor.cooperative-sticky": _EAGER,
            "static": "kafkajs 2 has no group.instance.id",
            "protocol.consumer": "kafkajs 2 is older than KIP-848",
        },
    )
    pytestmark = pytest.mark.compat
