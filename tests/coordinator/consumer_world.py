"""Short ways to speak the consumer protocol (KIP-848) to the coordinator in a bottle, and to read what it wrote."""

from __future__ import annotations

from typing import Any

from ottla.coordinator.group.records import decode_record
from ottla.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from tests.coordinator.conftest import Context, World

T, U = b"t" * 16, b"u" * 16
Held = dict[bytes, list[int]]


class ConsumerWorld(World):
    """A world with three partitions of `t` and two of `u`, unless told otherwise."""

    def __init__(self, **config: Any) -> None:
        config.setdefault("group_consumer_assignment_interval_ms", 0)
        super().__init__(**config)
        self.topics.known = {"t": (T, 3), "u": (U, 2)}

    # -- requests -----------------------------------------------------------------------------------------------------

    def beat(
        self,
        member_id: str,
        epoch: int,
        *,
        group: str = "g",
        instance: str | None = None,
        rack: str | None = None,
        names: list[str] | None = None,
        regex: str | None = None,
        owned: Held | None = None,
        rebalance_ms: int = -1,
        assignor: str | None = None,
        version: int = 1,
        client_id: str = "client",
    ) -> Any:
        """ConsumerGroupHeartbeat."""
        request = ConsumerGroupHeartbeatRequest(
            group_id=group,
            member_id=member_id,
            member_epoch=epoch,
            instance_id=instance,
            rack_id=rack,
            rebalance_timeout_ms=rebalance_ms,
            subscribed_topic_names=names,
            subscribed_topic_regex=regex if version >= 1 else None,
            server_assignor=assignor,
            topic_partitions=(
                None
                if owned is None
                else [
                    ConsumerGroupHeartbeatRequest.TopicPartitions(topic_id=topic_id, partitions=partitions)
                    for topic_id, partitions in owned.items()
                ]
            ),
        )
        return self.ask("consumer_group_heartbeat", request, version, Context(client_id))

    def enter(self, member_id: str, *names: str, **options: Any) -> Any:
        """Join by names, "t" if none are given."""
        if "regex" not in options or names:
            options.setdefault("names", list(names) or ["t"])
        options.setdefault("rebalance_ms", 30_000)
        return self.beat(member_id, 0, owned={}, **options)

    def tell(self, *groups: str, version: int = 1) -> Any:
        """ConsumerGroupDescribe of one group or several."""
        request = ConsumerGroupDescribeRequest(group_ids=list(groups or ("g",)))
        described = self.ask("consumer_group_describe", request, version).groups
        return described if len(groups) > 1 else described[0]

    # -- what is there ------------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """Where the log ends now, for `written`."""
        return len(self.log)

    def written(self, since: int = 0) -> list[str]:
        """Records in short: "5 A", "3 =2", "8 A 2/0 stable t012" (epoch/previous), "7 A -" for a tombstone."""
        return [short(*record[1:]) for record in self.log[since:]]

    def member(self, member_id: str, group: str = "g") -> Any:
        return self.coordinator.group(group).members[member_id]  # type: ignore[union-attr]

    def holds(self, member_id: str, group: str = "g") -> Held:
        """What is assigned to a member."""
        return {topic_id: sorted(partitions) for topic_id, partitions in self.member(member_id, group).assigned.items()}


def held(answer: Any) -> Held | None:
    """The assignment of an answer, None if it has none."""
    if answer.assignment is None:
        return None
    return {topic.topic_id: list(topic.partitions) for topic in answer.assignment.topic_partitions}


def short(key: bytes, value: bytes | None) -> str:
    """A record in a few words."""
    record = decode_record(key, value)
    kind = int.from_bytes(key[:2], "big")
    if record is None:
        return f"{kind} -" if value is None else f"{kind} ?"
    said: Any = record.key
    name = getattr(said, "member_id", getattr(said, "regular_expression", ""))
    head = f"{kind} {name}".strip()
    worth: Any = record.value
    if worth is None:
        return f"{head} -"
    if kind == 3:
        return f"{head} ={worth.epoch}" + (" nothing" if worth.metadata_hash == 0 else "")
    if kind == 6:
        return f"{head} ={worth.assignment_epoch}" + (" nobody" if worth.assignment_timestamp == 0 else "")
    if kind == 7:
        return f"{head} {_held(worth.topic_partitions)}".strip()
    if kind == 8:
        state = {0: "stable", 1: "unrevoked", 2: "unreleased"}.get(worth.state, "?")
        text = f"{head} {worth.member_epoch}/{worth.previous_member_epoch} {state} {_held(worth.assigned_partitions)}"
        revoking = _held(worth.partitions_pending_revocation)
        return text.strip() + (f" gives {revoking}" if revoking else "")
    if kind == 16:
        return f"{head} {','.join(worth.topics)}".strip()
    return head


def _held(topics: Any) -> str:
    """ "t012": by the first letter of the topic id; "t0@2" if the epochs are worth telling apart from one another."""
    return " ".join(
        bytes(topic.topic_id).decode()[0] + "".join(str(partition) for partition in topic.partitions)
        for topic in sorted(topics, key=lambda each: bytes(each.topic_id))
    )
