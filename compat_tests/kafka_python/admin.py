"""The admin calls of kafka-python."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import kafka.errors
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec

from compat_tests import errors
from compat_tests.client import RefusedError
from compat_tests.kafka_python.common import KafkaPython


class Administration(KafkaPython):
    """What the versions' admin clients do differently."""

    def create_topic(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        with self.admin() as admin:
            admin.create_topics({topic: {"num_partitions": partitions, "configs": dict(configs or {})}})

    def topics(self) -> dict[str, int]:
        with self.admin() as admin:
            return {one["name"]: len(one["partitions"]) for one in admin.describe_topics()}

    def add_partitions(self, topic: str, total: int) -> None:
        with self.admin() as admin:
            admin.create_partitions({topic: total})

    def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        asked = {TopicPartition(topic, partition): OffsetSpec.LATEST for partition in partitions}
        with self.admin() as admin:
            return {one.partition: found.offset for one, found in admin.list_partition_offsets(asked).items()}

    def config(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        with self.admin() as admin:
            answer: dict[str, Any] = admin.describe_configs([resource], config_filter="all")["topic"][topic]
        return {name: entry["value"] for name, entry in answer.items()}

    def set_config(self, topic: str, name: str, value: str) -> None:
        with self.admin() as admin:
            answer = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])
        _check(answer["topic"][topic])

    def groups(self) -> list[str]:
        with self.admin() as admin:
            return [one["group_id"] for one in admin.list_groups()]

    def group(self, group: str) -> tuple[str, int]:
        with self.admin() as admin:
            found = admin.describe_groups([group])[group]
        return found["group_state"], len(found["members"])

    def delete_group(self, group: str) -> None:
        with self.admin() as admin:
            answer = admin.delete_groups([group])
        _check(answer[group])


def _check(answer: str) -> None:
    """What some calls answer in words: OK, "[Error CODE] ...", or the name of the error's class."""
    if answer == "OK":
        return
    coded = re.match(r"\[Error (\d+)\]", answer)
    raise RefusedError(errors.error_name(int(coded[1]) if coded else getattr(kafka.errors, answer).errno))
