"""What requests refer to: topics, groups, members, producers, made when a request first needs them.

Each cell has a topic of its own, each case of a cell its own groups and producers, so that no case sees what another
one did; names come from the cell and the case alone. All of it is asked for at versions that differ in nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

from compat_tests.differential.generated.line import Line
from compat_tests.differential.generated.plain import MADE, STAMP_MS, Namer
from compat_tests.harness import DEADLINE_S
from compat_tests.raw import NONE, one_batch
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from ottla.wire.messages.alter_client_quotas import AlterClientQuotasRequest
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.describe_client_quotas import DescribeClientQuotasRequest
from ottla.wire.messages.describe_cluster import DescribeClusterRequest
from ottla.wire.messages.describe_log_dirs import DescribeLogDirsRequest
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from ottla.wire.schema import Message

#: Both brokers'. Partitions of internal topics are few, since answers list them; records of STAMP_MS must stay.
SETTINGS = {
    "auto.create.topics.enable": "false",
    "group.consumer.assignment.interval.ms": "0",
    "group.initial.rebalance.delay.ms": "0",
    "log.retention.ms": "-1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
}
#: Kafka's: its coordinator writes at once, as Ottla's does.
KAFKA_SETTINGS = {**SETTINGS, "group.coordinator.append.linger.ms": "0"}
ASSIGNMENT = bytes.fromhex("0000 00000000 ffffffff")  # of the consumer protocol: no partitions, no user data
SUBSCRIPTION = ASSIGNMENT  # nor any topics
_AGAIN = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.CONCURRENT_TRANSACTIONS,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)


class Topic(NamedTuple):
    """Two partitions of three records each."""

    name: str
    id: bytes


class Group(NamedTuple):
    """A group and one of its members; the epoch of a classic one is its generation."""

    id: str
    member_id: str = ""
    epoch: int = -1


class Producer(NamedTuple):
    """A transactional id and what the broker gave for it."""

    id: str
    producer_id: int
    epoch: int


class Stage:
    """One broker that plays cells. `patience_s` is how long silence must last to be an answer."""

    def __init__(self, port: int, *, patience_s: float = DEADLINE_S) -> None:
        self.port = port
        self.patience_s = patience_s
        self._line = Line(port, DEADLINE_S)
        _settle(self._line)
        self.cluster_id: str = self.ask(DescribeClusterRequest(), 0).cluster_id
        self.log_dir: str = self.ask(DescribeLogDirsRequest(), 4).results[0].log_dir

    def close(self) -> None:
        """Hang up."""
        self._line.__exit__()

    def ask(self, request: Message, version: int) -> Any:
        """The answer to a request of the scene's own."""
        return self._line.ask(request, version)

    def ask_until_done(self, request: Message, version: int, code: Callable[[Any], int]) -> Any:
        """The same, again and again while Kafka says that something is not ready yet."""
        deadline_s = time.monotonic() + DEADLINE_S
        while (found := code(answer := self.ask(request, version))) in _AGAIN:
            assert time.monotonic() < deadline_s, answer
            time.sleep(0.01)
        assert found == NONE, (request, answer)
        return answer

    def ask_until(self, request: Message, version: int, reached: Callable[[Any], bool]) -> None:
        """Again and again until Kafka's broker has heard of what its controller did."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not reached(answer := self.ask(request, version)):
            assert time.monotonic() < deadline_s, answer
            time.sleep(0.01)

    def namer(self, cell: str) -> Namer:
        """Names of one cell's answers."""
        return Namer(cell, self.port, {self.cluster_id: "<cluster>", self.log_dir: "<log dir>"})


class Scene:
    """What one case of one cell may refer to.

    `topics` are those of the cell so far; `changes_topic`: what is asked changes its topic, so each case has its own.
    """

    def __init__(
        self, stage: Stage, cell: str, number: int, topics: dict[str, Topic], namer: Namer, *, changes_topic: bool
    ) -> None:
        self.cluster_id = stage.cluster_id
        self.log_dir = stage.log_dir
        self._stage = stage
        self._cell = cell
        self._name = f"{cell}-{number}"
        self._topics = topics
        self._namer = namer
        self._changes_topic = changes_topic

    # -- topics -------------------------------------------------------------------------------------------------------

    @property
    def topic(self) -> Topic:
        """The cell's, or one of this case alone."""
        if self._changes_topic:
            return self.own_topic
        name = f"{self._cell}-t"
        if name not in self._topics:
            self._topics[name] = self._make_topic(name)
        return self._topics[name]

    @cached_property
    def own_topic(self) -> Topic:
        """For a case that changes it."""
        return self._make_topic(f"{self._name}-t")

    @property
    def new_name(self) -> str:
        """Of what is not there yet."""
        return f"{self._name}-new"

    @property
    def instance_id(self) -> bytes:
        """Of a client that pushes metrics: Kafka remembers for how long each must wait."""
        return hashlib.md5(self._name.encode(), usedforsecurity=False).digest()

    @property
    def nobody(self) -> str:
        """Of what is not there."""
        return f"{self._name}-nobody"

    def records(self) -> bytes:
        """A plain batch."""
        return one_batch([b"a", b"bb", b"ccc"], timestamp_ms=STAMP_MS)

    def sent(self, **fields: Any) -> bytes:
        """A batch of this case's producer: its first one, unless `fields` (of `one_batch`) say otherwise."""
        producer = {"producer_id": self.producer.producer_id, "producer_epoch": self.producer.epoch, "base_sequence": 0}
        return one_batch([b"a"], **{**producer, **fields})

    def _make_topic(self, name: str) -> Topic:
        creatable = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=2, replication_factor=1)
        created = self._stage.ask(CreateTopicsRequest(topics=[creatable], timeout_ms=10_000), 7).topics[0]
        assert created.error_code == NONE, created
        self._namer.know_topic(bytes(created.topic_id), name)
        asked = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=name)])
        self._stage.ask_until_done(
            asked, 9, lambda answer: max(one.error_code for one in (answer.topics[0], *answer.topics[0].partitions))
        )
        for partition in (0, 1):
            self._produce(name, partition, self.records())
        return Topic(name, bytes(created.topic_id))

    def _produce(self, topic: str, partition: int, records: bytes, transactional_id: str | None = None) -> None:
        data = ProduceRequest.PartitionProduceData(index=partition, records=records)
        request = ProduceRequest(
            transactional_id=transactional_id,
            acks=-1,
            timeout_ms=10_000,
            topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=[data])],
        )
        self._stage.ask_until_done(request, 9, lambda answer: answer.responses[0].partition_responses[0].error_code)

    # -- groups -------------------------------------------------------------------------------------------------------

    @property
    def group_name(self) -> str:
        """Of a group that is not there, unless another property of the scene made it."""
        return f"{self._name}-g"

    @cached_property
    def pending(self) -> Group:
        """A classic group that has handed out an id to somebody who has not joined yet."""
        answer = self._stage.ask(self._join(""), 9)
        return self._known(Group(self.group_name, answer.member_id))

    @cached_property
    def joined(self) -> Group:
        """A classic group whose one member, the leader, has joined and not synced."""
        answer = self._stage.ask(self._join(self.pending.member_id), 9)
        return Group(self.group_name, answer.member_id, answer.generation_id)

    @cached_property
    def group(self) -> Group:
        """A Stable classic group with one member."""
        joined = self.joined
        given = SyncGroupRequest.SyncGroupRequestAssignment(member_id=joined.member_id, assignment=ASSIGNMENT)
        request = SyncGroupRequest(
            group_id=joined.id, member_id=joined.member_id, generation_id=joined.epoch, assignments=[given]
        )
        self._stage.ask_until_done(request, 4, lambda answer: answer.error_code)
        return joined

    @cached_property
    def idle_group(self) -> Group:
        """A group that is nothing but offsets: 5 in the first partition of the cell's topic."""
        partition = OffsetCommitRequest.OffsetCommitRequestPartition(
            partition_index=0, committed_offset=5, committed_leader_epoch=0, committed_metadata="note"
        )
        topic = OffsetCommitRequest.OffsetCommitRequestTopic(name=self.topic.name, partitions=[partition])
        group = f"{self._name}-i"
        request = OffsetCommitRequest(group_id=group, topics=[topic])
        self._stage.ask_until_done(request, 8, lambda answer: answer.topics[0].partitions[0].error_code)
        return Group(group)

    @cached_property
    def consumer_group(self) -> Group:
        """A group of the new protocol with one member, who was told its partitions and has taken them."""
        group = f"{self._name}-c"
        request = ConsumerGroupHeartbeatRequest(
            group_id=group,
            member_id=f"{self._name}-m",
            rebalance_timeout_ms=30_000,
            subscribed_topic_names=[self.topic.name],
            topic_partitions=[],
        )
        answer = self._stage.ask_until_done(request, 1, lambda answer: answer.error_code)
        owned = ConsumerGroupHeartbeatRequest.TopicPartitions(topic_id=self.topic.id, partitions=[0, 1])
        request = ConsumerGroupHeartbeatRequest(
            group_id=group, member_id=answer.member_id, member_epoch=answer.member_epoch, topic_partitions=[owned]
        )
        answer = self._stage.ask_until_done(request, 1, lambda answer: answer.error_code)
        return Group(group, answer.member_id, answer.member_epoch)

    def _join(self, member_id: str) -> JoinGroupRequest:
        return JoinGroupRequest(
            group_id=self.group_name,
            member_id=member_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=SUBSCRIPTION)],
            session_timeout_ms=30_000,
            rebalance_timeout_ms=30_000,
        )

    def _known(self, group: Group) -> Group:
        self._namer.know(group.member_id, "<member>")
        return group

    # -- producers ----------------------------------------------------------------------------------------------------

    @cached_property
    def producer(self) -> Producer:
        """One that has begun no transaction."""
        request = InitProducerIdRequest(transactional_id=f"{self._name}-x", transaction_timeout_ms=60_000)
        answer = self._stage.ask_until_done(request, 4, lambda answer: answer.error_code)
        self._namer.know_producer(answer.producer_id, f"{self._name}-x")
        return Producer(f"{self._name}-x", answer.producer_id, answer.producer_epoch)

    @cached_property
    def transaction(self) -> Producer:
        """One whose transaction has the first partition of a topic of its own and the offsets of `group`."""
        producer = self.producer
        topic = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name=self.own_topic.name, partitions=[0])
        self._stage.ask_until_done(
            AddPartitionsToTxnRequest(
                v3_and_below_transactional_id=producer.id,
                v3_and_below_producer_id=producer.producer_id,
                v3_and_below_producer_epoch=producer.epoch,
                v3_and_below_topics=[topic],
            ),
            3,
            lambda answer: answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code,
        )
        self._stage.ask_until_done(
            AddOffsetsToTxnRequest(
                transactional_id=producer.id,
                producer_id=producer.producer_id,
                producer_epoch=producer.epoch,
                group_id=self.group_name,
            ),
            3,
            lambda answer: answer.error_code,
        )
        records = one_batch(
            [b"t"], producer_id=producer.producer_id, producer_epoch=producer.epoch, base_sequence=0, transactional=True
        )
        self._produce(self.own_topic.name, 0, records, producer.id)
        return producer

    # -- others -------------------------------------------------------------------------------------------------------

    @cached_property
    def user(self) -> str:
        """The name of somebody who has a quota."""
        name = f"{self._name}-u"
        entity = AlterClientQuotasRequest.EntityData(entity_type="user", entity_name=name)
        operation = AlterClientQuotasRequest.OpData(key="producer_byte_rate", value=1e9)
        entry = AlterClientQuotasRequest.EntryData(entity=[entity], ops=[operation])
        request = AlterClientQuotasRequest(entries=[entry])
        self._stage.ask_until_done(request, 1, lambda answer: answer.entries[0].error_code)
        component = DescribeClientQuotasRequest.ComponentData(entity_type="user", match=name)
        self._stage.ask_until(
            DescribeClientQuotasRequest(components=[component]), 1, lambda answer: bool(answer.entries)
        )
        return name


def cell_name(api: str, version: int) -> str:
    """How everything begins that a cell makes."""
    return f"{MADE}{api}-{version}"


def _settle(line: Line) -> None:
    """Kafka answers before its coordinators are loaded: ask until they serve, which Ottla never needs."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        codes = [
            line.ask(FindCoordinatorRequest(key="settle", key_type=0), 1).error_code,
            line.ask(FindCoordinatorRequest(key="settle", key_type=1), 1).error_code,
            line.ask(OffsetFetchRequest(group_id="settle", topics=None), 5).error_code,
            line.ask(InitProducerIdRequest(transactional_id="settle", transaction_timeout_ms=60_000), 0).error_code,
        ]
        if not any(codes):
            return
        assert time.monotonic() < deadline_s, codes
        time.sleep(0.05)
