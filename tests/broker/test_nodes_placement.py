"""Where replicas go and who may lead, as pure decisions: whatever happens, a leader is up and in sync."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.broker import placement
from ottla.broker.cluster import NO_LEADER, Cluster, Partition, Topic
from ottla.broker.nodes import Node
from ottla.log.door import LogStore
from ottla.wire.errors import KafkaError
from ottla.wire.state.cluster_metadata import PartitionChangeRecord, PartitionRecord, TopicRecord


def test_replicas_are_spread_and_racks_alternate() -> None:
    nodes = [Node(1, "a"), Node(2, "a"), Node(3, "b"), Node(4, "b")]
    placed = placement.spread(nodes, range(4), 2)
    assert sorted(replicas[0] for replicas in placed) == [1, 2, 3, 4]
    racks = {1: "a", 2: "a", 3: "b", 4: "b"}
    assert all(len({racks[replica] for replica in replicas}) == 2 for replicas in placed)
    nodes[0].is_up = False
    assert all(replicas[0] != 1 for replicas in placement.spread(nodes, range(8), 4))


def test_what_a_node_led_is_led_by_several_when_it_is_gone() -> None:
    placed = placement.spread([Node(1), Node(2), Node(3), Node(4)], range(36), 3)
    heirs = Counter(replicas[1] for replicas in placed if replicas[0] == 1)
    assert heirs == {2: 3, 3: 3, 4: 3}


KINDS = ["down", "up", "lead", "isr", "elect", "unclean", "reassign", "cancel", "find", "catch up"]
NODES = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=7)


@given(racks=NODES, partitions=st.integers(1, 30), factor=st.integers(1, 7), first=st.integers(0, 9))
def test_leads_and_replicas_are_even_over_nodes_and_racks(
    racks: list[str | None], partitions: int, factor: int, first: int
) -> None:
    nodes = [Node(at, rack) for at, rack in enumerate(racks)]
    factor = min(factor, len(nodes))
    placed = placement.spread(nodes, range(partitions), factor, first)
    leads = Counter(replicas[0] for replicas in placed)
    assert max(leads.values()) - min(leads[node.id] for node in nodes) <= 1
    for replicas in placed:
        assert len(set(replicas)) == factor
        taken = Counter(racks[replica] for replica in replicas)
        full = Counter(racks)
        assert all(taken[rack] == full[rack] or taken[rack] >= max(taken.values()) - 1 for rack in full)


MOVES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 999)))


class Fixed:
    """Conditions of a cluster of three nodes."""

    def __init__(self, *, unclean: bool, min_isr: int) -> None:
        self.live = {1, 2, 3}
        self._unclean = unclean
        self._min_isr = min_isr

    def may_be_unclean(self, partition: Partition) -> bool:
        return self._unclean

    def min_isr(self, partition: Partition) -> int:
        return self._min_isr


def decide(partition: Partition, kind: str, number: int, now: Fixed) -> PartitionChangeRecord | None:
    node_id = number % 3 + 1
    some = [n for n in (3, 1, 2) if number >> n & 1]
    match kind:
        case "down" if node_id in now.live and len(now.live) > 1:
            now.live.remove(node_id)
            return placement.node_down(partition, node_id, now)
        case "up" if node_id not in now.live:
            now.live.add(node_id)
            return placement.node_up(partition, node_id, now)
        case "lead":
            return placement.give_lead(partition, node_id, now)
        case "isr":
            return placement.set_isr(partition, some, now)
        case "elect":
            return placement.elect(partition, placement.PREFERRED, now)
        case "unclean":
            return placement.elect(partition, placement.UNCLEAN, now)
        case "reassign":
            return placement.reassign(partition, some, (1, 2, 3), now, may_change_factor=True)
        case "cancel":
            return placement.reassign(partition, None, (1, 2, 3), now, may_change_factor=True)
        case "find":
            return placement.find_leader(partition, now)
        case "catch up" if partition.leader != NO_LEADER:
            return placement.catch_up(partition, now)
    return None


def check(partition: Partition, now: Fixed) -> None:
    """What is so whatever happened."""
    replicas = set(partition.replicas)
    assert len(replicas) == len(partition.replicas) > 0
    assert len(set(partition.isr)) == len(partition.isr)
    assert replicas >= {*partition.isr, *partition.elr, *partition.adding, *partition.removing}
    assert not {*partition.elr} & {*partition.isr}
    if partition.leader == NO_LEADER:
        assert not partition.isr
        assert now.live.isdisjoint(partition.elr), "somebody who may lead is up, and nobody leads"
    else:
        assert partition.leader in partition.isr
        assert now.live >= set(partition.isr)


@settings(max_examples=300, deadline=None)
@given(moves=MOVES, unclean=st.booleans(), min_isr=st.integers(1, 3))
def test_whatever_moves_the_leader_is_up_and_in_sync(moves: list[tuple[str, int]], unclean: bool, min_isr: int) -> None:
    """Each change is replayed as from the metadata log, so what is written is all there is."""
    now = Fixed(unclean=unclean, min_isr=min_isr)
    cluster = Cluster([Node(1), Node(2), Node(3)], cast(LogStore, SimpleNamespace(cluster_id="")))
    topic_id = bytes(15) + b"t"
    cluster.replay(TopicRecord(name="t", topic_id=topic_id))
    three = [1, 2, 3]
    cluster.replay(
        PartitionRecord(partition_id=0, topic_id=topic_id, replicas=three, isr=three, leader=1, leader_epoch=0)
    )
    partition = cluster.topics["t"].partitions[0]
    for kind, number in moves:
        leader, epoch, replicas = partition.leader, partition.leader_epoch, set(partition.replicas)
        try:
            change = decide(partition, kind, number, now)
        except KafkaError:
            continue
        if change is None:
            continue
        cluster.replay(PartitionChangeRecord.decode(change.encode(2), 2))
        check(partition, now)
        bumped = partition.leader != leader or not replicas <= set(partition.replicas)
        assert partition.leader_epoch == epoch + bumped


def test_a_new_start_ends_every_move() -> None:
    nodes = [Node(1), Node(2)]
    partition = Partition(Topic("t", bytes(16)), 0, leader=1, leader_epoch=4, replicas=[3, 1, 2], isr=[1])
    partition.adding, partition.removing, partition.elr = [3], [2], [2]
    change = placement.adopt(partition, nodes)
    assert change is not None
    assert (change.replicas, change.isr, change.leader) == ([1, 2], [1, 2], 1)
    assert (change.adding_replicas, change.removing_replicas, change.eligible_leader_replicas) == ([], [], [])
