"""The admin calls of confluent-kafka, and its errors under the protocol's names."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from compat_tests import errors
from compat_tests.client import Client, RefusedError
from compat_tests.harness import DEADLINE_S


@contextmanager
def refusals() -> Iterator[None]:
    """KafkaException as RefusedError."""
    try:
        yield
    except KafkaException as error:
        raise RefusedError(error_name(error.args[0])) from error
    except SystemError as error:  # a fatal error that came before a delivery report: see FINDINGS.md
        if not isinstance(error.__cause__, KafkaException):
            raise
        raise RefusedError(error_name(error.__cause__.args[0])) from error


def error_name(error: KafkaError) -> str:
    """The protocol's name; codes below -1 are the library's own."""
    if error.code() == KafkaError._FENCED:
        return "PRODUCER_FENCED"
    return errors.error_name(error.code()) if error.code() >= -1 else error.name()


class Administration(Client):
    """What the adapter's admin client does."""

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap})

    def create_topic(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        with refusals():
            self._admin.create_topics([NewTopic(topic, partitions, config=dict(configs or {}))])[topic].result(
                DEADLINE_S
            )

    def topics(self) -> dict[str, int]:
        return {name: len(one.partitions) for name, one in self._admin.list_topics(timeout=DEADLINE_S).topics.items()}

    def add_partitions(self, topic: str, total: int) -> None:
        with refusals():
            self._admin.create_partitions([NewPartitions(topic, total)])[topic].result(DEADLINE_S)

    def delete_topic(self, topic: str) -> None:
        with refusals():
            self._admin.delete_topics([topic])[topic].result(DEADLINE_S)

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        with refusals():
            asked = [TopicPartition(topic, partition, offset) for partition, offset in before.items()]
            for answer in self._admin.delete_records(asked).values():
                answer.result(DEADLINE_S)

    def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        with refusals():
            asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in partitions}
            answers = self._admin.list_offsets(asked)
            return {one.partition: answer.result(DEADLINE_S).offset for one, answer in answers.items()}

    def config(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        with refusals():
            entries = self._admin.describe_configs([resource])[resource].result(DEADLINE_S)
        return {name: entry.value for name, entry in entries.items()}

    def set_config(self, topic: str, name: str, value: str) -> None:
        change = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
        with refusals():
            self._admin.incremental_alter_configs([resource])[resource].result(DEADLINE_S)

    def groups(self) -> list[str]:
        with refusals():
            return [one.group_id for one in self._admin.list_consumer_groups().result(DEADLINE_S).valid]

    def group(self, group: str) -> tuple[str, int]:
        with refusals():
            found = self._admin.describe_consumer_groups([group])[group].result(DEADLINE_S)
        return _STATES[found.state], len(found.members)

    def delete_group(self, group: str) -> None:
        with refusals():
            self._admin.delete_consumer_groups([group])[group].result(DEADLINE_S)


_STATES = {ConsumerGroupState.STABLE: "Stable", ConsumerGroupState.EMPTY: "Empty", ConsumerGroupState.DEAD: "Dead"}
