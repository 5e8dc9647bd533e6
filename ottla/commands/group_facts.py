"""What the commands `groups` and `offsets` know about consumer groups: asked of a cluster, brought into one shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ottla.commands.base import CommandError
from ottla.commands.connect import error_of

if TYPE_CHECKING:
    from kafka.admin import KafkaAdminClient

Partition = tuple[str, int]  # topic, number


@dataclass
class Member:
    """A member of a group, and what it reads."""

    id: str
    client_id: str
    host: str
    instance_id: str | None
    partitions: list[Partition] = field(default_factory=list)


@dataclass
class Group:
    """A group, of the classic or the consumer protocol."""

    id: str
    state: str
    type: str
    assignor: str
    coordinator: int
    members: list[Member] = field(default_factory=list)


@dataclass(frozen=True)
class Position:
    """How far a group is in a partition; None where nothing is known."""

    topic: str
    partition: int
    committed: int | None
    start: int | None
    end: int | None

    @property
    def lag(self) -> int | None:
        """How many offsets there are still to read; None if nothing is committed, or no end is known."""
        if self.committed is None or self.end is None:
            return None
        return max(0, self.end - max(self.committed, self.start or 0))


def listed(client: KafkaAdminClient) -> dict[str, dict[str, Any]]:
    """All groups by id: state, type, protocol type. Raises KafkaError."""
    groups = {}
    for group in client.list_groups():
        groups[group["group_id"]] = {
            "group": group["group_id"],
            "state": group.get("group_state") or None,
            "type": (group.get("group_type") or "classic").lower(),
            "protocol": group["protocol_type"] or None,
        }
    return dict(sorted(groups.items()))


def described(client: KafkaAdminClient, ids: list[str]) -> tuple[list[Group], list[str]]:
    """The groups of these ids, and a sentence for each that there is not. Raises KafkaError."""
    from ottla.commands.requests import coordinators, describe_consumer_groups

    known = listed(client)
    failures = []
    groups = []
    places = coordinators(client, [group for group in ids if group in known]) if known.keys() & set(ids) else {}
    for group in ids:
        kind = known[group]["type"] if group in known else None
        if kind is None:
            failures.append(f"there is no group {group}; `ottla groups` lists the groups there are")
        elif kind == "consumer":
            answer = describe_consumer_groups(client, [group], places[group])[0]
            if answer.error_code:
                failures.append(error_of(answer.error_code, answer.error_message, f"group {group}"))
            else:
                groups.append(_of_consumer(answer, places[group]))
        elif kind == "classic":
            answer = client.describe_groups([group], group_coordinator_id=places[group])[group]
            if answer["error"]:
                failures.append(f"group {group}: {answer['error']}")
            else:
                groups.append(_of_classic(answer, places[group]))
        else:
            failures.append(f"{group} is a {kind} group, which this command does not describe")
    return groups, failures


def _of_consumer(answer: Any, coordinator: int) -> Group:
    members = [
        Member(
            member.member_id,
            member.client_id,
            member.client_host.removeprefix("/"),
            member.instance_id,
            [(part.topic_name, number) for part in member.assignment.topic_partitions for number in part.partitions],
        )
        for member in answer.members
    ]
    return Group(answer.group_id, answer.group_state, "consumer", answer.assignor_name, coordinator, members)


def _of_classic(answer: dict[str, Any], coordinator: int) -> Group:
    members = []
    for member in answer["members"]:
        assignment = member["member_assignment"]
        parts = assignment.get("assigned_partitions", []) if isinstance(assignment, dict) else []
        members.append(
            Member(
                member["member_id"],
                member["client_id"],
                member["client_host"].removeprefix("/"),
                member.get("group_instance_id"),
                [(part["topic"], number) for part in parts for number in part["partitions"]],
            )
        )
    return Group(answer["group_id"], answer["group_state"], "classic", answer["protocol_data"], coordinator, members)


def positions(client: KafkaAdminClient, group: str, more: set[Partition] | None = None) -> list[Position]:
    """How far `group` is, in all partitions that it has committed, and in `more`. Raises KafkaError."""
    from kafka.admin import OffsetSpec

    committed = committed_offsets(client, group)
    partitions = sorted(committed.keys() | (more or set()))
    starts = offsets_at(client, dict.fromkeys(partitions, OffsetSpec.EARLIEST))
    ends = offsets_at(client, dict.fromkeys(partitions, OffsetSpec.LATEST))
    return [
        Position(*partition, committed.get(partition), starts.get(partition), ends.get(partition))
        for partition in partitions
    ]


def committed_offsets(client: KafkaAdminClient, group: str) -> dict[Partition, int]:
    """What `group` has committed. Raises KafkaError."""
    found = client.list_group_offsets({group: None})[group]
    return {(at.topic, at.partition): commit.offset for at, commit in found.items() if commit.offset >= 0}


def offsets_at(
    client: KafkaAdminClient, wanted: dict[Partition, int], isolation: str = "read_uncommitted"
) -> dict[Partition, int]:
    """The offset at a timestamp (ms, or an OffsetSpec) of each partition that exists and has a leader.

    A time after the last record gives -1. Raises KafkaError.
    """
    from kafka.structs import TopicPartition

    names = sorted({topic for topic, _ in wanted})
    led = {
        (topic["name"], partition["partition_index"])
        for topic in (client.describe_topics(names) if names else [])
        for partition in topic["partitions"]
        if partition["leader_id"] >= 0
    }
    asked = {TopicPartition(*at): time for at, time in wanted.items() if at in led}
    found = client.list_partition_offsets(asked, isolation) if asked else {}
    return {(at.topic, at.partition): answer.offset for at, answer in found.items()}


def ends_of(client: KafkaAdminClient, partitions: list[Partition], *, committed: bool) -> dict[Partition, int]:
    """Where the partitions end now; with `committed` where the first open transaction begins. Raises KafkaError."""
    from kafka.admin import OffsetSpec

    level = "read_committed" if committed else "read_uncommitted"
    return offsets_at(client, dict.fromkeys(partitions, OffsetSpec.LATEST), level)


def partitions_of(client: KafkaAdminClient, topic: str, numbers: list[int] | None) -> list[Partition]:
    """The partitions of a topic, or those of these numbers. Raises CommandError if there are none such."""
    answer = client.describe_topics([topic])[0]
    if answer["error_code"]:
        raise CommandError(error_of(answer["error_code"], None, f"topic {topic}"))
    known = sorted(partition["partition_index"] for partition in answer["partitions"])
    for number in numbers or ():
        if number not in known:
            raise CommandError(f"topic {topic} has no partition {number}; it has 0 to {known[-1]}")
    return [(topic, number) for number in (known if numbers is None else sorted(set(numbers)))]
