"""Answers to Fetch that are wrong, torn, spoiled, late or held: every record is read, and none twice."""

from typing import Any

import pytest

from compat_tests.client import Client, Outgoing
from compat_tests.faults.base import Beside, FaultBase, refused, texts
from compat_tests.faults.orders import Orders
from compat_tests.scenarios.base import Name, places_of

RECORDS = 40
READ_ON = {"confluent", "franz_go"}
"""Those whose applications hear nothing of a wrong CRC: one checks none unless told to, the other fetches again."""

RULES: dict[str, tuple[dict[str, Any], str]] = {
    "not leader": ({"error": "NOT_LEADER_OR_FOLLOWER"}, "NOT_LEADER_OR_FOLLOWER"),
    "unknown": ({"error": "UNKNOWN_TOPIC_OR_PARTITION"}, "UNKNOWN_TOPIC_OR_PARTITION"),
    "drop before": ({"drop": "before"}, "closed the connection before applying"),
    "drop after": ({"drop": "after"}, "closed the connection after applying, without an answer"),
    "cut half": ({"cut": 0.5}, "sent 0.5 of the bytes"),
    "cut 10": ({"cut": 10}, "sent 10 bytes"),
    "throttle": ({"throttle": "100ms"}, "throttled for 100 ms"),
    "delay": ({"delay": "50ms"}, "delayed by 50 ms before applying"),
}
"""What happens to the first Fetch, and what the fault says that it did."""


class Consuming(FaultBase):
    """`error`, `drop`, `cut`, `corrupt`, `throttle`, `hold` and `fence` of Fetch."""

    @pytest.mark.parametrize("case", RULES)
    def test_all_is_read_once(self, client: Client, orders: Orders, fresh: Name, case: str) -> None:
        rule, did = RULES[case]
        topic = fresh("read")
        _fill(client, topic)
        fault = orders.order(api="Fetch", topic=topic, times=1, **rule)
        after = orders.tell(api="Fetch", topic=topic)
        with client.reader(topic, [0]) as reader:
            reader.seek_beginning()
            records = reader.take(RECORDS)
        assert places_of(records) == [(0, offset) for offset in range(RECORDS)]
        (firing,) = fault.log
        assert did in firing["did"]
        if "drop" in rule or "cut" in rule:
            assert after.log[0]["connection"] != firing["connection"]

    def test_one_partition_of_two_fails(self, client: Client, orders: Orders, fresh: Name) -> None:
        topic = fresh("half")
        _fill(client, topic, 2)
        fault = orders.order(api="Fetch", topic=topic, partition=1, error="NOT_LEADER_OR_FOLLOWER")
        with client.reader(topic, [0, 1]) as reader:
            reader.seek_beginning()
            assert {one.partition for one in reader.take(RECORDS // 2)} == {0}
            assert {part for firing in fault.log for part in firing["partitions"]} == {f"{topic}-1"}
            fault.remove()
            assert places_of(reader.take(RECORDS // 2)) == [(1, offset) for offset in range(RECORDS // 2)]

    def test_a_held_fetch_is_answered_when_it_is_let_go(self, client: Client, orders: Orders, fresh: Name) -> None:
        topic = fresh("held")
        _fill(client, topic)
        fault = orders.order(api="Fetch", topic=topic, hold="before")
        with client.reader(topic, [0]) as reader:
            reader.seek_beginning()
            with Beside(lambda: reader.take(RECORDS)) as taking:
                fault.wait_held()
                assert not taking.is_over
                fault.release()
            assert len(taking.result()) == RECORDS
        assert set(fault.did) == {"held before applying"}

    def test_a_batch_with_a_wrong_crc(self, client: Client, orders: Orders, fresh: Name) -> None:
        topic = fresh("spoiled")
        _fill(client, topic)
        fault = orders.order(topic=topic, corrupt="crc", times=1)
        with client.reader(topic, [0]) as reader:
            reader.seek_beginning()
            if self.adapter.name in READ_ON:
                records = reader.take(RECORDS)
            else:
                told = self.of({"java": "Received exception when fetching the next record"}, "CORRUPT_MESSAGE")
                assert told in refused(lambda: reader.take(RECORDS))
                with client.reader(topic, [0]) as another:
                    another.seek_beginning()
                    records = another.take(RECORDS)
        assert texts(records) == [str(number) for number in range(RECORDS)]
        assert fault.did == [f"flipped a bit of the CRC of the batch at {topic}-0:0"]

    def test_a_raised_leader_epoch_is_looked_up(self, client: Client, orders: Orders, fresh: Name) -> None:
        topic = fresh("epoch")
        _fill(client, topic)
        with client.reader(topic, [0]) as reader:
            fault = orders.order(api="Fetch", topic=topic, fence="leader", nth=2, times=1)
            reader.seek_beginning()
            assert len(reader.take(RECORDS)) == RECORDS
            with client.sender() as sender:
                sender.send(topic, [Outgoing(b"after")])
            assert [(one.offset, one.value) for one in reader.take(1)] == [(RECORDS, b"after")]
        assert fault.did == [f"raised the leader epoch of {topic}-0 to 1"]


def _fill(client: Client, topic: str, partitions: int = 1) -> None:
    client.create_topic(topic, partitions)
    with client.sender() as sender:
        sender.send(topic, [Outgoing(b"%d" % n, partition=n % partitions) for n in range(RECORDS)])
