"""What members, committers and admins ask, as short as can be."""

from typing import Any

from compat_tests.differential.asking import Story
from ottla.wire.messages.delete_groups import DeleteGroupsRequest
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.list_groups import ListGroupsRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_delete import OffsetDeleteRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from ottla.wire.messages.txn_offset_commit import TxnOffsetCommitRequest

Protocols = tuple[tuple[str, bytes], ...]
CONNECT = "connect"  # a protocol type whose metadata nobody parses
PROTOCOLS: Protocols = (("a", b"A"), ("b", b"B"))


class Group:
    """One group of a story, and what people ask of it."""

    def __init__(self, story: Story, word: str = "group") -> None:
        self.story = story
        self.id = f"{story.name}-{word}"

    # -- members ------------------------------------------------------------------------------------------------------

    def join_request(
        self,
        member_id: str = "",
        *,
        instance: str | None = None,
        protocols: Protocols = PROTOCOLS,
        kind: str = CONNECT,
        session_ms: int = 30_000,
        rebalance_ms: int = 30_000,
    ) -> JoinGroupRequest:
        return JoinGroupRequest(
            group_id=self.id,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=kind,
            protocols=[
                JoinGroupRequest.JoinGroupRequestProtocol(name=name, metadata=metadata) for name, metadata in protocols
            ],
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
        )

    def join(self, member_id: str = "", *, who: str = "one", version: int = 9, **options: Any) -> Any:
        return self.story.ask(self.join_request(member_id, **options), version, who)

    def begin_join(self, member_id: str = "", *, who: str, version: int = 9, **options: Any) -> None:
        """Join where the answer waits for others."""
        self.story.begin(self.join_request(member_id, **options), version, who)

    def sync_request(
        self,
        member_id: str,
        generation: int,
        given: dict[str, bytes] | None = None,
        *,
        instance: str | None = None,
        kind: str | None = CONNECT,
        name: str | None = "a",
    ) -> SyncGroupRequest:
        return SyncGroupRequest(
            group_id=self.id,
            member_id=member_id,
            generation_id=generation,
            group_instance_id=instance,
            protocol_type=kind,
            protocol_name=name,
            assignments=[
                SyncGroupRequest.SyncGroupRequestAssignment(member_id=to, assignment=assignment)
                for to, assignment in (given or {}).items()
            ],
        )

    def sync(
        self,
        member_id: str,
        generation: int,
        given: dict[str, bytes] | None = None,
        *,
        who: str = "one",
        version: int = 5,
        **options: Any,
    ) -> Any:
        return self.story.ask(self.sync_request(member_id, generation, given, **options), version, who)

    def heartbeat(
        self, member_id: str, generation: int, *, instance: str | None = None, version: int = 4, who: str = "one"
    ) -> Any:
        request = HeartbeatRequest(
            group_id=self.id, member_id=member_id, generation_id=generation, group_instance_id=instance
        )
        return self.story.ask(request, version, who)

    def leave(self, *members: tuple[str, str | None], version: int = 5, who: str = "one") -> Any:
        if version < 3:
            return self.story.ask(LeaveGroupRequest(group_id=self.id, member_id=members[0][0]), version, who)
        identities = [
            LeaveGroupRequest.MemberIdentity(member_id=member_id, group_instance_id=instance)
            for member_id, instance in members
        ]
        return self.story.ask(LeaveGroupRequest(group_id=self.id, members=identities), version, who)

    # -- admins -------------------------------------------------------------------------------------------------------

    def describe(self, version: int = 6) -> Any:
        return self.story.ask(DescribeGroupsRequest(groups=[self.id]), version, "admin")

    def listed(self, *, states: tuple[str, ...] = (), types: tuple[str, ...] = (), version: int = 5) -> None:
        """What ListGroups says of this group among all others."""
        answer = self.story.quietly(ListGroupsRequest(states_filter=[*states], types_filter=[*types]), version)
        seen = [
            (group.protocol_type, group.group_state, group.group_type)
            for group in answer.groups
            if group.group_id == self.id
        ]
        self.story.transcript.append(f"listed with {states} {types} at v{version}: {answer.error_code} {seen}")

    def until_state(self, state: str) -> None:
        """Wait for what the broker does of itself."""
        self.story.until(
            DescribeGroupsRequest(groups=[self.id]), 5, lambda answer: answer.groups[0].group_state == state
        )

    def until_members(self, count: int) -> None:
        """Wait for joins that are parked."""
        self.story.until(
            DescribeGroupsRequest(groups=[self.id]), 5, lambda answer: len(answer.groups[0].members) == count
        )

    def delete(self, version: int = 3) -> Any:
        return self.story.ask(DeleteGroupsRequest(groups_names=[self.id]), version, "admin")

    # -- offsets ------------------------------------------------------------------------------------------------------

    def commit(
        self,
        offsets: dict[tuple[str, int], int],
        member_id: str = "",
        generation: int = -1,
        *,
        instance: str | None = None,
        metadata: str | None = "note",
        version: int = 9,
        topic_ids: dict[str, bytes] | None = None,
        who: str = "one",
    ) -> Any:
        topics = [
            OffsetCommitRequest.OffsetCommitRequestTopic(
                name=f"{self.story.name}-{topic}" if version < 10 else "",
                topic_id=(topic_ids or {}).get(topic, bytes(16)),
                partitions=[
                    OffsetCommitRequest.OffsetCommitRequestPartition(
                        partition_index=partition,
                        committed_offset=offset,
                        committed_metadata=metadata,
                        committed_leader_epoch=0 if version >= 6 else -1,
                    )
                    for partition, offset in partitions.items()
                ],
            )
            for topic, partitions in _by_topic(offsets).items()
        ]
        request = OffsetCommitRequest(
            group_id=self.id,
            member_id=member_id,
            generation_id_or_member_epoch=generation,
            group_instance_id=instance,
            topics=topics,
        )
        return self.story.ask(request, version, who)

    def txn_commit(
        self,
        offsets: dict[tuple[str, int], int],
        producer: tuple[str, int, int],
        member_id: str = "",
        generation: int = -1,
        *,
        instance: str | None = None,
        metadata: str | None = "note",
        version: int = 5,
        who: str = "one",
    ) -> Any:
        """`producer`: (transactional id, producer id, epoch)."""
        topics = [
            TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(
                name=f"{self.story.name}-{topic}",
                partitions=[
                    TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition(
                        partition_index=partition, committed_offset=offset, committed_metadata=metadata
                    )
                    for partition, offset in partitions.items()
                ],
            )
            for topic, partitions in _by_topic(offsets).items()
        ]
        request = TxnOffsetCommitRequest(
            transactional_id=producer[0],
            group_id=self.id,
            producer_id=producer[1],
            producer_epoch=producer[2],
            member_id=member_id,
            generation_id_or_member_epoch=generation,
            group_instance_id=instance,
            topics=topics,
        )
        return self.story.ask(request, version, who)

    def fetch(
        self,
        topics: dict[str, list[int]] | None = None,
        *,
        version: int = 9,
        stable: bool = False,
        member: tuple[str | None, int] = (None, -1),
        topic_ids: dict[str, bytes] | None = None,
        who: str = "one",
    ) -> Any:
        """Committed offsets of these topics, of all if there are none."""
        name = self.story.name
        if version < 8:
            singles = None
            if topics is not None:
                singles = [
                    OffsetFetchRequest.OffsetFetchRequestTopic(name=f"{name}-{topic}", partition_indexes=indexes)
                    for topic, indexes in topics.items()
                ]
            single = OffsetFetchRequest(group_id=self.id, topics=singles, require_stable=stable)
            return self.story.ask(single, version, who)
        asked = None
        if topics is not None:
            asked = [
                OffsetFetchRequest.OffsetFetchRequestTopics(
                    name=f"{name}-{topic}" if version < 10 else "",
                    topic_id=(topic_ids or {}).get(topic, bytes(16)),
                    partition_indexes=indexes,
                )
                for topic, indexes in topics.items()
            ]
        group = OffsetFetchRequest.OffsetFetchRequestGroup(
            group_id=self.id, member_id=member[0], member_epoch=member[1], topics=asked
        )
        return self.story.ask(OffsetFetchRequest(groups=[group], require_stable=stable), version, who)

    def delete_offsets(self, topics: dict[str, list[int]]) -> Any:
        asked = [
            OffsetDeleteRequest.OffsetDeleteRequestTopic(
                name=f"{self.story.name}-{topic}",
                partitions=[
                    OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=index) for index in indexes
                ],
            )
            for topic, indexes in topics.items()
        ]
        return self.story.ask(OffsetDeleteRequest(group_id=self.id, topics=asked), 0, "admin")

    # -- beginnings ---------------------------------------------------------------------------------------------------

    def new_id(self, **options: Any) -> str:
        """An id that is handed out and not used yet."""
        member_id: str = self.join(**options).member_id
        return member_id

    def first_member(self, **options: Any) -> str:
        """The one member of a Stable group in generation 1."""
        member_id = self.new_id(**options)
        self.join(member_id, **options)
        name = options.get("protocols", PROTOCOLS)[0][0]
        self.sync(member_id, 1, {member_id: b"all"}, kind=options.get("kind", CONNECT), name=name)
        return member_id


def _by_topic(offsets: dict[tuple[str, int], int]) -> dict[str, dict[int, int]]:
    topics: dict[str, dict[int, int]] = {}
    for (topic, partition), offset in offsets.items():
        topics.setdefault(topic, {})[partition] = offset
    return topics
