"""Transactions whose requests fail or get lost: what is committed is committed once, what is not is not."""

import contextlib

import pytest

from compat_tests.client import Client, Sender
from compat_tests.faults.base import FaultBase, refused, send, texts
from compat_tests.faults.orders import Orders
from compat_tests.scenarios.base import Name

FENCED = {"INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED"}


class Transacting(FaultBase):
    """`error`, `drop` and `fence` of what transactional producers ask."""

    @pytest.mark.parametrize(
        ("api", "rule"),
        [
            ("InitProducerId", {"error": "CONCURRENT_TRANSACTIONS", "times": 2}),
            ("InitProducerId", {"error": "NOT_COORDINATOR", "times": 1}),
            ("FindCoordinator", {"error": "COORDINATOR_NOT_AVAILABLE", "times": 1}),
            ("Produce", {"error": "NOT_LEADER_OR_FOLLOWER", "times": 2}),
            ("Produce", {"drop": "after", "times": 1}),
            ("EndTxn", {"error": "CONCURRENT_TRANSACTIONS", "times": 2}),
            ("EndTxn", {"error": "NOT_COORDINATOR", "times": 1}),
            ("EndTxn", {"drop": "before", "times": 1}),
            ("EndTxn", {"drop": "after", "times": 1}),
            ("EndTxn", {"cut": 0.5, "times": 1}),
        ],
        ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
    )
    def test_a_transaction_is_committed_once(
        self, client: Client, orders: Orders, fresh: Name, api: str, rule: dict[str, object]
    ) -> None:
        topic = fresh("transacted")
        client.create_topic(topic)
        fault = orders.order(api=api, **rule)
        with client.sender(transactional_id=fresh("tx")) as sender:
            for word in ("first", "second"):
                sender.begin()
                send(sender, topic, word, partition=0)
                sender.commit()
        assert fault.fired == rule["times"]
        with client.reader(topic, [0], isolation="read_committed") as reader:
            reader.seek_beginning()
            assert texts(reader.take(2)) == ["first", "second"]

    @pytest.mark.parametrize("api", ["Produce", "EndTxn"])
    def test_a_fenced_producer_is_told(self, client: Client, orders: Orders, fresh: Name, api: str) -> None:
        topic = fresh("fenced")
        client.create_topic(topic)
        sender = client.sender(transactional_id=fresh("tx"))
        sender.begin()
        send(sender, topic, "kept", partition=0)
        sender.commit()
        fault = orders.order(api=api, fence="producer", times=1)
        sender.begin()
        assert refused(lambda: _go_on(sender, topic)) in FENCED
        assert fault.fired == 1
        assert "raised the producer epoch of the transactional id" in fault.did[0]
        with contextlib.suppress(Exception):
            sender.__exit__(None, None, None)
        with client.sender() as plain, client.reader(topic, [0], isolation="read_committed") as reader:
            send(plain, topic, "after", partition=0)
            reader.seek_beginning()
            assert texts(reader.take(2)) == ["kept", "after"]


def _go_on(sender: Sender, topic: str) -> None:
    send(sender, topic, "too late", partition=0)
    sender.commit()
