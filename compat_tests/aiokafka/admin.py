"""The admin calls of aiokafka, each with a client and a loop of its own, and its errors under the protocol's names."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.protocol.admin import DeleteGroupsRequest

from compat_tests.client import Client, RefusedError
from compat_tests.errors import error_name

T = TypeVar("T")
_OF_THE_TOPIC = 1  # a config's source that is the topic itself


@contextmanager
def refusals() -> Iterator[None]:
    """KafkaError as RefusedError."""
    try:
        yield
    except KafkaError as error:
        raise refusal(error) from error


def refusal(error: KafkaError) -> RefusedError:
    """Under the protocol's name where the error came from a broker; else the library's."""
    if isinstance(error, ProducerFenced):  # its own, from the code of an old epoch
        return RefusedError("PRODUCER_FENCED")
    code = getattr(error, "errno", None)
    return RefusedError(type(error).__name__ if code is None else error_name(code))


class Administration(Client):
    """What the adapter's admin client does."""

    def _admin(self, call: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
        async def run() -> T:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            await admin.start()
            try:
                return await call(admin)
            finally:
                await admin.close()

        with refusals():
            return asyncio.run(run())

    def create_topic(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        new = NewTopic(topic, partitions, 1, topic_configs=dict(configs or {}))
        ((_, code, *_),) = self._admin(lambda admin: admin.create_topics([new])).topic_errors
        _check(code)

    def topics(self) -> dict[str, int]:
        return {one["topic"]: len(one["partitions"]) for one in self._admin(lambda admin: admin.describe_topics())}

    def add_partitions(self, topic: str, total: int) -> None:
        self._admin(lambda admin: admin.create_partitions({topic: NewPartitions(total)}))

    def delete_topic(self, topic: str) -> None:
        ((_, code),) = self._admin(lambda admin: admin.delete_topics([topic])).topic_error_codes
        _check(code)

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        asked = {TopicPartition(topic, partition): RecordsToDelete(offset) for partition, offset in before.items()}
        self._admin(lambda admin: admin.delete_records(asked))

    def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        async def ends() -> dict[int, int]:
            consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
            await consumer.start()
            try:
                found = await consumer.end_offsets([TopicPartition(topic, partition) for partition in partitions])
                return {one.partition: offset for one, offset in found.items()}
            finally:
                await consumer.stop()

        with refusals():
            return asyncio.run(ends())

    def config(self, topic: str) -> dict[str, str]:
        return {name: value for name, value, _ in self._configs(topic)}

    def set_config(self, topic: str, name: str, value: str) -> None:
        # AlterConfigs replaces all that is set: what is set already goes along
        configs = {one: was for one, was, source in self._configs(topic) if source == _OF_THE_TOPIC}
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {**configs, name: value})
        (answer,) = self._admin(lambda admin: admin.alter_configs([resource]))
        ((code, *_),) = answer.resources
        _check(code)

    def _configs(self, topic: str) -> list[tuple[str, str, int]]:
        """Name, value, source."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        (answer,) = self._admin(lambda admin: admin.describe_configs([resource]))
        ((code, _, _, _, entries),) = answer.resources
        _check(code)
        return [(name, value, source) for name, value, _, source, *_ in entries]

    def groups(self) -> list[str]:
        found: list[tuple[Any, ...]] = self._admin(lambda admin: admin.list_consumer_groups())
        return [group for group, *_ in found]

    def group(self, group: str) -> tuple[str, int]:
        (answer,) = self._admin(lambda admin: admin.describe_consumer_groups([group]))
        ((code, _, state, _, _, members, *_),) = answer.groups
        _check(code)
        return state, len(members)

    def delete_group(self, group: str) -> None:
        async def delete() -> list[tuple[str, int]]:
            # its admin client has no DeleteGroups; its protocol has the request, for the client beneath
            client = AIOKafkaClient(bootstrap_servers=self.bootstrap)
            await client.bootstrap()
            try:
                coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
                return list((await client.send(coordinator, DeleteGroupsRequest([group]))).results)
            finally:
                await client.close()

        with refusals():
            ((_, code),) = asyncio.run(delete())
        _check(code)


def _check(code: int) -> None:
    if code:
        raise RefusedError(error_name(code))
