"""Errors and retries: bad neighbours, lost requests, lost answers, a broker that is killed while records are sent."""

import threading
from collections.abc import Callable

import pytest

from compat_tests.client import Client, Outgoing, RefusedError, Sent
from compat_tests.gate import PRODUCE, Gate
from compat_tests.harness import DEADLINE_S, Broker
from compat_tests.raw import RawConnection, corrupt_batch, one_batch, produce_request
from compat_tests.scenarios.base import EVERY, PARTITIONS, Base, Connect, Name, needs, value


class Failing(Base):
    """What a client rides out, and what it is told."""

    def test_bad_bytes_of_others_do_not_touch_this_client(
        self, gated: tuple[Broker, Gate], connect: Connect, fresh: Name
    ) -> None:
        broker, gate = gated
        client = connect(gate.address)
        topic = fresh("neighbours")
        client.create_topic(topic)
        with client.sender() as sender, client.reader(topic, [0]) as reader:
            assert sender.send(topic, [Outgoing(b"first")]) == [Sent(0, 0)]
            reader.seek_beginning()
            assert [one.value for one in reader.take(1)] == [b"first"]
            connections = gate.connections
            with RawConnection(broker.port) as neighbour:
                assert neighbour.produce(produce_request(topic, corrupt_batch(one_batch([b"bad"])))).error == 2
                neighbour.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert neighbour.at_end()
            assert sender.send(topic, [Outgoing(b"second")]) == [Sent(0, 1)]
            assert [one.value for one in reader.take(1)] == [b"second"]
            assert gate.connections == connections, "the client had to connect again"

    def test_a_lost_request_is_sent_again(self, gated: tuple[Broker, Gate], connect: Connect, fresh: Name) -> None:
        _, gate = gated
        client, topic = connect(gate.address), fresh("lost")
        client.create_topic(topic)
        with client.sender() as sender, client.reader(topic, [0]) as reader:
            assert sender.send(topic, [Outgoing(b"first")]) == [Sent(0, 0)]
            gate.lose(PRODUCE, 1)
            assert sender.send(topic, [Outgoing(b"second")]) == [Sent(0, 1)]
            reader.seek_beginning()
            assert [one.value for one in reader.take(2)] == [b"first", b"second"]

    @needs("idempotence")
    def test_a_lost_answer_makes_no_record_twice(
        self, gated: tuple[Broker, Gate], connect: Connect, fresh: Name
    ) -> None:
        _, gate = gated
        client, topic = connect(gate.address), fresh("unanswered")
        client.create_topic(topic)
        with client.sender() as sender, client.reader(topic, [0]) as reader:
            assert sender.send(topic, [Outgoing(b"first")]) == [Sent(0, 0)]
            gate.lose_answers(PRODUCE, 1)
            mark = gate.mark()
            assert sender.send(topic, [Outgoing(b"second")]) == [Sent(0, 1)]
            assert gate.counts(mark)[PRODUCE] == 2, "it was not sent again"
            assert sender.send(topic, [Outgoing(b"third")]) == [Sent(0, 2)]
            reader.seek_beginning()
            assert [one.value for one in reader.take(3)] == [b"first", b"second", b"third"]

    @needs("idempotence")
    def test_a_broker_killed_while_records_are_sent_loses_and_doubles_none(
        self, gated: tuple[Broker, Gate], connect: Connect, fresh: Name
    ) -> None:
        broker, gate = gated
        client, topic = connect(gate.address), fresh("ridden-out")
        client.create_topic(topic, PARTITIONS)
        with client.sender() as sender:
            sent: list[Sent] = []
            failures: list[BaseException] = []

            def send() -> None:
                try:
                    for turn in range(60):
                        batch = [Outgoing(value(turn * PARTITIONS + p), partition=p) for p in EVERY]
                        sent.extend(sender.send(topic, batch))
                except BaseException as error:
                    failures.append(error)

            thread = threading.Thread(target=send)
            thread.start()
            gate.wait_for(lambda: gate.counts()[PRODUCE] >= 5 or bool(failures), "it sends")
            broker.restart(kill=True)
            thread.join(2 * DEADLINE_S)
            assert not failures, failures
        with client.reader(topic, EVERY) as reader:
            reader.seek_beginning()
            received = reader.take(len(sent))
        assert sorted(int(one.value or b"") for one in received) == list(range(60 * PARTITIONS))
        assert {(one.partition, one.offset) for one in received} == set(sent)

    @needs("topics")
    def test_refusals_have_kafkas_names(self, client: Client, fresh: Name) -> None:
        topic = fresh("refused")
        client.create_topic(topic)
        assert _refusal(lambda: client.create_topic(topic)) == "TOPIC_ALREADY_EXISTS"
        assert _refusal(lambda: client.create_topic("no/name")) == "INVALID_TOPIC_EXCEPTION"
        assert _refusal(lambda: client.create_topic(fresh("bad"), 0)) == "INVALID_PARTITIONS"

    @needs("topics", "configs")
    def test_a_config_that_is_none_is_refused(self, client: Client, fresh: Name) -> None:
        topic = fresh("misconfigured")
        assert _refusal(lambda: client.create_topic(topic, 1, {"retention.ms": "soon"})) == "INVALID_CONFIG"
        client.create_topic(topic)
        assert _refusal(lambda: client.set_config(topic, "cleanup.policy", "burn")) == "INVALID_CONFIG"
        assert topic in client.topics()


def _refusal(call: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as refused:
        call()
    return refused.value.name
