"""Rebalances on a string: what listeners of real consumers see when a test kicks, fences, pins, moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer
from kafka import ConsumerRebalanceListener, KafkaConsumer

from ottla.broker.group_views import GroupView
from ottla.testing import AsyncBroker, Broker
from ottla.wire.errors import ErrorCode, KafkaError

GROUP = "kitchen"
SETTINGS = {"group.initial.rebalance.delay.ms": "0", "group.consumer.min.heartbeat.interval.ms": "50"}
SETTINGS |= {"group.consumer.heartbeat.interval.ms": "50"}


class Member:
    """A consumer in a thread of its own, and what its listener saw: (what, partitions)."""

    def __init__(self, broker: Broker, name: str, kind: str, *, instance: str | None = None) -> None:
        self.name = name
        self.seen: list[tuple[str, list[int]]] = []
        self.errors: list[str] = []
        self._told = threading.Condition()
        self._stop = threading.Event()
        run: Callable[[Broker, str | None], None] = self._kafka_python if kind == "kafka-python" else self._confluent
        self._kind = kind
        self._thread = threading.Thread(target=run, args=(broker, instance))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def tell(self, what: str, partitions: Any) -> None:
        if partitions:  # kafka-python tells of nothing, too
            with self._told:
                self.seen.append((what, sorted(one.partition for one in partitions)))
                self._told.notify_all()

    def wait_told(self, count: int) -> None:
        """Until its listener was called so often. The broker knows an assignment before the listener does, and a member
        that is kicked in between has nothing to lose.
        """
        with self._told:
            assert self._told.wait_for(lambda: len(self.seen) >= count, timeout=60), self.seen

    def _kafka_python(self, broker: Broker, instance: str | None) -> None:
        member = self

        class Listener(ConsumerRebalanceListener):
            def on_partitions_assigned(self, assigned: Any) -> None:
                member.tell("assigned", assigned)

            def on_partitions_revoked(self, revoked: Any) -> None:
                member.tell("revoked", revoked)

            def on_partitions_lost(self, lost: Any) -> None:
                member.tell("lost", lost)

        consumer = KafkaConsumer(
            group_id=GROUP,
            client_id=self.name,
            group_instance_id=instance,
            bootstrap_servers=broker.bootstrap_servers,
            heartbeat_interval_ms=50,
        )
        consumer.partitions_for_topic("orders")  # else it may lead the group before it knows what there is to share
        consumer.subscribe(["orders"], listener=Listener())
        while not self._stop.is_set():
            try:
                consumer.poll(timeout_ms=20)
            except Exception as error:
                self.errors.append(type(error).__name__)
                break
        consumer.close(autocommit=False)

    def _confluent(self, broker: Broker, instance: str | None) -> None:
        settings = {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": GROUP,
            "client.id": self.name,
            "group.protocol": "consumer" if self._kind == "kip-848" else "classic",
        }
        if self._kind != "kip-848":
            settings |= {"heartbeat.interval.ms": 50, "partition.assignment.strategy": "cooperative-sticky"}
        if instance is not None:
            settings["group.instance.id"] = instance
        consumer = Consumer(settings)
        consumer.subscribe(
            ["orders"],
            on_assign=lambda consumer, partitions: self.tell("assigned", partitions),
            on_revoke=lambda consumer, partitions: self.tell("revoked", partitions),
            on_lost=lambda consumer, partitions: self.tell("lost", partitions),
        )
        while not self._stop.is_set():
            consumer.poll(0.02)
        consumer.close()


@contextmanager
def kitchen(kind: str, *names: str, static: bool = False) -> Iterator[tuple[Broker, list[Member]]]:
    """A broker with four partitions of orders, and these members, who have them all."""
    with Broker(topics={"orders": 4}, settings=SETTINGS) as broker:
        members = [Member(broker, name, kind, instance=f"i-{name}" if static else None) for name in names]
        try:
            wait_shared(broker, len(names))
            yield broker, members
        finally:
            for member in members:
                member.stop()


def wait_shared(broker: Broker, count: int) -> None:
    """Until so many members have all partitions among them."""

    def shared(view: GroupView) -> bool:
        return sorted(at for member in view.members for at in member.assigned.get("orders", ())) == [0, 1, 2, 3]

    broker.rebalances.wait_for(GROUP, members=count, where=shared, timeout_s=60)


def has(broker: Broker, name: str) -> tuple[int, ...]:
    (member,) = (one for one in broker.rebalances.group(GROUP).members if one.client_id == name)
    return member.assigned.get("orders", ())


KINDS = ("kafka-python", "confluent", "kip-848")


@pytest.mark.parametrize("kind", KINDS)
def test_pinned_partitions_arrive_where_they_were_pinned_and_go_when_they_are_let_go(kind: str) -> None:
    with kitchen(kind, "ada", "grace") as (broker, members):
        both = {"ada": {"orders": [3]}, "grace": {"orders": [0, 1]}}
        broker.rebalances.pin(GROUP, both)
        broker.rebalances.wait_for(GROUP, assigned=both, timeout_s=60)
        broker.rebalances.pin(GROUP, {"ada": {"orders": [0]}})
        shared = {"ada": {"orders": [0]}, "grace": {"orders": [1, 2, 3]}}
        broker.rebalances.wait_for(GROUP, assigned=shared, timeout_s=60)
        broker.rebalances.unpin(GROUP)
        wait_shared(broker, 2)
        assert len(has(broker, "ada")) == 2
    assert any(what == "revoked" for what, _ in members[0].seen)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pin_may_be_there_before_its_members(kind: str) -> None:
    with Broker(topics={"orders": 4}, settings=SETTINGS) as broker:
        broker.rebalances.pin(GROUP, {"ada": {"orders": [2]}})
        member = Member(broker, "ada", kind)
        broker.rebalances.wait_for(GROUP, assigned={"ada": {"orders": [2]}}, timeout_s=60)
        member.wait_told(1)
        member.stop()
        assert ("assigned", [2]) in member.seen


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_kicked_loses_all_and_joins_again(kind: str) -> None:
    with kitchen(kind, "ada") as (broker, (ada,)):
        ada.wait_told(1)
        before = broker.rebalances.group(GROUP).members[0].id
        assert broker.rebalances.kick(GROUP, "ada") == before
        ada.wait_told(3)
        assert ada.seen[:3] == [("assigned", [0, 1, 2, 3]), ("lost", [0, 1, 2, 3]), ("assigned", [0, 1, 2, 3])]
        wait_shared(broker, 1)
        after = broker.rebalances.group(GROUP).members[0].id
        assert (after == before) == (kind == "kip-848")  # whose clients make their ids themselves, once


def test_a_fenced_member_of_kip_848_loses_what_it_has_and_joins_again() -> None:
    with kitchen("kip-848", "ada") as (broker, (ada,)):
        ada.wait_told(1)
        assert broker.rebalances.fence(GROUP, "ada") == "FENCED_MEMBER_EPOCH"
        ada.wait_told(3)
        assert ada.seen[:3] == [("assigned", [0, 1, 2, 3]), ("lost", [0, 1, 2, 3]), ("assigned", [0, 1, 2, 3])]


def test_a_fenced_static_member_hears_that_another_took_its_place() -> None:
    with kitchen("confluent", "ada", static=True) as (broker, _):
        assert broker.rebalances.fence(GROUP, "i-ada") == "FENCED_INSTANCE_ID"
        broker.wait_for_request("Heartbeat", where=lambda asked: "FENCED_INSTANCE_ID" in asked.errors, timeout_s=60)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rebalance_that_is_forced_is_a_new_generation(kind: str) -> None:
    with kitchen(kind, "ada", "grace") as (broker, _):
        before = broker.rebalances.group(GROUP).generation
        broker.rebalances.force(GROUP)
        broker.rebalances.wait_for(GROUP, members=2, where=lambda group: group.generation > before, timeout_s=60)
        wait_shared(broker, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_coordinator_that_goes_away_and_comes_back_keeps_the_group(kind: str) -> None:
    with kitchen(kind, "ada") as (broker, (ada,)):
        before = broker.rebalances.group(GROUP).members[0].id
        assert broker.rebalances.move_coordinator(GROUP) == 1
        asked = len(broker.requests("ConsumerGroupHeartbeat" if kind == "kip-848" else "Heartbeat"))
        broker.wait_for_request("ConsumerGroupHeartbeat" if kind == "kip-848" else "Heartbeat", asked + 2, timeout_s=60)
        assert broker.rebalances.group(GROUP).members[0].id == before
        ada.wait_told(1)
        assert ada.seen == [("assigned", [0, 1, 2, 3])]


async def test_in_a_trio_program_the_orders_are_calls() -> None:
    async with AsyncBroker(topics={"orders": 1}) as broker:
        with pytest.raises(KafkaError) as refused:
            broker.rebalances.rebalance(GROUP)
        assert refused.value.code == ErrorCode.GROUP_ID_NOT_FOUND
        broker.rebalances.pin(GROUP, {"ada": {"orders": [0]}})
        assert broker.rebalances.pinned(GROUP) == {"ada": {"orders": [0]}}


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ({}, "pin an assignment, as"),
        ({"ada": ["orders"]}, "must be topics with partitions"),
        ({"ada": {"drinks": [0]}}, "there is no topic drinks"),
        ({"ada": {"orders": [4]}}, "there is no partition orders-4 to pin to ada; orders has 4"),
        ({"ada": {"orders": [-1]}}, "there is no partition orders--1"),
        ({"ada": {"orders": ["0"]}}, "must be numbers"),
        ({"ada": {"orders": [0]}, "grace": {"orders": [0]}}, "orders-0 is pinned to ada and grace"),
    ],
)
def test_a_pin_that_cannot_be_says_why(assignment: Any, sentence: str) -> None:
    with Broker(topics={"orders": 4}) as broker, pytest.raises(ValueError, match=sentence):
        broker.rebalances.pin(GROUP, assignment)
