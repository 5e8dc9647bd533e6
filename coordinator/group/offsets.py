"""Committed offsets are asked for, deleted, and outlive their time: OffsetFetch, OffsetDelete, retention.

How they come to be is commits.py's. Nothing here writes; `Shard.run` does.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from ottla.coordinator.group.config import GroupConfig
from ottla.coordinator.group.consumer_records import group_tombstones
from ottla.coordinator.group.group import Group
from ottla.coordinator.group.offset_store import OffsetStore
from ottla.coordinator.group.records import commit_tombstone
from ottla.coordinator.ports import TopicLookup
from ottla.coordinator.result import Result, group_write_error
from ottla.coordinator.state_record import StateRecord
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from ottla.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchResponse
from ottla.wire.schema import ZERO_UUID
from ottla.wire.state.consumer_offsets import OffsetCommitValue

GROUPS_FROM = 8  # OffsetFetch asks for several groups from here on
_TOPIC_IDS_FROM = 10  # and names topics by id from here on
_MINUTE_MS = 60_000


# -- OffsetFetch ------------------------------------------------------------------------------------------------------


def fetch_group(
    store: OffsetStore,
    group: Group | None,
    asked: OffsetFetchRequest.OffsetFetchRequestGroup,
    version: int,
    topics: TopicLookup,
    *,
    require_stable: bool,
) -> OffsetFetchResponse.OffsetFetchResponseGroup:
    """The committed offsets of one group as OffsetFetch 8 and later answers them: all if no topics are named.

    `require_stable` (KIP-447): a partition with a pending commit has an error in place of its offset.
    """
    code = ErrorCode.NONE if group is None else group.check_fetch(asked.member_id, asked.member_epoch)
    if code is not ErrorCode.NONE:
        return fetch_refused(asked, code)
    answer = OffsetFetchResponse.OffsetFetchResponseGroup(group_id=asked.group_id, topics=[])
    by_id = version >= _TOPIC_IDS_FROM
    pending = store.pending_of(asked.group_id) if require_stable else {}
    if asked.topics is None:
        for name, stored in store.of_group(asked.group_id).items():
            topic_id = topics.id_of(name)
            if by_id and topic_id is None:
                continue  # deleted: it has no id to be named by
            answer.topics.append(_fetched(name, topic_id or ZERO_UUID, stored, list(stored), pending))
        return answer
    for topic in asked.topics:
        found = topics.name_of(topic.topic_id) if by_id else topic.name
        if found is None:
            answer.topics.append(_not_fetched("", topic.topic_id, topic.partition_indexes, ErrorCode.UNKNOWN_TOPIC_ID))
            continue
        stored = store.of_topic(asked.group_id, found)
        answer.topics.append(_fetched(found, topic.topic_id, stored, topic.partition_indexes, pending))
    return answer


def each_once(
    groups: list[OffsetFetchRequest.OffsetFetchRequestGroup],
) -> Iterable[OffsetFetchRequest.OffsetFetchRequestGroup]:
    """Groups, topics and partitions named again do not count: else a small request could ask for an answer of any size.

    Of a group named twice all topics are answered together.
    """
    by_id: dict[str, OffsetFetchRequest.OffsetFetchRequestGroup] = {}
    for group in groups:
        first = by_id.setdefault(group.group_id, group)
        if first.topics is None or group.topics is None:
            first.topics = None
        elif first is not group:
            first.topics += group.topics
    for group in by_id.values():
        topics: dict[tuple[str, bytes], OffsetFetchRequest.OffsetFetchRequestTopics] = {}
        for topic in group.topics or ():
            same = topics.setdefault((topic.name, topic.topic_id), topic)
            if same is not topic:
                same.partition_indexes += topic.partition_indexes
        for topic in topics.values():
            topic.partition_indexes = list(dict.fromkeys(topic.partition_indexes))
        if group.topics is not None:
            group.topics = list(topics.values())
    return by_id.values()


def fetch_refused(
    asked: OffsetFetchRequest.OffsetFetchRequestGroup, code: ErrorCode
) -> OffsetFetchResponse.OffsetFetchResponseGroup:
    """The same code for the group."""
    return OffsetFetchResponse.OffsetFetchResponseGroup(group_id=asked.group_id, topics=[], error_code=code)


def _fetched(
    name: str,
    topic_id: bytes,
    stored: dict[int, OffsetCommitValue],
    indexes: list[int],
    pending: Container[tuple[str, int]],
) -> OffsetFetchResponse.OffsetFetchResponseTopics:
    partitions = []
    for index in indexes:
        value = stored.get(index)
        unstable = bool(pending) and (name, index) in pending
        partition = OffsetFetchResponse.OffsetFetchResponsePartitions(
            partition_index=index,
            committed_offset=-1,
            committed_leader_epoch=-1,
            metadata="",
            error_code=ErrorCode.UNSTABLE_OFFSET_COMMIT if unstable else ErrorCode.NONE,
        )
        if value is not None and not unstable:
            partition.committed_offset = value.offset
            partition.committed_leader_epoch = value.leader_epoch
            partition.metadata = value.metadata
        partitions.append(partition)
    return OffsetFetchResponse.OffsetFetchResponseTopics(name=name, topic_id=topic_id, partitions=partitions)


def _not_fetched(
    name: str, topic_id: bytes, indexes: list[int], code: ErrorCode
) -> OffsetFetchResponse.OffsetFetchResponseTopics:
    return OffsetFetchResponse.OffsetFetchResponseTopics(
        name=name,
        topic_id=topic_id,
        partitions=[
            OffsetFetchResponse.OffsetFetchResponsePartitions(
                partition_index=index, committed_offset=-1, committed_leader_epoch=-1, metadata="", error_code=code
            )
            for index in indexes
        ],
    )


def single_group_request(request: OffsetFetchRequest) -> OffsetFetchRequest.OffsetFetchRequestGroup:
    """What versions below 8 ask, in the form of 8."""
    topics = None
    if request.topics is not None:
        topics = [
            OffsetFetchRequest.OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes)
            for topic in request.topics
        ]
    group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id=request.group_id, topics=topics)
    return next(iter(each_once([group])))


def single_group_response(
    asked: OffsetFetchRequest.OffsetFetchRequestGroup,
    group: OffsetFetchResponse.OffsetFetchResponseGroup,
    version: int,
) -> OffsetFetchResponse:
    """The answer of versions below 8; version 1 has no code of its own, so partitions carry the group's."""
    group_code = ErrorCode(group.error_code)
    if group_code is not ErrorCode.NONE and version < 2:
        group.topics = [
            _not_fetched(topic.name, ZERO_UUID, topic.partition_indexes, group_code) for topic in asked.topics or []
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
    store: OffsetStore, group: Group | None, request: OffsetDeleteRequest, topics: TopicLookup
) -> Result[OffsetDeleteResponse]:
    """OffsetDelete: all but the offsets of topics that the group's consumers still read."""
    refusal = ErrorCode.GROUP_ID_NOT_FOUND if group is None else group.check_delete_offsets()
    if group is None or refusal is not ErrorCode.NONE:
        return Result(OffsetDeleteResponse(error_code=refusal))
    subscribed = group.subscribed_topics()
    pending = store.pending_of(request.group_id)
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
            elif subscribed is None or topic.name in subscribed:
                code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
            elif store.get(request.group_id, topic.name, index) is not None or (topic.name, index) in pending:
                records.append(commit_tombstone(request.group_id, topic.name, index))
            answers.append(OffsetDeleteResponse.OffsetDeleteResponsePartition(partition_index=index, error_code=code))
        response.topics.append(OffsetDeleteResponse.OffsetDeleteResponseTopic(name=topic.name, partitions=answers))
    return Result(response, records, refused=lambda code: OffsetDeleteResponse(error_code=group_write_error(code)))


def delete_group_records(store: OffsetStore, group: Group) -> list[StateRecord]:
    """Tombstones of all offsets of a group, pending ones too, then of the group."""
    group_id = group.group_id
    records = [commit_tombstone(group_id, topic, partition) for topic, partition in store.places_of(group_id)]
    return records + group_tombstones(group)


def orphan_records(store: OffsetStore, topics: TopicLookup) -> list[StateRecord]:
    """Tombstones of offsets whose topic is gone: a crash came between its deletion and their tombstones, and a new
    topic of that name must not begin with them. Commits name topics that exist only, so there are no others.
    """
    ids: dict[str, bytes | None] = {}

    def is_orphan(topic: str, value: OffsetCommitValue) -> bool:
        if topic not in ids:
            ids[topic] = topics.id_of(topic)
        return ids[topic] is None or value.topic_id not in (ZERO_UUID, ids[topic])

    orphans = {(group_id, topic, at) for group_id, topic, at, value in store.values() if is_orphan(topic, value)}
    if orphans:  # a tombstone takes all that is there along: not what is of the new topic
        orphans -= {
            (group_id, topic, at) for group_id, topic, at, value in store.values() if not is_orphan(topic, value)
        }
    return [commit_tombstone(*place) for place in sorted(orphans)]


def expired_records(store: OffsetStore, group: Group, config: GroupConfig, now_ms: int) -> list[StateRecord]:
    """Tombstones of what outlived its retention; of the group too when it is empty and nothing is left of it.

    `now_ms` is wall time. An expiry given with the commit wins over `offsets.retention.minutes`. A partition with a
    pending commit keeps what it has.
    """
    retention_ms = config.offsets_retention_minutes * _MINUTE_MS
    records: list[StateRecord] = []
    stored = store.of_group(group.group_id)
    subscribed = group.subscribed_topics() if stored else None
    pending = store.pending_of(group.group_id)
    left = bool(pending)
    for topic, partitions in stored.items():
        is_read = subscribed is None or topic in subscribed
        for partition, value in partitions.items():
            start_ms = group.retention_start_ms(value.commit_timestamp)
            if start_ms is None or is_read or (topic, partition) in pending:
                left = True
                continue
            end_ms = value.expire_timestamp if value.expire_timestamp != -1 else start_ms + retention_ms
            if now_ms >= end_ms:
                records.append(commit_tombstone(group.group_id, topic, partition))
            else:
                left = True
    if not left and group.may_expire:
        records += group_tombstones(group)
    return records
