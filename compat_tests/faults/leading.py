"""Leads that move while clients are told of the old one: three nodes, and answers to Metadata that are stale."""

from collections.abc import Iterator

import pytest

from compat_tests.client import Client, Outgoing
from compat_tests.faults.base import Beside, FaultBase, send, texts
from compat_tests.faults.orders import Orders
from compat_tests.nodes.cluster import Cluster
from compat_tests.scenarios.base import Connect

TOLD_BY_PRODUCE = {"confluent", "java", "franz_go"}
"""Those that take the new leader from the refusal itself (KIP-951), and need no Metadata."""


class Leading(FaultBase):
    """`stale`, of a cluster."""

    @pytest.fixture
    def far(self, cluster: Cluster, connect: Connect) -> Client:
        """The client on the cluster."""
        return connect(cluster.bootstrap)

    @pytest.fixture
    def cluster_orders(self, cluster: Cluster) -> Iterator[Orders]:
        """Taken back after the story."""
        orders = Orders(cluster)
        yield orders
        orders.clear()

    def test_a_producer_is_told_of_an_old_leader(self, cluster: Cluster, far: Client, cluster_orders: Orders) -> None:
        with far.sender() as sender:
            (before,) = send(sender, "moved", "before")
            stale = cluster_orders.order(stale=True)
            old = _move(cluster, "moved")
            refused_there = cluster_orders.count(api="Produce", topic="moved", node=old)
            with Beside(lambda: send(sender, "moved", "after")) as sending:
                if self.adapter.name in TOLD_BY_PRODUCE:
                    sending.result()
                else:
                    stale.wait_fired()
                    assert not sending.is_over, "it knew better than it was told"
                stale.remove()
            assert [place.offset for place in sending.result()] == [before.offset + 1]
            assert refused_there.seen >= 1
        with far.reader("moved", [0]) as reader:
            reader.seek({0: before.offset})
            assert texts(reader.take(2)) == ["before", "after"]

    def test_a_consumer_is_told_of_an_old_leader(self, cluster: Cluster, far: Client, cluster_orders: Orders) -> None:
        with far.sender() as sender, far.reader("led", [0]) as reader:
            (first,) = send(sender, "led", "before")
            reader.seek({0: first.offset})
            assert texts(reader.take(1)) == ["before"]
            old = _move(cluster, "led")
            sender.send("led", [Outgoing(b"after")])  # knows the new leader before Metadata is stale again
            stale = cluster_orders.order(stale=True)
            assert old != cluster.get("partitions", "led", 0)["leader"]
            assert texts(reader.take(1)) == ["after"]
            stale.remove()


def _move(cluster: Cluster, topic: str) -> int:
    """Another node leads; gives the one that did."""
    now = cluster.get("partitions", topic, 0)
    old = int(now["leader"])
    cluster.post("partitions", topic, 0, "leader", node=next(node for node in now["isr"] if node != old))
    return old
