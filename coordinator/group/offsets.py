"""Committed offsets: the store of one shard, and what OffsetCommit, OffsetFetch and OffsetDelete decide.

Who may commit is the group's to say (`ClassicGroup.check_commit`). Nothing here writes; `Shard.run` does.
"""

from __future__ import annotations

from collections.abc import Iterator

from ottla.coordinator.group.classic import CONSUMER_PROTOCOL_TYPE, ClassicGroup, GroupState
from ottla.coordinator.group.config import GroupConfig
from ottla.coordinator.group.records import commit_record, commit_tombstone, group_tombstone
from ottla.coordinator.ports import TopicLookup
from ottla.coordinator.result import Result, commit_write_error, group_write_error
from ottla.coordinator.state_record import StateRecord
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from ottla.wire.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from ottla.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchResponse
from ottla.wire.schema import ZERO_UUID
from ottla.wire.state.consumer_offsets import OffsetCommitValue

TOPIC_IDS_FROM = 10  # OffsetCommit and OffsetFetch name topics by id from here on
GROUPS_FROM = 8  # OffsetFetch asks for several groups from here on
_GROUP_ID_NOT_FOUND_FROM = 9
_MINUTE_MS = 60_000


class OffsetStore:
    """The last committed offset of each (group, topic, partition) of a shard, as its record has it."""

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, dict[int, OffsetCommitValue]]] = {}

    def save(self, group_id: str, topic: str, partition: int, value: OffsetCommitValue) -> None:
        """Replay of a commit."""
        self._groups.setdefault(group_id, {}).setdefault(topic, {})[partition] = value

    def forget(self, group_id: str, topic: str, partition: int) -> None:
        """Replay of a tombstone."""
        topics = self._groups.get(group_id, {})
        partitions = topics.get(topic, {})
        if partitions.pop(partition, None) is not None and not partitions:
            del topics[topic]
            if not topics:
                del self._groups[group_id]

    def get(self, group_id: str, topic: str, partition: int) -> OffsetCommitValue | None:
        """The committed offset, if any."""
        partitions = self.of_topic(group_id, topic)
        return partitions.get(partition)

    def of_topic(self, group_id: str, topic: str) -> dict[int, OffsetCommitValue]:
        """By partition; not to be changed by the caller."""
        return self._groups.get(group_id, {}).get(topic, {})

    def of_group(self, group_id: str) -> dict[str, dict[int, OffsetCommitValue]]:
        """By topic and partition; not to be changed by the caller."""
        return self._groups.get(group_id, {})

    def groups_with(self, topic: str) -> list[str]:
        """Groups that have an offset of the topic."""
        return [group_id for group_id, topics in self._groups.items() if topic in topics]

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        """How many offsets there are."""
        return sum(len(partitions) for topics in self._groups.values() for partitions in topics.values())


# -- OffsetCommit -----------------------------------------------------------------------------------------------------


def commit_refused(request: OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse:
    """The same code for every partition."""
    partition_response = OffsetCommitResponse.OffsetCommitResponsePartition
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponse.OffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    partition_response(partition_index=partition.partition_index, error_code=code)
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def check_commit(group: ClassicGroup | None, request: OffsetCommitRequest, version: int) -> ErrorCode:
    """Whether the sender may commit; a group that does not exist is made by a commit without generation."""
    generation = request.generation_id_or_member_epoch
    if group is not None:
        return group.check_commit(request.member_id, request.group_instance_id, generation)
    if generation < 0:
        return ErrorCode.NONE
    return ErrorCode.GROUP_ID_NOT_FOUND if version >= _GROUP_ID_NOT_FOUND_FROM else ErrorCode.ILLEGAL_GENERATION


def decide_commit(
    group: ClassicGroup | None,
    request: OffsetCommitRequest,
    version: int,
    *,
    topics: TopicLookup,
    config: GroupConfig,
    now_ms: int,
) -> Result[OffsetCommitResponse]:
    """Records of the partitions that may be committed, and the answer for all. `now_ms` is wall time.

    What is wrong with one topic or partition does not stop the rest.
    """
    response = OffsetCommitResponse(topics=[])
    records: list[StateRecord] = []
    committed: list[OffsetCommitResponse.OffsetCommitResponsePartition] = []
    by_id = version >= TOPIC_IDS_FROM
    refusal: ErrorCode | None = None  # of the whole group; asked for when a partition needs it
    expire_ms = now_ms + request.retention_time_ms if request.retention_time_ms != -1 else None
    max_metadata = config.offset_metadata_max_bytes
    for topic in request.topics:
        name = topics.name_of(topic.topic_id) if by_id else topic.name
        topic_id = topic.topic_id if by_id else topics.id_of(topic.name) or ZERO_UUID
        count = topics.partition_count(name) if name is not None else None
        answers: list[OffsetCommitResponse.OffsetCommitResponsePartition] = []
        for partition in topic.partitions:
            index = partition.partition_index
            code = ErrorCode.NONE
            if name is None:
                code = ErrorCode.UNKNOWN_TOPIC_ID
            elif count is None or not 0 <= index < count:
                code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            else:
                if refusal is None:
                    refusal = check_commit(group, request, version)
                code = refusal
                metadata = partition.committed_metadata or ""
                if code is ErrorCode.NONE and _longer_than(metadata, max_metadata):
                    code = ErrorCode.OFFSET_METADATA_TOO_LARGE
            answer = OffsetCommitResponse.OffsetCommitResponsePartition(partition_index=index, error_code=code)
            answers.append(answer)
            if code is ErrorCode.NONE and name is not None:
                committed.append(answer)
                records.append(
                    commit_record(
                        request.group_id,
                        name,
                        index,
                        offset=partition.committed_offset,
                        leader_epoch=partition.committed_leader_epoch,
                        metadata=metadata,
                        commit_timestamp_ms=now_ms,
                        expire_timestamp_ms=expire_ms,
                        topic_id=topic_id,
                    )
                )
        response.topics.append(
            OffsetCommitResponse.OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=answers)
        )

    def refused(code: ErrorCode) -> OffsetCommitResponse:
        for answer in committed:
            answer.error_code = commit_write_error(code)
        return response

    return Result(response, records, refused=refused)


def _longer_than(text: str, limit: int) -> bool:
    """Kafka counts UTF-16 units."""
    return len(text) * 2 > limit and len(text.encode("utf-16-le", "surrogatepass")) > limit * 2


# -- OffsetFetch ------------------------------------------------------------------------------------------------------


def fetch_group(
    store: OffsetStore,
    asked: OffsetFetchRequest.OffsetFetchRequestGroup,
    version: int,
    topics: TopicLookup,
) -> OffsetFetchResponse.OffsetFetchResponseGroup:
    """The committed offsets of one group as OffsetFetch 8 and later answers them: all if no topics are named."""
    answer = OffsetFetchResponse.OffsetFetchResponseGroup(group_id=asked.group_id, topics=[])
    by_id = version >= TOPIC_IDS_FROM
    if asked.topics is None:
        for name, stored in store.of_group(asked.group_id).items():
            topic_id = topics.id_of(name)
            if by_id and topic_id is None:
                continue  # deleted: it has no id to be named by
            answer.topics.append(_fetched(name, topic_id or ZERO_UUID, stored, list(stored), ErrorCode.NONE))
        return answer
    for topic in asked.topics:
        found = topics.name_of(topic.topic_id) if by_id else topic.name
        code = ErrorCode.NONE if found is not None else ErrorCode.UNKNOWN_TOPIC_ID
        stored = {} if found is None else store.of_topic(asked.group_id, found)
        answer.topics.append(_fetched(found or "", topic.topic_id, stored, topic.partition_indexes, code))
    return answer


def fetch_refused(
    asked: OffsetFetchRequest.OffsetFetchRequestGroup, code: ErrorCode
) -> OffsetFetchResponse.OffsetFetchResponseGroup:
    """The same code for the group."""
    return OffsetFetchResponse.OffsetFetchResponseGroup(group_id=asked.group_id, topics=[], error_code=code)


def _fetched(
    name: str, topic_id: bytes, stored: dict[int, OffsetCommitValue], indexes: list[int], code: ErrorCode
) -> OffsetFetchResponse.OffsetFetchResponseTopics:
    partitions = []
    for index in indexes:
        value = stored.get(index)
        partition = OffsetFetchResponse.OffsetFetchResponsePartitions(
            partition_index=index, committed_offset=-1, committed_leader_epoch=-1, metadata="", error_code=code
        )
        if value is not None:
            partition.committed_offset = value.offset
            partition.committed_leader_epoch = value.leader_epoch
            partition.metadata = value.metadata
        partitions.append(partition)
    return OffsetFetchResponse.OffsetFetchResponseTopics(name=name, topic_id=topic_id, partitions=partitions)


def single_group_request(request: OffsetFetchRequest) -> OffsetFetchRequest.OffsetFetchRequestGroup:
    """What versions below 8 ask, in the form of 8."""
    topics = None
    if request.topics is not None:
        topics = [
            OffsetFetchRequest.OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes)
            for topic in request.topics
        ]
    return OffsetFetchRequest.OffsetFetchRequestGroup(group_id=request.group_id, topics=topics)


def single_group_response(
    asked: OffsetFetchRequest.OffsetFetchRequestGroup,
    group: OffsetFetchResponse.OffsetFetchResponseGroup,
    version: int,
) -> OffsetFetchResponse:
    """The answer of versions below 8; version 1 has no code of its own, so partitions carry the group's."""
    group_code = ErrorCode(group.error_code)
    if group_code is not ErrorCode.NONE and version < 2:
        group.topics = [
            _fetched(topic.name, ZERO_UUID, {}, topic.partition_indexes, group_code) for topic in asked.topics or []
        ]
        group_code = ErrorCode.NONE
    response = OffsetFetchResponse(error_code=group_code, topics=[])
    for topic in group.topics:
        partitions = [
            OffsetFetchResponse.OffsetFetchResponsePartition(
                partition_index=partition.partition_index,
                committed_offset=partition.committed_offset,
                committed_leader_epoch=partition.committed_leader_epoch,
                metadata=partition.metadata,
                error_code=partition.error_code,
            )
            for partition in topic.partitions
        ]
        response.topics.append(OffsetFetchResponse.OffsetFetchResponseTopic(name=topic.name, partitions=partitions))
    return response


# -- OffsetDelete, expiry, deletion -----------------------------------------------------------------------------------


def decide_delete(
    store: OffsetStore, group: ClassicGroup | None, request: OffsetDeleteRequest, topics: TopicLookup
) -> Result[OffsetDeleteResponse]:
    """OffsetDelete: all but the offsets of topics that the group's consumers still read."""
    if group is None or group.state is GroupState.DEAD:
        return Result(OffsetDeleteResponse(error_code=ErrorCode.GROUP_ID_NOT_FOUND))
    if group.state is not GroupState.EMPTY and group.protocol_type != CONSUMER_PROTOCOL_TYPE:
        return Result(OffsetDeleteResponse(error_code=ErrorCode.NON_EMPTY_GROUP))
    subscribed = group.subscribed_topics()
    response = OffsetDeleteResponse(topics=[])
    records: list[StateRecord] = []
    for topic in request.topics:
        answers = []
        count = topics.partition_count(topic.name)
        for partition in topic.partitions:
            index = partition.partition_index
            code = ErrorCode.NONE
            if count is None or not 0 <= index < count:
                code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            elif topic.name in subscribed:
                code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
            elif store.get(request.group_id, topic.name, index) is not None:
                records.append(commit_tombstone(request.group_id, topic.name, index))
            answers.append(OffsetDeleteResponse.OffsetDeleteResponsePartition(partition_index=index, error_code=code))
        response.topics.append(OffsetDeleteResponse.OffsetDeleteResponseTopic(name=topic.name, partitions=answers))
    return Result(response, records, refused=lambda code: OffsetDeleteResponse(error_code=group_write_error(code)))


def delete_group_records(store: OffsetStore, group_id: str) -> list[StateRecord]:
    """Tombstones of all offsets of a group, then of the group."""
    records = [
        commit_tombstone(group_id, topic, partition)
        for topic, partitions in store.of_group(group_id).items()
        for partition in partitions
    ]
    records.append(group_tombstone(group_id))
    return records


def expired_records(store: OffsetStore, group: ClassicGroup, config: GroupConfig, now_ms: int) -> list[StateRecord]:
    """Tombstones of what outlived its retention; of the group too when it is empty and nothing is left of it.

    `now_ms` is wall time. An expiry given with the commit wins over `offsets.retention.minutes`.
    """
    retention_ms = config.offsets_retention_minutes * _MINUTE_MS
    records: list[StateRecord] = []
    subscribed = group.subscribed_topics()
    left = False
    for topic, partitions in store.of_group(group.group_id).items():
        for partition, value in partitions.items():
            start_ms = group.retention_start_ms(value.commit_timestamp)
            if start_ms is None or topic in subscribed:
                end_ms = None
            else:
                end_ms = value.expire_timestamp if value.expire_timestamp != -1 else start_ms + retention_ms
            if end_ms is not None and now_ms >= end_ms:
                records.append(commit_tombstone(group.group_id, topic, partition))
            else:
                left = True
    if not left and group.state is GroupState.EMPTY and not group.pending:
        records.append(group_tombstone(group.group_id))
    return records
