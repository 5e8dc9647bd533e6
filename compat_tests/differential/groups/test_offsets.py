"""Committed offsets: who may commit, fetch and delete, plainly and in transactions."""

from collections.abc import Callable

import pytest

from compat_tests.differential.asking import Story
from compat_tests.differential.groups.people import CONNECT, Group
from ottla.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from ottla.wire.messages.end_txn import EndTxnRequest
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.offset_delete import OffsetDeleteRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest

pytestmark = pytest.mark.long

Tell = Callable[[Callable[[Story], None]], None]

NOBODY = "nobody-00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("version", range(2, 11))
def test_a_group_that_only_commits(tell_both: Tell, version: int) -> None:
    def telling(story: Story) -> None:
        topic_ids = {"t": story.topic("t"), "gone": bytes([7] * 16)}
        group = Group(story)
        group.fetch(version=9)
        group.commit({("t", 0): 5, ("t", 1): -3, ("t", 2): 1, ("gone", 0): 1}, version=version, topic_ids=topic_ids)
        group.commit({("t", 0): 6}, metadata=None, version=version, topic_ids=topic_ids)
        group.commit({("t", 1): 6}, metadata="x" * 4097, version=version, topic_ids=topic_ids)
        group.commit({("t", 1): 6}, NOBODY, -1, version=version, topic_ids=topic_ids)
        group.commit({("t", 0): 7}, NOBODY, 3, version=version, topic_ids=topic_ids)
        group.commit({("t", 0): 7}, "", 3, version=version, topic_ids=topic_ids)
        group.commit({}, version=version)
        group.describe()
        group.listed()
        group.fetch(version=9)

    tell_both(telling)


@pytest.mark.parametrize("version", range(1, 11))
def test_fetches(tell_both: Tell, version: int) -> None:
    def telling(story: Story) -> None:
        topic_ids = {"t": story.topic("t"), "u": story.topic("u"), "gone": bytes([7] * 16)}
        group = Group(story)
        asked = {"t": [0, 1, 2], "u": [0], "gone": [0]}
        group.fetch(asked, version=version, topic_ids=topic_ids)
        group.commit({("t", 0): 5, ("t", 1): 6, ("u", 1): 7})
        group.fetch(asked, version=version, topic_ids=topic_ids)
        group.fetch({}, version=version)
        if version >= 2:
            group.fetch(version=version)
        if version >= 7:
            group.fetch(asked, version=version, topic_ids=topic_ids, stable=True)
        if version >= 9:
            group.fetch(asked, version=version, topic_ids=topic_ids, member=(NOBODY, 3))
        if version >= 8:
            story.ask(OffsetFetchRequest(groups=[]), version)
            several = [
                OffsetFetchRequest.OffsetFetchRequestGroup(group_id=name, topics=None) for name in (group.id, "unknown")
            ]
            story.ask(OffsetFetchRequest(groups=several), version)

    tell_both(telling)


def test_an_unknown_group_and_a_generation(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        story.topic("t")
        group = Group(story)
        for version in (2, 8, 9):
            group.commit({("t", 0): 1, ("t", 9): 1}, "who", 0, version=version)
            group.commit({("t", 9): 1}, "who", 0, version=version)
        group.commit({("t", 0): 1}, "who", 0, metadata="x" * 4097)
        group.describe()
        group.commit({("t", 0): 1}, "who", -1)
        group.describe()

    tell_both(telling)


def test_commits_of_members_in_every_state(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        story.topic("t")
        group = Group(story)

        def everyone(member: str, generation: int) -> None:
            group.commit({("t", 0): 1}, member, generation)
            group.commit({("t", 0): 1}, member, generation - 1)
            group.commit({("t", 0): 1}, member, generation + 1)
            group.commit({("t", 0): 1}, member, -1)
            group.commit({("t", 0): 1}, member, generation, instance="i")
            group.commit({("t", 0): 1}, NOBODY, generation)
            group.commit({("t", 0): 1}, "", generation)
            group.commit({("t", 0): 1}, "", -1)
            group.commit({("t", 0): 1}, NOBODY, -1, metadata="x" * 4097)
            group.fetch({"t": [0]}, member=(member, generation))
            group.fetch({"t": [0]}, member=(NOBODY, 99))

        pending = group.new_id()
        everyone(pending, 0)  # Empty, an id is handed out
        group.join(pending)
        everyone(pending, 1)  # CompletingRebalance
        group.sync(pending, 1, {pending: b"all"})
        everyone(pending, 1)  # Stable
        group.begin_join(group.new_id(who="two"), who="two")
        group.until_state("PreparingRebalance")
        everyone(pending, 1)
        group.join(pending)
        second = story.end("two").member_id
        group.leave((pending, None), (second, None))
        everyone(pending, 2)  # Empty after members
        group.describe()

    tell_both(telling)


def test_deleted_offsets(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        story.topic("t")
        story.topic("u")
        group = Group(story)
        story.ask(OffsetDeleteRequest(group_id=""), 0)
        group.delete_offsets({"t": [0]})
        group.commit({("t", 0): 1, ("t", 1): 2, ("u", 0): 3})
        group.delete_offsets({"t": [0, 9], "u": [1], "gone": [0]})
        group.fetch()
        subscription = _subscription(f"{story.name}-t")
        member = group.first_member(kind="consumer", protocols=(("range", subscription),))
        group.commit({("t", 0): 1, ("u", 0): 3}, member, 1)
        group.delete_offsets({"t": [0], "u": [0], "gone": [0]})
        group.fetch()
        other = Group(story, "connect")
        other.commit({("t", 0): 1})
        other.first_member(kind=CONNECT)
        other.delete_offsets({"t": [0]})
        unreadable = Group(story, "unreadable")
        unreadable.commit({("t", 0): 1})
        unreadable.first_member(kind="consumer", protocols=(("range", b"?"),))
        unreadable.delete_offsets({"t": [0], "u": [0]})
        joining = Group(story, "joining")
        joining.commit({("t", 0): 1})
        joining.join(
            joining.new_id(kind="consumer", protocols=(("range", subscription),)),
            kind="consumer",
            protocols=(("range", subscription),),
        )
        joining.delete_offsets({"t": [0], "u": [0]})
        group.delete()
        group.leave((member, None))
        group.delete()
        group.fetch()

    tell_both(telling)


def _subscription(topic: str) -> bytes:
    name = topic.encode()
    return b"\0\0" + b"\0\0\0\1" + len(name).to_bytes(2, "big") + name + b"\xff\xff\xff\xff"


# -- transactions -----------------------------------------------------------------------------------------------------


def _producer(story: Story, word: str = "tx") -> tuple[str, int, int]:
    """(transactional id, producer id, epoch)."""
    transactional_id = f"{story.name}-{word}"
    find = FindCoordinatorRequest(key_type=1, coordinator_keys=[transactional_id])  # makes its topic
    story.until(find, 4, lambda answer: answer.coordinators[0].error_code == 0)
    request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=60_000)
    answers = []

    def reached(answer: object) -> bool:
        answers.append(answer)
        return answer.error_code == 0  # type: ignore[attr-defined]

    story.until(request, 4, reached)
    return transactional_id, answers[-1].producer_id, answers[-1].producer_epoch  # type: ignore[attr-defined]


def _add_offsets(story: Story, group: Group, producer: tuple[str, int, int]) -> None:
    request = AddOffsetsToTxnRequest(
        transactional_id=producer[0], producer_id=producer[1], producer_epoch=producer[2], group_id=group.id
    )
    story.until(request, 3, lambda answer: answer.error_code == 0)


def _end(story: Story, producer: tuple[str, int, int], commit: bool, version: int = 4) -> tuple[str, int, int]:
    """The producer as it is after the end of its transaction."""
    request = EndTxnRequest(
        transactional_id=producer[0], producer_id=producer[1], producer_epoch=producer[2], committed=commit
    )
    answer = story.quietly(request, version)
    assert answer.error_code == 0
    return (producer[0], answer.producer_id, answer.producer_epoch) if version >= 5 else producer


def _until_stable(story: Story, group: Group) -> None:
    asked = OffsetFetchRequest.OffsetFetchRequestTopics(name=f"{story.name}-t", partition_indexes=[0, 1])
    request = OffsetFetchRequest(
        groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group.id, topics=[asked])], require_stable=True
    )
    story.until(request, 9, lambda answer: all(each.error_code == 0 for each in answer.groups[0].topics[0].partitions))


def test_transactional_commits_of_the_old_kind(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        story.topic("t")
        group = Group(story)
        producer = _producer(story)
        for version in range(5):  # its partition was not added
            group.txn_commit({("t", 0): 5, ("t", 9): 5, ("gone", 0): 5}, producer, version=version)
        group.describe()
        _add_offsets(story, group, producer)
        for version in range(5):
            group.txn_commit({("t", 0): version, ("t", 9): 5, ("gone", 0): 5}, producer, version=version)
        group.txn_commit({("t", 1): 1}, producer, metadata="x" * 4097)
        group.describe()
        group.fetch({"t": [0, 1]})
        group.fetch({"t": [0, 1]}, stable=True)
        group.fetch(stable=True)
        group.commit({("t", 0): 100})
        group.fetch(stable=True)
        _end(story, producer, commit=True)
        _until_stable(story, group)
        group.fetch(stable=True)
        for commit in (True, False):
            _add_offsets(story, group, producer)
            group.txn_commit({("t", 0): 200 + commit}, producer, version=3)
            group.fetch(stable=True)
            _end(story, producer, commit=commit)
            _until_stable(story, group)
            group.fetch(stable=True)

    tell_both(telling)


def test_transactional_commits_of_the_new_kind(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        story.topic("t")
        group = Group(story)
        producer = _producer(story)
        for commit in (True, False):
            group.txn_commit({("t", 0): 5 + commit, ("t", 9): 5}, producer)
            group.fetch({"t": [0, 1]}, stable=True)
            group.txn_commit({("t", 1): 8 + commit}, producer)
            producer = _end(story, producer, commit=commit, version=5)
            _until_stable(story, group)
            group.fetch(stable=True)

    tell_both(telling)


def test_transactional_commits_that_are_refused(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        story.topic("t")
        group = Group(story)
        name, producer_id, epoch = _producer(story)
        for version in (0, 2, 3, 4, 5):
            group.txn_commit({("t", 0): 1}, ("nobody", 1_000_000, 0), version=version)
            group.txn_commit({("t", 0): 1}, (name, 1_000_000, 0), version=version)
            group.txn_commit({("t", 0): 1}, (name, producer_id, epoch + 1), version=version)
            group.txn_commit({("t", 9): 1}, ("nobody", 1_000_000, 0), version=version)
        old = (name, producer_id, epoch)
        new = _producer(story)
        for version in (3, 4, 5):
            group.txn_commit({("t", 0): 1}, old, version=version)
        nameless = Group(story)
        nameless.id = ""
        nameless.txn_commit({("t", 0): 1}, new)
        nameless.txn_commit({("t", 0): 1, ("t", 9): 1}, new, version=3)
        group.txn_commit({}, new)
        group.txn_commit({("t", 0): 1}, new, "who", 3)
        group.describe()

    tell_both(telling)


def test_transactional_commits_of_members(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        story.topic("t")
        group = Group(story)
        producer = _producer(story)

        def everyone(member: str, generation: int) -> None:
            group.txn_commit({("t", 0): 1}, producer, member, generation)
            group.txn_commit({("t", 0): 1}, producer, member, generation - 1)
            group.txn_commit({("t", 0): 1}, producer, member, generation + 1)
            group.txn_commit({("t", 0): 1}, producer, member, -1)
            group.txn_commit({("t", 0): 1}, producer, member, generation, instance="i")
            group.txn_commit({("t", 0): 1}, producer, NOBODY, generation)
            group.txn_commit({("t", 0): 1}, producer, "", generation)
            group.txn_commit({("t", 0): 1}, producer, "", -1)
            group.txn_commit({("t", 0): 1}, producer, NOBODY, -1)
            group.txn_commit({("t", 0): 1}, producer, NOBODY, 3, metadata="x" * 4097)

        pending = group.new_id()
        everyone(pending, 0)
        group.join(pending)
        everyone(pending, 1)
        group.sync(pending, 1, {pending: b"all"})
        everyone(pending, 1)
        group.begin_join(group.new_id(who="two"), who="two")
        group.until_state("PreparingRebalance")
        everyone(pending, 1)
        group.join(pending)
        second = story.end("two").member_id
        group.leave((pending, None), (second, None))
        everyone(pending, 2)

    tell_both(telling)


def test_pending_offsets_that_are_deleted(tell_both: Tell) -> None:
    def telling(story: Story) -> None:
        story.topic("t")
        group, other = Group(story), Group(story, "other")
        producer = _producer(story)
        group.txn_commit({("t", 0): 1, ("t", 1): 1}, producer)
        other.txn_commit({("t", 0): 1}, producer)
        group.delete_offsets({"t": [0]})
        group.fetch({"t": [0, 1]}, stable=True)
        other.delete()
        other.describe()
        _end(story, producer, commit=True, version=5)
        _until_stable(story, group)
        group.fetch(stable=True)
        other.fetch(stable=True)
        other.describe()

    tell_both(telling)
