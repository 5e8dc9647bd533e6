"""Fetch (1), v4-18: stored record batches from given offsets on, waiting for them if asked. KIP-98 (committed only),
KIP-227 (sessions), KIP-516.

The hot path out: plan by offsets alone, wait in purgatory, then slices of log files, which are read as they leave.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ottla.broker.fetch_sessions import FetchSession, FetchTarget, Key
from ottla.broker.leader_hints import leader_endpoints
from ottla.broker.waiting import ByteWaiter, Parked
from ottla.log.door import Done, PartitionLog, ReadResult
from ottla.wire import lone_fetch
from ottla.wire.errors import NOT_THERE, ErrorCode, KafkaError
from ottla.wire.messages.fetch import FetchRequest, FetchResponse
from ottla.wire.schema import Encoded

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Partition, Topic
    from ottla.broker.dispatch import Context

TopicResponse = FetchResponse.FetchableTopicResponse
PartitionResponse = FetchResponse.PartitionData
EpochEndOffset = FetchResponse.EpochEndOffset
AbortedTransaction = FetchResponse.AbortedTransaction
READ_COMMITTED = 1
_FOLLOWERS_FROM = 11  # when consumers began to say where they are
_TELLS_LEADER_FROM = 16
_LED_ELSEWHERE = frozenset((ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH))


def handle(broker: Broker, context: Context, request: FetchRequest) -> FetchResponse | Encoded | Parked:
    try:
        session, targets, incremental = context.node.fetch_sessions.resolve(request, context.api_version)
    except KafkaError as fault:
        return error(request, context.api_version, fault.code)
    fetch = _Fetch(broker, context, request, session, targets, incremental)
    watched = fetch.watch()
    if watched is None or broker.stopping:
        return fetch.answer()
    waiter = ByteWaiter(
        watched,
        fetch.min_bytes,
        request.max_wait_ms,
        broker.timers,
        committed_only=fetch.committed_only,
        peers=None if session is None else session.waiters,
    )
    return Parked(waiter.pending, fetch.answer, waiter.forget)


def error(request: FetchRequest, version: int, code: ErrorCode) -> FetchResponse:
    """Errors of the whole request stand at the top since v7; before, on each partition."""
    if version >= 7:
        return FetchResponse(error_code=code)
    return FetchResponse(
        responses=[
            TopicResponse(
                topic=topic.topic,
                partitions=[
                    PartitionResponse(partition_index=wanted.partition, error_code=code, high_watermark=-1, records=b"")
                    for wanted in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


class _Fetch:
    """One Fetch while it is served: first whether it must wait, then, perhaps later, its answer."""

    __slots__ = (
        "_absent",
        "_broker",
        "_context",
        "_incremental",
        "_max_bytes",
        "_node",
        "_rack",
        "_replica_id",
        "_session",
        "_targets",
        "_wait",
        "committed_only",
        "min_bytes",
    )

    def __init__(
        self,
        broker: Broker,
        context: Context,
        request: FetchRequest,
        session: FetchSession | None,
        targets: dict[Key, FetchTarget],
        incremental: bool,
    ) -> None:
        self._broker = broker
        self._context = context
        self._node = context.connection.node
        # KIP-392: a client of a rack is sent to the replica there, if the broker is told to
        self._rack = request.rack_id if request.rack_id and _selects_by_rack(broker) else None
        self._session = session
        self._targets = targets
        self._incremental = incremental
        self.committed_only = request.isolation_level == READ_COMMITTED
        self._replica_id = max(request.replica_id, request.replica_state.replica_id)  # v15 moved it
        self._max_bytes = max(0, min(request.max_bytes, broker.config.fetch_max_bytes))
        self._wait = request.max_wait_ms > 0 and request.min_bytes > 0
        self.min_bytes = min(request.min_bytes, self._max_bytes)
        self._absent: tuple[Key, ...] | None = None  # once it waits: what was not there when it began to

    def watch(self) -> list[tuple[Partition, int, int]] | None:
        """The partitions to wait for, (partition, offset, bytes that count); None: answer now."""
        if not self._wait:
            return None
        watched: list[tuple[Partition, int, int]] = []
        absent: tuple[Key, ...] = ()
        available = 0
        for target in self._to_look_at():
            try:
                partition, diverging = self._readable(target)
            except KafkaError as fault:
                if (
                    fault.code in NOT_THERE
                ):  # which does not end the wait of the others (as observed); what a read says does
                    absent += (target.key,)
                    continue
                return None
            if diverging is not None or (self._rack is not None and self._nearer_replica(partition, self._rack) >= 0):
                return None
            log = partition.log
            limit = target.max_bytes
            available += min(
                log.available_bytes(target.fetch_offset, committed_only=self.committed_only, enough=limit), limit
            )
            if available >= self.min_bytes:
                return None
            watched.append((partition, target.fetch_offset, target.max_bytes))
        rests = self._session is not None and len(self._session.restless) < len(self._targets)
        if not watched and not rests:
            return None
        self._absent = absent
        return watched

    def _read_log(self, log: PartitionLog, target: FetchTarget, left: int, first: bool) -> ReadResult:
        """Raises KafkaError."""
        outcome = log.read(
            target.fetch_offset,
            min(target.max_bytes, left),
            min_one_batch=first,
            committed_only=self.committed_only,
        )
        assert isinstance(outcome, Done), "cold reads wait before a Fetch is answered"
        return outcome.value

    def _to_look_at(self) -> Collection[FetchTarget]:
        """Of a session those that may have something to tell, else all."""
        session = self._session
        if session is None:
            return self._targets.values()
        follows = self._context.api_version >= _FOLLOWERS_FROM
        log_starts = self._broker.store.log_starts_moved
        conditions = (self.committed_only, self._rack, self._replica_id, follows, log_starts)
        return session.to_look_at(not self._incremental, conditions)

    def _readable(self, target: FetchTarget) -> tuple[Partition, EpochEndOffset | None]:
        """The partition and, if the client's log has left ours, where. Raises KafkaError if it can't be read there."""
        broker = self._broker
        name_or_id, index = target.key
        topic: Topic | None
        if isinstance(name_or_id, bytes):
            topic = broker.cluster.topics_by_id.get(name_or_id)
            if topic is None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
        else:
            topic = broker.cluster.topics.get(name_or_id)
        partition = topic.partition(index) if topic is not None else None
        if partition is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        node_id = self._node.id
        leads = partition.leader == node_id
        if target.current_leader_epoch != partition.leader_epoch and (leads or node_id in partition.replicas):
            broker.check_leader_epoch(partition, target.current_leader_epoch)
        if not leads and not self._may_follow(partition, node_id):
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if self._replica_id >= 0:  # a follower, and nobody follows
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if target.last_fetched_epoch >= 0:
            diverging = _diverging(partition, target)
            if diverging is not None:
                return partition, diverging
        log = partition.log
        if not log.log_start_offset <= target.fetch_offset <= log.log_end_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        return partition, None

    def _may_follow(self, partition: Partition, node_id: int) -> bool:
        """KIP-392: a follower serves consumers that say their rack, or that they have none."""
        return node_id in partition.replicas and self._context.api_version >= _FOLLOWERS_FROM

    def _nearer_replica(self, partition: Partition, rack: str) -> int:
        """The id of the node to read from instead, -1 if this one is near enough."""
        if partition.leader != self._node.id or self._node.rack == rack:
            return -1
        nodes = self._broker.cluster.nodes
        return next((node_id for node_id in partition.isr if nodes[node_id].rack == rack), -1)

    def answer(self) -> FetchResponse | Encoded:
        """What there is to tell now."""
        targets = self._to_look_at()
        if len(targets) == 1:
            lone = self._lone_answer(next(iter(targets)))
            if lone is not None:
                return lone
        return self._answer(targets)

    def _lone_answer(self, target: FetchTarget) -> Encoded | None:
        """The answer if all it tells is records of one partition; None, and nothing has been done, if not."""
        version = self._context.api_version
        if version < lone_fetch.FROM or self._broker.gate.taps:  # they look at objects
            return None
        try:
            partition, diverging = self._readable(target)
            log = partition.log
            if (
                diverging is not None
                or target.fetch_offset >= log.high_watermark
                or (self._rack is not None and self._nearer_replica(partition, self._rack) >= 0)
            ):
                return None
            result = self._read_log(log, target, self._max_bytes, True)
        except KafkaError:
            return None
        if result.aborted or not result.nbytes:
            result.let_go()
            return None
        session = self._session
        if session is not None:
            session.is_news(target, result.high_watermark, result.log_start_offset, True)
            session.served(target)
        name_or_id = target.key[0]
        return lone_fetch.lone_fetch(
            version,
            0 if session is None else session.id,
            name_or_id if isinstance(name_or_id, bytes) else lone_fetch.encode_name(version, name_or_id),
            (target.index, 0, result.high_watermark, result.last_stable_offset, result.log_start_offset),
            result.records,
            self.committed_only,
        )

    def _answer(self, targets: Collection[FetchTarget]) -> FetchResponse:
        left = self._max_bytes
        first = True  # the first batch found goes out whole, whatever the limits
        session = self._session
        responses: list[TopicResponse] = []
        served: list[FetchTarget] = []
        led_elsewhere = False
        for target in targets:
            data, result, partition = self._read(target, left, first)
            if result is not None:
                size = result.nbytes
                if size:
                    first = False
                    left = max(0, left - size)
                    served.append(target)
                    data.records = result.records
            diverging = data.diverging_epoch.epoch >= 0
            if session is not None or self._incremental:
                has_more = (
                    bool(data.error_code)
                    or diverging
                    or data.preferred_read_replica >= 0
                    or bool(served and served[-1] is target)
                )
                if session is not None and not has_more and partition is not None:
                    self._let_rest(session, target, partition)
                news = session is None or session.is_news(target, data.high_watermark, data.log_start_offset, has_more)
                if self._incremental and not news:
                    continue
            last = responses[-1] if responses else None
            if last is None or last.topic != target.topic or last.topic_id != target.topic_id:
                last = TopicResponse(topic=target.topic, topic_id=target.topic_id)
                responses.append(last)
            last.partitions.append(data)
            if data.error_code in _LED_ELSEWHERE:
                led_elsewhere = True
        if session is not None:
            for target in served:
                session.served(target)
        response = FetchResponse(session_id=session.id if session is not None else 0, responses=responses)
        if led_elsewhere and self._context.api_version >= _TELLS_LEADER_FROM:
            response.node_endpoints = self._tell_leaders(response)
        return response

    def _let_rest(self, session: FetchSession, target: FetchTarget, partition: Partition) -> None:
        """Unless something is there to read, or may be without an append (records that a flush makes visible)."""
        log = partition.log
        visible = log.last_stable_offset if self.committed_only else log.high_watermark
        if target.fetch_offset >= visible and log.high_watermark == log.log_end_offset:
            session.rest(target, partition)

    def _tell_leaders(self, response: FetchResponse) -> list[FetchResponse.NodeEndpoint]:
        """KIP-951: who leads what was refused, so that nobody has to ask for metadata first; and where they are."""
        cluster = self._broker.cluster
        refused: list[Partition] = []
        for topic_answer in response.responses:
            topic = cluster.topics_by_id.get(topic_answer.topic_id)
            for answer in topic_answer.partitions:
                partition = topic.partition(answer.partition_index) if topic is not None else None
                if partition is None or answer.error_code not in _LED_ELSEWHERE:
                    continue
                answer.current_leader = FetchResponse.LeaderIdAndEpoch(
                    leader_id=partition.leader, leader_epoch=partition.leader_epoch
                )
                refused.append(partition)
        return [
            FetchResponse.NodeEndpoint(node_id=node_id, host=host, port=port, rack=rack)
            for node_id, host, port, rack in leader_endpoints(cluster, self._context.connection, refused)
        ]

    def _read(
        self, target: FetchTarget, left: int, first: bool
    ) -> tuple[PartitionResponse, ReadResult | None, Partition | None]:
        data = PartitionResponse(
            partition_index=target.index,
            high_watermark=-1,
            records=b"",
            aborted_transactions=[] if self.committed_only else None,
        )
        try:
            partition, diverging = self._readable(target)
            if diverging is not None:
                data.diverging_epoch = diverging
                data.aborted_transactions = None
                _tell_offsets(data, partition)
                return data, None, partition
            log = partition.log
            nearer = -1 if self._rack is None else self._nearer_replica(partition, self._rack)
            if nearer >= 0 or target.fetch_offset >= log.high_watermark or (not left and not first):
                data.preferred_read_replica = nearer
                _tell_offsets(data, partition)
                return data, None, partition
            result = self._read_log(log, target, left, first)
        except KafkaError as fault:
            data.error_code = fault.code
            # Kafka's two ways to fail, before a read and in it, differ in this field; what goes while a Fetch waits
            # is missed by the read.
            before = fault.code in NOT_THERE and (self._absent is None or target.key in self._absent)
            data.aborted_transactions = [] if before else None
            return data, None, None
        if result.aborted:
            data.aborted_transactions = [
                AbortedTransaction(producer_id=aborted.producer_id, first_offset=aborted.first_offset)
                for aborted in result.aborted
            ]
        data.high_watermark = result.high_watermark
        data.last_stable_offset = result.last_stable_offset
        data.log_start_offset = result.log_start_offset
        return data, result, partition


def _selects_by_rack(broker: Broker) -> bool:
    name = broker.config.replica_selector_class
    return name is not None and name.endswith("RackAwareReplicaSelector")


def _tell_offsets(data: PartitionResponse, partition: Partition) -> None:
    log = partition.log
    data.high_watermark = log.high_watermark
    data.last_stable_offset = log.last_stable_offset
    data.log_start_offset = log.log_start_offset


def _diverging(partition: Partition, target: FetchTarget) -> EpochEndOffset | None:
    """KIP-595: where the log of a client that last read in `last_fetched_epoch` leaves ours, if it does."""
    if target.last_fetched_epoch == partition.leader_epoch:  # reaches to the end, also before its first record
        epoch, end_offset = partition.leader_epoch, partition.log.log_end_offset
    else:
        epoch, end_offset = partition.log.end_offset_for_epoch(target.last_fetched_epoch)
    if epoch < 0:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    if epoch < target.last_fetched_epoch or end_offset < target.fetch_offset:
        return EpochEndOffset(epoch=epoch, end_offset=end_offset)
    return None
