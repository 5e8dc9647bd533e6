"""kafka-python 3 behind the face that the scenarios use: what common.py and admin.py leave open."""

from typing import Any, ClassVar

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.partitioner import Partitioner

from compat_tests.client import by_crc32
from compat_tests.kafka_python.admin import Administration


class _ByCrc32(Partitioner):
    def partition(  # the library's own signature
        self, topic: str, key: Any, serialized_key: bytes | None, value: Any, serialized_value: Any, cluster: Any
    ) -> int:
        return by_crc32(serialized_key, len(cluster.partitions_for_topic(topic)))


class Adapter(Administration):
    """kafka-python 3."""

    name = "kafka_python"
    lacks: ClassVar = {"protocol.consumer": "no KIP-848 yet"}
    by_crc32 = _ByCrc32()
    assignors: ClassVar = {
        one.name: one
        for one in (
            RangePartitionAssignor,
            RoundRobinPartitionAssignor,
            StickyPartitionAssignor,
            CooperativeStickyAssignor,
        )
    }
