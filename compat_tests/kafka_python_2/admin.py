"""The admin calls of kafka-python 2: it answers with the protocol's own responses, errors within them as codes."""

from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic

from compat_tests.client import RefusedError
from compat_tests.errors import error_name
from compat_tests.kafka_python.common import KafkaPython, refusals

_OF_THE_TOPIC = 1  # a config's source that is the topic itself


class Administration(KafkaPython):
    """What the versions' admin clients do differently."""

    def create_topic(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        with self.admin() as admin:
            admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=dict(configs or {}))])

    def topics(self) -> dict[str, int]:
        with self.admin() as admin:
            return {one["topic"]: len(one["partitions"]) for one in admin.describe_topics()}

    def add_partitions(self, topic: str, total: int) -> None:
        with self.admin() as admin:
            admin.create_partitions({topic: NewPartitions(total)})

    def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        with refusals():
            consumer = KafkaConsumer(bootstrap_servers=self.bootstrap)
            try:
                found = consumer.end_offsets([TopicPartition(topic, partition) for partition in partitions])
            finally:
                consumer.close(autocommit=False)
        return {one.partition: offset for one, offset in found.items()}

    def config(self, topic: str) -> dict[str, str]:
        return {name: value for name, value, _ in self._configs(topic)}

    def set_config(self, topic: str, name: str, value: str) -> None:
        # AlterConfigs replaces all that is set: what is set already goes along
        configs = {one: was for one, was, source in self._configs(topic) if source == _OF_THE_TOPIC}
        with self.admin() as admin:
            answer = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {**configs, name: value})])
        ((code, *_),) = answer.resources
        _check(code)

    def _configs(self, topic: str) -> list[tuple[str, str, int]]:
        """Name, value, source."""
        with self.admin() as admin:
            (answer,) = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        ((code, _, _, _, entries),) = answer.resources
        _check(code)
        return [(name, value, source) for name, value, _, source, *_ in entries]

    def groups(self) -> list[str]:
        with self.admin() as admin:
            found: list[tuple[Any, ...]] = admin.list_consumer_groups()
        return [group for group, *_ in found]

    def group(self, group: str) -> tuple[str, int]:
        with self.admin() as admin:
            (found,) = admin.describe_consumer_groups([group])
        return found.state, len(found.members)

    def delete_group(self, group: str) -> None:
        with self.admin() as admin:
            ((_, error),) = admin.delete_consumer_groups([group])
        _check(error.errno)


def _check(code: int) -> None:
    if code:
        raise RefusedError(error_name(code))
