"""What OffsetCommit and TxnOffsetCommit decide: which partitions are committed, with which records.

Who may commit is the group's to say (`Group.check_commit`). Nothing here writes; `Shard.run` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from ottla.coordinator.group.config import GroupConfig
from ottla.coordinator.group.group import Group
from ottla.coordinator.group.records import commit_record
from ottla.coordinator.ports import TopicLookup
from ottla.coordinator.result import Result, commit_write_error, group_write_error
from ottla.coordinator.state_record import StateRecord
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from ottla.wire.messages.txn_offset_commit import TxnOffsetCommitRequest, TxnOffsetCommitResponse
from ottla.wire.schema import ZERO_UUID

T = TypeVar("T")

_TOPIC_IDS_FROM = 10  # OffsetCommit names topics by id from here on
_TXN_TOPIC_IDS_FROM = 6  # so does TxnOffsetCommit
_GROUP_ID_NOT_FOUND_FROM = 9
_TXN_STALE_EPOCH_FROM = 6
_MAX_TIMESTAMP_MS = 2**63 - 1

_Codes = list[list[ErrorCode]]  # by topic and partition of the request, in its order


class _Partition(Protocol):
    """A partition as both requests have it."""

    partition_index: int
    committed_offset: int
    committed_leader_epoch: int
    committed_metadata: str | None


class _Topic(Protocol):
    """A topic as both requests have it."""

    name: str
    topic_id: bytes

    @property
    def partitions(self) -> Sequence[_Partition]: ...


class _Commit(NamedTuple):
    """One commit of either kind."""

    group_id: str
    member_id: str
    instance_id: str | None
    epoch: int  # generation or member epoch
    topics: Sequence[_Topic]
    by_id: bool
    version: int
    transactional: bool
    expire_timestamp_ms: int | None
    unknown_group: ErrorCode  # when an epoch is given


def decide_commit(
    group: Group | None,
    request: OffsetCommitRequest,
    version: int,
    *,
    refusal: ErrorCode,
    topics: TopicLookup,
    config: GroupConfig,
    now_ms: int,
) -> Result[OffsetCommitResponse]:
    """OffsetCommit: records of the partitions that may be committed, and the answer for all. `now_ms` is wall time.

    `refusal`: why nobody can commit for the group here, NONE if the group may decide.
    """
    has_expiry = request.retention_time_ms != -1
    commit = _Commit(
        request.group_id,
        request.member_id,
        request.group_instance_id,
        request.generation_id_or_member_epoch,
        request.topics,
        by_id=version >= _TOPIC_IDS_FROM,
        version=version,
        transactional=False,
        expire_timestamp_ms=min(now_ms + request.retention_time_ms, _MAX_TIMESTAMP_MS) if has_expiry else None,
        unknown_group=(
            ErrorCode.GROUP_ID_NOT_FOUND if version >= _GROUP_ID_NOT_FOUND_FROM else ErrorCode.ILLEGAL_GENERATION
        ),
    )
    codes, records = _decide(group, commit, topics, config, now_ms, refusal or None)
    return Result(
        _answer(request, codes),
        records,
        refused=lambda code: _answer(request, _instead(codes, commit_write_error(code))),
    )


def decide_transactional_commit(
    group: Group | None,
    request: TxnOffsetCommitRequest,
    version: int,
    *,
    refusal: ErrorCode,
    topics: TopicLookup,
    config: GroupConfig,
    now_ms: int,
) -> Result[TxnOffsetCommitResponse]:
    """TxnOffsetCommit: the same, as records of the producer's transaction. `now_ms` is wall time.

    `refusal`: what is wrong with the transaction, NONE if the group may decide.
    """
    commit = _Commit(
        request.group_id,
        request.member_id,
        request.group_instance_id,
        request.generation_id_or_member_epoch,
        request.topics,
        by_id=version >= _TXN_TOPIC_IDS_FROM,
        version=version,
        transactional=True,
        expire_timestamp_ms=None,
        unknown_group=(
            ErrorCode.GROUP_ID_NOT_FOUND if version >= _TXN_STALE_EPOCH_FROM else ErrorCode.ILLEGAL_GENERATION
        ),
    )
    codes, records = _decide(group, commit, topics, config, now_ms, group_write_error(refusal) or None)
    if version < _TXN_STALE_EPOCH_FROM:
        codes = [
            [ErrorCode.ILLEGAL_GENERATION if code is ErrorCode.STALE_MEMBER_EPOCH else code for code in each]
            for each in codes
        ]
    return Result(
        _txn_answer(request, codes),
        records,
        refused=lambda code: _txn_answer(request, _instead(codes, group_write_error(code))),
        producer=(request.producer_id, request.producer_epoch),
    )


def names_something(request: TxnOffsetCommitRequest, version: int, topics: TopicLookup) -> bool:
    """Whether there is a partition to commit for, so that the transaction and the group have to be asked."""
    for topic in request.topics:
        name = topics.name_of(topic.topic_id) if version >= _TXN_TOPIC_IDS_FROM else topic.name
        count = topics.partition_count(name) if name is not None else None
        if count is not None and any(0 <= partition.partition_index < count for partition in topic.partitions):
            return True
    return False


def _decide(
    group: Group | None,
    commit: _Commit,
    topics: TopicLookup,
    config: GroupConfig,
    now_ms: int,
    refusal: ErrorCode | None = None,
) -> tuple[_Codes, list[StateRecord]]:
    """What is wrong with one topic or partition does not stop the rest; what the group refuses (or someone before it,
    `refusal`) is refused as a whole.
    """
    codes: _Codes = []
    records: list[StateRecord] = []
    max_metadata = config.offset_metadata_max_bytes
    for topic in commit.topics:
        name = topics.name_of(topic.topic_id) if commit.by_id else topic.name
        topic_id = topic.topic_id if commit.by_id else topics.id_of(topic.name) or ZERO_UUID
        count = topics.partition_count(name) if name is not None else None
        answers: list[ErrorCode] = []
        codes.append(answers)
        for partition in topic.partitions:
            index = partition.partition_index
            if name is None:
                answers.append(ErrorCode.UNKNOWN_TOPIC_ID)
                continue
            if count is None or not 0 <= index < count:
                answers.append(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
                continue
            if refusal is None:
                refusal = _check_group(group, commit)
            metadata = partition.committed_metadata or ""
            if _longer_than(metadata, max_metadata):
                answers.append(ErrorCode.OFFSET_METADATA_TOO_LARGE)
                continue
            answers.append(ErrorCode.NONE)
            if group is not None and refusal is ErrorCode.NONE:
                refusal = group.check_commit_of(commit.member_id, commit.epoch, topic_id, index)
            if refusal is ErrorCode.NONE:
                records.append(
                    commit_record(
                        commit.group_id,
                        name,
                        index,
                        offset=partition.committed_offset,
                        leader_epoch=partition.committed_leader_epoch,
                        metadata=metadata,
                        commit_timestamp_ms=now_ms,
                        expire_timestamp_ms=commit.expire_timestamp_ms,
                        topic_id=topic_id,
                    )
                )
    if refusal is None or refusal is ErrorCode.NONE:
        return codes, records
    return _instead(_instead(codes, refusal), refusal, of=ErrorCode.OFFSET_METADATA_TOO_LARGE), []


def _check_group(group: Group | None, commit: _Commit) -> ErrorCode:
    """A group that does not exist is made by a commit without generation."""
    if group is None:
        return ErrorCode.NONE if commit.epoch < 0 else commit.unknown_group
    return group.check_commit(
        commit.member_id, commit.instance_id, commit.epoch, commit.version, transactional=commit.transactional
    )


def _instead(codes: _Codes, code: ErrorCode, of: ErrorCode = ErrorCode.NONE) -> _Codes:
    return [[code if each is of else each for each in answers] for answers in codes]


def _longer_than(text: str, limit: int) -> bool:
    """Kafka counts UTF-16 units."""
    return len(text) * 2 > limit and len(text.encode("utf-16-le", "surrogatepass")) > limit * 2


def _answer(request: OffsetCommitRequest, codes: _Codes) -> OffsetCommitResponse:
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponse.OffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=_zipped(OffsetCommitResponse.OffsetCommitResponsePartition, topic, answers),
            )
            for topic, answers in zip(request.topics, codes, strict=True)
        ]
    )


def _txn_answer(request: TxnOffsetCommitRequest, codes: _Codes) -> TxnOffsetCommitResponse:
    return TxnOffsetCommitResponse(
        topics=[
            TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=_zipped(TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition, topic, answers),
            )
            for topic, answers in zip(request.topics, codes, strict=True)
        ]
    )


def _zipped(make: Callable[..., T], topic: _Topic, codes: list[ErrorCode]) -> list[T]:
    return [
        make(partition_index=partition.partition_index, error_code=code)
        for partition, code in zip(topic.partitions, codes, strict=True)
    ]
