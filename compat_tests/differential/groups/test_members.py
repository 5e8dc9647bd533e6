"""Joins, syncs, heartbeats and leaves, right and wrong, in every state of a classic group."""

from collections.abc import Callable

import pytest

from compat_tests.differential.asking import Story
from compat_tests.differential.groups.people import Group
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.sync_group import SyncGroupRequest

pytestmark = pytest.mark.long

Tell = Callable[[Callable[[Story], None]], None]

NOBODY = "nobody-00000000-0000-0000-0000-000000000000"
OTHERS = (("c", b"C"),)
B_FIRST = (("b", b"B"), ("a", b"A"))
A_CHANGED = (("a", b"A2"), ("b", b"B"))


@pytest.mark.parametrize("version", range(10))
def test_a_life(tell_both: Tell, version: int) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        answer = group.join(version=version)
        member = answer.member_id
        if version >= 4:
            group.join(member, version=version)
        group.describe()
        group.listed()
        sync = min(version, 5)
        group.sync(member, 1, {member: b"all", NOBODY: b"none"}, version=sync)
        group.sync(member, 1, version=sync)
        group.heartbeat(member, 1, version=min(version, 4))
        group.describe(min(version, 6))
        group.listed()
        group.leave((member, None), version=min(version, 5))
        group.describe()
        group.listed()
        group.delete()
        group.describe()

    tell_both(telling)


def test_joins_that_are_refused(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        for version in (0, 4, 6, 9):
            group.join(session_ms=99, version=version)
            group.join(session_ms=1_800_001, version=version)
            group.join(NOBODY, version=version)
            group.join(kind="", version=version)
            group.join(protocols=(), version=version)
            story.ask(JoinGroupRequest(group_id="", session_timeout_ms=30_000, protocol_type="x"), version)
        group.join(NOBODY, instance="i")
        # Kafka keeps an empty group, in memory alone, of whoever was refused here; Ottla does not.
        group.first_member()
        for version in (0, 9):
            group.join(NOBODY, version=version)
            group.join(kind="consumer", version=version)
            group.join(protocols=OTHERS, version=version)
            group.join(protocols=(), version=version)
        group.join(NOBODY, instance="i")
        group.describe()

    tell_both(telling)


def test_two_members_and_their_rebalances(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        leader = group.first_member()
        follower = group.new_id(who="two")
        group.begin_join(follower, who="two")
        group.until_state("PreparingRebalance")
        group.heartbeat(leader, 1)
        group.sync(leader, 1, {leader: b"x"})
        group.heartbeat(follower, 1, who="three")
        group.join(leader)
        story.end("two")
        story.begin(group.sync_request(follower, 2), 5, "two")
        group.heartbeat(leader, 2)
        group.heartbeat(leader, 1)
        group.sync(leader, 2, {leader: b"L", follower: b"F"})
        story.end("two")
        group.describe()
        group.join(follower, who="two")  # says the same again: the same generation
        group.sync(follower, 2, who="two")
        group.begin_join(follower, who="two", protocols=A_CHANGED)
        group.until_state("PreparingRebalance")
        group.join(leader)
        story.end("two")
        group.join(follower, who="two", protocols=A_CHANGED)  # while it is completed: the answer of before
        group.begin_join(follower, who="two")
        group.until_state("PreparingRebalance")
        group.heartbeat(leader, 3)
        group.join(leader)
        story.end("two")
        group.sync(leader, 4, {leader: b"L", follower: b"F"})
        group.sync(follower, 4, who="two")
        group.begin_join(leader, who="one")  # a leader that asks again wants a rebalance
        group.until_state("PreparingRebalance")
        group.join(follower, who="two")
        story.end("one")
        group.leave((leader, None))
        group.until_state("PreparingRebalance")
        group.join(follower, who="two")
        group.describe()

    tell_both(telling)


def test_the_protocol_that_all_offer(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        leader = group.first_member(protocols=(("a", b"A"), ("b", b"B"), ("c", b"C")))
        other = group.new_id(who="two", protocols=(("c", b"C"), ("b", b"B")))
        group.begin_join(other, who="two", protocols=(("c", b"C"), ("b", b"B")))
        group.until_state("PreparingRebalance")
        group.join(leader, protocols=(("a", b"A"), ("b", b"B"), ("c", b"C")))
        story.end("two")
        group.join(who="three", protocols=(("a", b"A"),))
        group.join(who="three", protocols=(("a", b"A"), ("b", b"B")))

    tell_both(telling)


def test_syncs_that_are_refused(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        group.sync(NOBODY, 1)
        member = group.new_id()
        group.sync(member, 0)
        group.join(member)
        for version in (0, 3, 5):
            group.sync(NOBODY, 1, version=version)
            group.sync(member, 0, version=version)
            group.sync(member, 2, version=version)
        group.sync(member, 1, kind="other")
        group.sync(member, 1, name="b")
        group.sync(member, 1, kind=None)
        group.sync(member, 1, name=None)
        group.sync(member, 1, instance="i")
        story.ask(SyncGroupRequest(group_id="", generation_id=1, member_id="m"), 3)
        group.describe()
        group.sync(member, 1, {NOBODY: b"x"})
        group.sync(member, 1, name="b")
        group.sync(member, 1, {member: b"too late"})
        group.describe()

    tell_both(telling)


def test_heartbeats_that_are_refused(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        group.heartbeat(NOBODY, 1)
        story.ask(HeartbeatRequest(group_id="", generation_id=1, member_id="m"), 4)
        pending = group.new_id()
        group.heartbeat(pending, 0)
        group.leave((pending, None))
        group.heartbeat(pending, 0)
        member = group.first_member()
        group.heartbeat(NOBODY, 1)
        group.heartbeat(member, 0)
        group.heartbeat(member, 2)
        group.heartbeat(member, 1, instance="i")
        group.leave((member, None))
        group.heartbeat(member, 1)
        group.heartbeat(member, 2)

    tell_both(telling)


def test_leaves(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        group.leave((NOBODY, None), version=1)
        group.leave((NOBODY, None), ("", "i"))
        story.ask(LeaveGroupRequest(group_id="", members=[LeaveGroupRequest.MemberIdentity(member_id="m")]), 5)
        pending = group.new_id()
        group.leave((pending, None), version=2)
        group.leave((pending, None), version=2)
        group.join(instance="i")
        member = group.join(instance="i").member_id
        group.leave((NOBODY, None), (member, "j"), (NOBODY, "i"), ("", "j"), ("", ""))
        group.describe()
        group.leave((member, "i"), (member, "i"), version=4)
        group.describe()
        group.join(instance="i")
        group.leave(("", "i"), version=3)
        group.describe()
        group.leave()

    tell_both(telling)


def test_static_members(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        old = group.join(instance="i").member_id
        group.sync(old, 1, {old: b"all"}, instance="i")
        new = group.join(instance="i").member_id  # no rebalance
        group.describe()
        group.heartbeat(old, 1, instance="i")
        group.sync(old, 1, instance="i")
        group.join(old, instance="i")
        group.heartbeat(old, 1)
        group.join(old)
        group.sync(new, 1, instance="i")
        group.heartbeat(new, 1, instance="i")
        group.heartbeat(new, 1)
        last = group.join(instance="i", version=5).member_id  # a client that knows no SkipAssignment
        group.sync(last, 1, instance="i", version=4)
        changed = group.join(instance="i", protocols=B_FIRST).member_id  # another choice: a rebalance
        group.sync(changed, 2, {changed: b"all"}, instance="i", name="b")
        group.describe()
        group.leave((changed, "j"), (changed, None))
        group.describe()

    tell_both(telling)


def test_a_static_member_that_comes_back_while_it_waits(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        leader = group.first_member()
        group.begin_join(instance="i", who="two")
        group.until_state("PreparingRebalance")
        group.until_members(2)
        group.begin_join(instance="i", who="three")
        story.end("two")
        group.join(leader)
        static = story.end("three").member_id
        story.begin(group.sync_request(static, 2, instance="i"), 5, "three")
        group.begin_join(instance="i", who="two")
        story.end("three")
        group.heartbeat(leader, 2)
        group.join(leader)
        story.end("two")
        group.describe()

    tell_both(telling)


def test_a_full_group(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        one = group.join(instance="1").member_id
        group.begin_join(instance="2", who="two")
        group.until_state("PreparingRebalance")
        group.join(one, instance="1")
        two = story.end("two").member_id
        group.begin_join(instance="3", who="three")
        group.until_state("PreparingRebalance")
        group.begin_join(one, instance="1", who="one")
        group.join(two, instance="2", who="two")
        story.end("one")
        story.end("three")
        group.join(instance="4", who="four")
        group.join(who="four")
        group.join(instance="3", who="three")
        group.describe()

    tell_both(telling)


def test_sessions_and_joins_that_end(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        member = group.first_member(session_ms=1_500)
        group.until_state("Empty")
        group.describe()
        group.heartbeat(member, 1)
        late = group.new_id(session_ms=30_000, rebalance_ms=300)
        group.join(late, session_ms=30_000, rebalance_ms=300)
        group.until_state("Empty")  # it never synced
        group.describe()
        group.sync(late, 3)

    tell_both(telling)


def test_who_does_not_join_again_in_time_is_out(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        leader = group.first_member(rebalance_ms=1_500)
        other = group.new_id(who="two", rebalance_ms=1_500)
        group.join(other, who="two", rebalance_ms=1_500)
        group.heartbeat(leader, 1)
        group.describe()

    tell_both(telling)


def test_descriptions_and_deletions(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        group = Group(story)
        for version in range(7):
            group.describe(version)
        group.delete()
        group.delete(0)
        pending = group.new_id()
        group.describe()
        group.listed()
        group.delete()
        group.join(pending)
        member = group.first_member(who="one")
        for version in range(7):
            group.describe(version)
        for version in range(6):
            group.listed(version=version)
        group.listed(states=("stable",))
        group.listed(states=("Empty", "Dead"))
        group.listed(types=("Classic",))
        group.listed(types=("consumer", "nonsense"))
        group.delete()
        group.leave((member, None))
        group.listed(states=("empty",), types=("classic",))
        group.delete()
        group.delete()
        story.ask(DescribeGroupsRequest(groups=[""]), 6)

    tell_both(telling)
