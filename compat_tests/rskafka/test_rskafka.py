"""rskafka through every scenario."""

import pytest

from compat_tests.driving import driven
from compat_tests.scenarios import Scenarios

_NO_GROUPS = "rskafka has no consumer groups"
_NO_TRANSACTIONS = "rskafka has no transactions"
_NO_ADMIN = "rskafka creates, lists and deletes topics and records: nothing more is in its API"


class TestRskafka(Scenarios):
    """The scenarios with rskafka."""

    adapter = driven(
        "rskafka",
        {
            "partitioner": "rskafka produces to the partition that the application names",
            "headers": "rskafka has a map of headers: one value a name, sorted by name",
            "idempotence": "rskafka produces without a producer id",
            "committed": _NO_GROUPS,
            "groups": _NO_GROUPS,
            "assignor.range": _NO_GROUPS,
            "assignor.roundrobin": _NO_GROUPS,
            "assignor.sticky": _NO_GROUPS,
            "assignor.cooperative-sticky": _NO_GROUPS,
            "static": _NO_GROUPS,
            "protocol.consumer": _NO_GROUPS,
            "add_partitions": _NO_ADMIN,
            "configs": _NO_ADMIN,
            "list_groups": _NO_ADMIN,
            "describe_group": _NO_ADMIN,
            "delete_group": _NO_ADMIN,
            "transactions": _NO_TRANSACTIONS,
            "transactions.offsets": _NO_TRANSACTIONS,
            "isolation": "rskafka always asks for read_committed, and cannot read the markers of transactions",
        },
    )
    pytestmark = pytest.mark.compat
