"""Errors in answers to Produce: which ones a client rides out, which ones its application is told."""

import pytest

from compat_tests.client import Client, Outgoing, Sent
from compat_tests.faults.base import FaultBase, refused, send, words
from compat_tests.faults.orders import Orders
from compat_tests.scenarios.base import Name

TOO_LARGE, FORBIDDEN = "MESSAGE_TOO_LARGE", "TOPIC_AUTHORIZATION_FAILED"


class Refusing(FaultBase):
    """`error`, of Produce and of what producers ask before it."""

    @pytest.mark.parametrize("code", ["NOT_LEADER_OR_FOLLOWER", "NOT_ENOUGH_REPLICAS", "UNKNOWN_TOPIC_OR_PARTITION"])
    def test_what_passes_is_tried_again(self, client: Client, orders: Orders, fresh: Name, code: str) -> None:
        topic = fresh("retried")
        client.create_topic(topic)
        with client.sender() as sender:
            assert send(sender, topic, "first") == [Sent(0, 0)]
            fault = orders.order(api="Produce", topic=topic, error=code, times=3)
            looks = orders.count(api="Metadata")
            assert send(sender, topic, "second") == [Sent(0, 1)]
            assert fault.fired == 3
            assert {firing["api"] for firing in fault.log} == {"Produce"}
            assert all(code in did for did in fault.did)
            if code == "NOT_LEADER_OR_FOLLOWER":
                assert looks.seen > 0, "the client never asked where the leader is"
            assert send(sender, topic, "third") == [Sent(0, 2)]
        assert client.ends(topic, [0]) == {0: 3}

    @pytest.mark.parametrize("code", [TOO_LARGE, FORBIDDEN])
    def test_what_stays_is_told(self, client: Client, orders: Orders, fresh: Name, code: str) -> None:
        topic = fresh("told")
        client.create_topic(topic)
        with client.sender(idempotent=False) as sender:
            fault = orders.order(api="Produce", topic=topic, error=code)
            assert refused(lambda: send(sender, topic, "refused")) == code
            assert fault.fired == 1
            fault.remove()
            if (self.adapter.name, code) != ("confluent", FORBIDDEN):  # refuses the topic of itself for a while
                assert send(sender, topic, "taken") == [Sent(0, 0)]
                return
        with client.sender() as another:
            assert send(another, topic, "taken") == [Sent(0, 0)]

    def test_one_partition_of_two_is_refused(self, client: Client, orders: Orders, fresh: Name) -> None:
        topic = fresh("half")
        client.create_topic(topic, 2)
        with client.sender(idempotent=False) as sender:
            fault = orders.order(api="Produce", topic=topic, partition=1, error=FORBIDDEN)
            both = [Outgoing(b"served", partition=0), Outgoing(b"refused", partition=1)]
            assert refused(lambda: sender.send(topic, both)) == FORBIDDEN
            assert [firing["partitions"] for firing in fault.log] == [[f"{topic}-1"]]
        assert client.ends(topic, [0, 1]) == {0: 1, 1: 0}

    def test_one_partition_of_two_is_tried_again(self, client: Client, orders: Orders, fresh: Name) -> None:
        topic = fresh("half")
        client.create_topic(topic, 2)
        with client.sender() as sender:
            fault = orders.order(api="Produce", topic=topic, partition=1, error="NOT_LEADER_OR_FOLLOWER", times=2)
            both = [Outgoing(b"served", partition=0), Outgoing(b"served later", partition=1)]
            assert sender.send(topic, both) == [Sent(0, 0), Sent(1, 0)]
            assert fault.fired == 2
        assert client.ends(topic, [0, 1]) == {0: 1, 1: 1}

    def test_a_producer_gets_its_id_when_the_coordinator_has_loaded(
        self, client: Client, orders: Orders, fresh: Name
    ) -> None:
        topic = fresh("identified")
        client.create_topic(topic)
        fault = orders.order(api="InitProducerId", error="COORDINATOR_LOAD_IN_PROGRESS", times=2)
        with client.sender() as sender:
            assert send(sender, topic, "numbered") == [Sent(0, 0)]
        assert fault.fired == 2

    def test_a_topic_whose_metadata_fails_is_asked_for_again(self, client: Client, orders: Orders, fresh: Name) -> None:
        topic = fresh("unknown")
        client.create_topic(topic)
        fault = orders.order(api="Metadata", topic=topic, error="LEADER_NOT_AVAILABLE", times=2)
        with client.sender() as sender:
            assert send(sender, topic, "found") == [Sent(0, 0)]
        assert fault.fired == 2

    def test_the_same_seed_fires_at_the_same_requests(self, client: Client, orders: Orders, fresh: Name) -> None:
        def transcript(seed: int) -> list[int]:
            """At which of its requests the fault fired, over twelve records sent one after the other."""
            topic = fresh("seeded")
            client.create_topic(topic)
            rule = {"api": "Produce", "topic": topic, "error": "NOT_LEADER_OR_FOLLOWER"}
            fault = orders.order(**rule, probability=0.3, seed=seed)
            with client.sender() as sender:
                for number in range(12):
                    assert sender.send(topic, words(str(number))) == [Sent(0, number)]
            told = fault.now()
            assert told["seen"] == 12 + told["fired"]
            assert told["seed"] == seed
            fault.remove()
            return [firing["seen"] for firing in told["log"]]

        first = transcript(7)
        assert first
        assert transcript(7) == first
        assert transcript(8) != first
