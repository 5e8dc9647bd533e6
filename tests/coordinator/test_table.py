"""Every event in every state of a classic group: what is answered, and the state after it.

The rules are those of Apache Kafka, which compat_tests/differential asks the same. A group has a leader, a follower and
another follower (dynamic), and a static member; in PreparingRebalance the other follower has joined again, the rest has
not; in Empty they have left. "Dead" is what a group is when the coordinator stops: it answers for no group any more.

A cell is the code that is answered and the first letter of the state after it; "-": the request waits (or there was
none, for what time does); "n": there is no group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from ottla.coordinator.group.classic import GroupState
from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode, KafkaError

TABLE = """
event                                    | none     | Empty    | Preparing   | Completing  | Stable   | Dead
join without id, v3                      | 0 C      | 0 C      | - P         | - P         | - P      | 16 D
join without id, v4                      | 79 E     | 79 E     | 79 P        | 79 C        | 79 S     | 16 D
join with the id handed out              | 0 C      | 0 C      | - P         | - P         | - P      | 16 D
join with an unknown id                  | 25 n     | 25 E     | 25 P        | 25 C        | 25 S     | 16 D
join of a new instance                   | 0 C      | 0 C      | - P         | - P         | - P      | 16 D
join of another protocol type            | 79 E     | 79 E     | 23 P        | 23 C        | 23 S     | 16 D
join without a common protocol           | 79 E     | 79 E     | 23 P        | 23 C        | 23 S     | 16 D
join without protocols                   | 23 E     | 23 E     | 23 P        | 23 C        | 23 S     | 16 D
join with a session too short            | 26 n     | 26 E     | 26 P        | 26 C        | 26 S     | 26 D
leader joins again                       | 25 n     | 25 E     | - P         | 0 C         | - P      | 16 D
leader joins, changed                    | 25 n     | 25 E     | - P         | - P         | - P      | 16 D
follower joins again                     | 25 n     | 25 E     | - P         | 0 C         | 0 S      | 16 D
follower joins, changed                  | 25 n     | 25 E     | - P         | - P         | - P      | 16 D
static member joins again                | 25 n     | 25 E     | - P         | 0 C         | 0 S      | 16 D
static member comes back                 | 0 C      | 0 C      | - P         | - P         | 0 S      | 16 D
static member comes back, prefers another | 0 C      | 0 C      | - P         | - P         | 0 S      | 16 D
static member comes back, offers another | 0 C      | 0 C      | 23 P        | - P         | - P      | 16 D
join of a full group                     | 0 C      | 0 C      | - P         | 81 C        | 81 S     | 16 D
follower joins a full group again        | 25 n     | 25 E     | - P         | - P         | - P      | 16 D
join with an id that was replaced        | 82 C     | 82 C     | 82 P        | 82 P        | 82 S     | 16 D
join with another's instance             | 25 n     | 25 E     | 82 P        | 82 C        | 82 S     | 16 D
join with an unknown instance            | 25 n     | 25 E     | 25 P        | 25 C        | 25 S     | 16 D
leader syncs                             | 25 n     | 25 E     | 27 P        | 0 S         | 0 S      | 16 D
follower syncs                           | 25 n     | 25 E     | 27 P        | - C         | 0 S      | 16 D
leader syncs, the log fails              | 25 n     | 25 E     | 27 P        | 16 P        | 0 S      | 16 D
follower syncs, the leader never         | 25 n     | 25 E     | 27 C        | 27 P        | 0 S      | 16 D
sync of an unknown member                | 25 n     | 25 E     | 25 P        | 25 C        | 25 S     | 16 D
sync of an old generation                | 25 n     | 25 E     | 22 P        | 22 C        | 22 S     | 16 D
sync of a generation to come             | 25 n     | 25 E     | 22 P        | 22 C        | 22 S     | 16 D
sync with another protocol               | 25 n     | 25 E     | 23 P        | 23 C        | 23 S     | 16 D
sync without a protocol                  | 23 n     | 23 E     | 23 P        | 23 C        | 23 S     | 23 D
sync with another's instance             | 25 n     | 25 E     | 82 P        | 82 C        | 82 S     | 16 D
sync with an id that was replaced        | 82 C     | 82 C     | 82 P        | 82 P        | 82 S     | 16 D
heartbeat                                | 25 n     | 25 E     | 27 P        | 0 C         | 0 S      | 16 D
heartbeat of an unknown member           | 25 n     | 25 E     | 25 P        | 25 C        | 25 S     | 16 D
heartbeat of an old generation           | 25 n     | 25 E     | 22 P        | 22 C        | 22 S     | 16 D
heartbeat with another's instance        | 25 n     | 25 E     | 82 P        | 82 C        | 82 S     | 16 D
heartbeat with an id that was replaced   | 82 C     | 82 C     | 82 P        | 82 P        | 82 S     | 16 D
heartbeat with the id handed out         | 25 E     | 25 E     | 25 P        | 25 C        | 25 S     | 16 D
leader leaves                            | 25 n     | 25 E     | 0 P         | 0 P         | 0 P      | 16 D
follower leaves                          | 25 n     | 25 E     | 0 P         | 0 P         | 0 P      | 16 D
all leave                                | 25 n     | 25 E     | 0 E         | 0 E         | 0 E      | 16 D
unknown member leaves                    | 25 n     | 25 E     | 25 P        | 25 C        | 25 S     | 16 D
leave with the id handed out             | 0 E      | 0 E      | 0 P         | 0 C         | 0 S      | 16 D
static member is removed by an admin     | 25 n     | 25 E     | 0 P         | 0 P         | 0 P      | 16 D
unknown instance is removed by an admin  | 25 n     | 25 E     | 25 P        | 25 C        | 25 S     | 16 D
leave with another's instance            | 25 n     | 25 E     | 82 P        | 82 C        | 82 S     | 16 D
a session ends                           | - n      | - E      | - P         | - P         | - P      | - D
all sessions end                         | - n      | - E      | - C         | - E         | - E      | - D
the rebalance timeout passes             | - n      | - E      | - C         | - E         | - S      | - D
the id handed out is not used            | - E      | - E      | - P         | - C         | - S      | - D
commit                                   | 69 n     | 25 E     | 0 P         | 27 C        | 0 S      | 16 D
commit of an old generation              | 69 n     | 25 E     | 22 P        | 22 C        | 22 S     | 16 D
commit of an unknown member              | 69 n     | 25 E     | 25 P        | 25 C        | 25 S     | 16 D
commit with another's instance           | 69 n     | 25 E     | 82 P        | 82 C        | 82 S     | 16 D
commit without a member                  | 0 E      | 0 E      | 25 P        | 25 C        | 25 S     | 16 D
transaction commits                      | 22 n     | 25 E     | 0 P         | 0 C         | 0 S      | 16 D
transaction commits, old generation      | 22 n     | 25 E     | 22 P        | 22 C        | 22 S     | 16 D
transaction commits without a member     | 0 E      | 0 E      | 0 P         | 0 C         | 0 S      | 16 D
the group is deleted                     | 69 n     | 0 n      | 68 P        | 68 C        | 68 S     | 16 D
offsets are deleted                      | 69 n     | 0 E      | 0 P         | 0 C         | 0 S      | 16 D
the group is described                   | 69 n     | 0 E      | 0 P         | 0 C         | 0 S      | 16 D
the broker restarts                      | - n      | - E      | - S         | - E         | - S      | - S
"""

STATES = ("none", *(state.value for state in GroupState))
SESSION_MS, REBALANCE_MS = 10_000, 60_000
CHANGED = (("range", b"changed"),)
OTHER_CHOICE = (("roundrobin", b""), ("range", b""))
BOTH = (("range", b""), ("roundrobin", b""))


class Cast(NamedTuple):
    """Who plays, and the generation that they know."""

    world: Any
    leader: str
    follower: str
    other: str
    static: str
    generation: int

    def join(self, member_id: str = "", protocols: Any = BOTH, **options: Any) -> Any:
        return self.world.join(
            member_id, protocols=protocols, session_ms=SESSION_MS, rebalance_ms=REBALANCE_MS, **options
        )

    def pending(self) -> str:
        """An id that was handed out and not used."""
        member_id: str = self.join().member_id
        return member_id

    def live(self, ms: int, silent: tuple[str, ...] = ()) -> None:
        """Time passes; who is not silent heartbeats."""
        for _ in range(ms // 5_000):
            self.world.sleep(5_000)
            for member_id in (self.leader, self.follower, self.other, self.static):
                if member_id not in silent:
                    self.world.heartbeat(member_id, self.generation)


def play(make_world: Any, state: str) -> Cast:
    """A group in `state`."""
    world = make_world()
    cast = Cast(world, "L", "F", "O", "S", 2)
    if state == "none":
        return cast
    leader = cast.pending()
    cast.join(leader)
    world.settle()
    follower, other = cast.pending(), cast.pending()
    cast.join(follower)
    cast.join(other)
    static = cast.join(instance="i")
    cast.join(leader)
    cast = Cast(world, leader, follower, other, static.result().member_id, 2)
    if state == "CompletingRebalance":
        return cast
    for member_id in (follower, other, cast.static):
        world.sync(member_id, 2)
    world.sync(leader, 2, {leader: b"l", follower: b"f", other: b"o", cast.static: b"s"})
    if state == "PreparingRebalance":
        cast.join(other, CHANGED)
    elif state == "Empty":
        world.leave(leader, follower, other, cast.static)
    elif state == "Dead":
        world.coordinator.shutdown()
    return cast


def replaced(cast: Cast) -> str:
    """The id that the static member had before it came back."""
    cast.join(instance="i")
    cast.world.settle()
    return cast.static


def full(cast: Cast) -> Cast:
    """The group has as many members as it may have."""
    cast.world.config.group_max_size = 4
    return cast


def failing(cast: Cast) -> Cast:
    """Nothing can be written."""
    cast.world.fail = KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)
    return cast


def left(answer: Any) -> Any:
    """A LeaveGroup: its own code, else the member's."""
    if isinstance(answer, Pending):
        answer = answer.result()
    return answer.error_code or answer.members[0].error_code


EVENTS: dict[str, Callable[[Cast], Any]] = {
    # JoinGroup
    "join without id, v3": lambda c: c.join(version=3),
    "join without id, v4": lambda c: c.join(version=4),
    "join with the id handed out": lambda c: c.join(c.pending()),
    "join with an unknown id": lambda c: c.join("who"),
    "join of a new instance": lambda c: c.join(instance="j"),
    "join of another protocol type": lambda c: c.join(protocol_type="connect"),
    "join without a common protocol": lambda c: c.join(protocols=(("mine", b""),)),
    "join without protocols": lambda c: c.join(protocols=()),
    "join with a session too short": lambda c: c.world.join(session_ms=5_999),
    "leader joins again": lambda c: c.join(c.leader),
    "leader joins, changed": lambda c: c.join(c.leader, CHANGED),
    "follower joins again": lambda c: c.join(c.follower),
    "follower joins, changed": lambda c: c.join(c.follower, CHANGED),
    "static member joins again": lambda c: c.join(c.static, instance="i"),
    "static member comes back": lambda c: c.join(instance="i"),
    "static member comes back, prefers another": lambda c: c.join(protocols=OTHER_CHOICE, instance="i"),
    "static member comes back, offers another": lambda c: c.join(protocols=OTHER_CHOICE[:1], instance="i"),
    "join of a full group": lambda c: full(c).join(version=3),
    "follower joins a full group again": lambda c: full(c).join(c.follower, CHANGED),
    "join with an id that was replaced": lambda c: c.join(replaced(c), instance="i"),
    "join with another's instance": lambda c: c.join(c.follower, instance="i"),
    "join with an unknown instance": lambda c: c.join(c.follower, instance="j"),
    # SyncGroup
    "leader syncs": lambda c: c.world.sync(c.leader, c.generation, {c.leader: b"x"}),
    "follower syncs": lambda c: c.world.sync(c.follower, c.generation),
    "leader syncs, the log fails": lambda c: failing(c).world.sync(c.leader, c.generation, {c.leader: b"x"}),
    "follower syncs, the leader never": lambda c: (
        c.world.sync(c.follower, c.generation),
        c.live(REBALANCE_MS),
    )[0],
    "sync of an unknown member": lambda c: c.world.sync("who", c.generation),
    "sync of an old generation": lambda c: c.world.sync(c.leader, c.generation - 1),
    "sync of a generation to come": lambda c: c.world.sync(c.leader, c.generation + 1),
    "sync with another protocol": lambda c: c.world.sync(c.leader, c.generation, protocol_name="roundrobin"),
    "sync without a protocol": lambda c: c.world.sync(c.leader, c.generation, protocol_name=None),
    "sync with another's instance": lambda c: c.world.sync(c.follower, c.generation, instance="i"),
    "sync with an id that was replaced": lambda c: c.world.sync(replaced(c), c.generation, instance="i"),
    # Heartbeat
    "heartbeat": lambda c: c.world.heartbeat(c.leader, c.generation),
    "heartbeat of an unknown member": lambda c: c.world.heartbeat("who", c.generation),
    "heartbeat of an old generation": lambda c: c.world.heartbeat(c.leader, c.generation - 1),
    "heartbeat with another's instance": lambda c: c.world.heartbeat(c.follower, c.generation, instance="i"),
    "heartbeat with an id that was replaced": lambda c: c.world.heartbeat(replaced(c), c.generation, instance="i"),
    "heartbeat with the id handed out": lambda c: c.world.heartbeat(c.pending(), c.generation),
    # LeaveGroup
    "leader leaves": lambda c: left(c.world.leave(c.leader)),
    "follower leaves": lambda c: left(c.world.leave(c.follower)),
    "all leave": lambda c: left(c.world.leave(c.leader, c.follower, c.other, c.static)),
    "unknown member leaves": lambda c: left(c.world.leave("who")),
    "leave with the id handed out": lambda c: left(c.world.leave(c.pending())),
    "static member is removed by an admin": lambda c: left(c.world.leave(("", "i"))),
    "unknown instance is removed by an admin": lambda c: left(c.world.leave(("", "j"))),
    "leave with another's instance": lambda c: left(c.world.leave((c.follower, "i"))),
    # what time does
    "a session ends": lambda c: c.live(SESSION_MS, silent=(c.follower,)),
    "all sessions end": lambda c: c.world.sleep(SESSION_MS),
    "the rebalance timeout passes": lambda c: c.live(REBALANCE_MS),
    "the id handed out is not used": lambda c: (c.pending(), c.live(SESSION_MS))[1],
    # OffsetCommit, TxnOffsetCommit
    "commit": lambda c: c.world.commit_code(c.leader, c.generation),
    "commit of an old generation": lambda c: c.world.commit_code(c.leader, c.generation - 1),
    "commit of an unknown member": lambda c: c.world.commit_code("who", c.generation),
    "commit with another's instance": lambda c: c.world.commit_code(c.follower, c.generation, instance="i"),
    "commit without a member": lambda c: c.world.commit_code(),
    "transaction commits": lambda c: c.world.txn_code(c.leader, c.generation),
    "transaction commits, old generation": lambda c: c.world.txn_code(c.leader, c.generation - 1),
    "transaction commits without a member": lambda c: c.world.txn_code(),
    # admins, and the broker itself
    "the group is deleted": lambda c: c.world.delete("g").results[0].error_code,
    "offsets are deleted": lambda c: c.world.delete_offsets(("t", [0])).error_code,
    "the group is described": lambda c: c.world.describe(version=6)[0].error_code,
    "the broker restarts": lambda c: c.world.restart(),
}


def outcome(make_world: Any, state: str, event: str) -> str:
    """The cell, as it is."""
    cast = play(make_world, state)
    answer = EVENTS[event](cast)
    cast.world.settle()
    if isinstance(answer, Pending):
        answer = answer.result() if answer.settled else None
    code = getattr(answer, "error_code", answer)
    after = cast.world.state()
    return f"{'-' if code is None else int(code)} {after[0]}"


def cells() -> dict[tuple[str, str], str]:
    """The table, by event and state."""
    _, *rows = (line.split("|") for line in TABLE.strip().splitlines())
    return {
        (event.strip(), state): cell.strip() for event, *row in rows for state, cell in zip(STATES, row, strict=True)
    }


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_what_happens(make_world: Any, state: str, event: str) -> None:
    assert outcome(make_world, state, event) == cells()[event, state]


def test_no_cell_is_missing() -> None:
    assert cells().keys() == {(event, state) for event in EVENTS for state in STATES}


def test_the_beginning_is_what_it_says(make_world: Any) -> None:
    assert [play(make_world, state).world.state() for state in STATES] == [*STATES]
