"""kafka-python 2 behind the face that the scenarios use: what kafka_python/common.py and admin.py leave open."""

from typing import ClassVar

from kafka import KafkaConsumer
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from compat_tests.client import Emit, by_crc32
from compat_tests.kafka_python_2.admin import Administration


def _by_crc32(key: bytes | None, every: list[int], available: list[int]) -> int:
    return by_crc32(key, len(every))


class Adapter(Administration):
    """kafka-python 2."""

    name = "kafka_python_2"
    by_crc32 = staticmethod(_by_crc32)
    assignors: ClassVar = {
        one.name: one for one in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor)
    }

    def leave(self, consumer: KafkaConsumer, emit: Emit) -> None:
        emit("revoked", sorted(one.partition for one in consumer.assignment()))  # 2.x closes without telling listeners
        super().leave(consumer, emit)
