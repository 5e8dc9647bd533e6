"""Requests and answers of Produce that are late, lost, torn or held: what comes of the record, and how often."""

from compat_tests.client import Client, Sent
from compat_tests.confluent.adapter import Adapter as Bystander
from compat_tests.faults.base import Beside, FaultBase, read, refused, send
from compat_tests.faults.orders import Orders
from compat_tests.harness import Broker
from compat_tests.scenarios.base import Name

IMPATIENT_MS = 700


class Producing(FaultBase):
    """`delay`, `drop`, `cut`, `throttle`, `hold` and `fence` of Produce."""

    def test_a_lost_request_is_sent_again_on_another_connection(
        self, client: Client, orders: Orders, fresh: Name
    ) -> None:
        topic = fresh("lost")
        client.create_topic(topic)
        with client.sender(idempotent=False) as sender:
            assert send(sender, topic, "first") == [Sent(0, 0)]
            fault = orders.order(api="Produce", topic=topic, drop="before", times=1)
            after = orders.tell(api="Produce", topic=topic)
            assert send(sender, topic, "second") == [Sent(0, 1)]
            assert fault.did == ["closed the connection before applying"]
            assert after.fired == 1
            assert after.log[0]["connection"] != fault.log[0]["connection"]
        assert read(client, topic, 2) == ["first", "second"]

    def test_a_lost_answer_makes_one_record_of_an_idempotent_producer(
        self, client: Client, orders: Orders, fresh: Name
    ) -> None:
        topic = fresh("unanswered")
        client.create_topic(topic)
        with client.sender() as sender:
            assert send(sender, topic, "first") == [Sent(0, 0)]
            fault = orders.order(api="Produce", topic=topic, drop="after", times=1)
            after = orders.tell(api="Produce", topic=topic)
            assert send(sender, topic, "second") == [Sent(0, 1)]
            assert fault.did == ["closed the connection after applying, without an answer"]
            assert after.fired == 1, "it was not sent again"
            assert send(sender, topic, "third") == [Sent(0, 2)]
        assert read(client, topic, 3) == ["first", "second", "third"]

    def test_a_lost_answer_makes_two_records_of_a_producer_without_idempotence(
        self, client: Client, orders: Orders, fresh: Name
    ) -> None:
        topic = fresh("doubled")
        client.create_topic(topic)
        with client.sender(idempotent=False) as sender:
            fault = orders.order(api="Produce", topic=topic, drop="after", times=1)
            assert send(sender, topic, "twice") == [Sent(0, 1)]
            assert fault.fired == 1
        assert client.ends(topic, [0]) == {0: 2}
        assert read(client, topic, 2) == ["twice", "twice"]

    def test_half_an_answer_is_none(self, client: Client, orders: Orders, fresh: Name) -> None:
        topic = fresh("torn")
        client.create_topic(topic)
        with client.sender() as sender:
            assert send(sender, topic, "first") == [Sent(0, 0)]
            fault = orders.order(api="Produce", topic=topic, cut=0.5, times=1)
            assert send(sender, topic, "second") == [Sent(0, 1)]
            assert fault.did == ["sent 0.5 of the bytes of the answer and closed the connection"]
        assert read(client, topic, 2) == ["first", "second"]

    def test_a_late_answer_is_waited_for(self, client: Client, orders: Orders, fresh: Name) -> None:
        topic = fresh("late")
        client.create_topic(topic)
        with client.sender() as sender:
            for when in ("before", "after"):
                fault = orders.order(api="Produce", topic=topic, delay="60ms", when=when, times=1)
                told = orders.count(api="Produce", topic=topic)
                send(sender, topic, when)
                assert fault.did == [f"delayed by 60 ms {when} applying"]
                assert told.seen == 1
        assert read(client, topic, 2) == ["before", "after"]

    def test_an_answer_that_never_comes_is_given_up_and_asked_for_again(
        self, client: Client, orders: Orders, fresh: Name
    ) -> None:
        topic = fresh("given-up")
        client.create_topic(topic)
        with client.sender(request_timeout_ms=IMPATIENT_MS) as sender:
            assert send(sender, topic, "first") == [Sent(0, 0)]
            fault = orders.order(api="Produce", topic=topic, hold="after", times=1)
            after = orders.tell(api="Produce", topic=topic)
            assert send(sender, topic, "second") == [Sent(0, 1)]
            assert fault.did == ["held after applying"]
            assert after.fired >= 1
            assert after.log[0]["connection"] != fault.log[0]["connection"]
        assert read(client, topic, 2) == ["first", "second"]

    def test_a_held_request_is_applied_when_it_is_let_go(
        self, client: Client, broker: Broker, orders: Orders, fresh: Name
    ) -> None:
        topic = fresh("held")
        client.create_topic(topic)
        bystander = Bystander(broker.bootstrap)  # a driver does one thing at a time
        with client.sender() as sender:
            for when, end in (("before", 0), ("after", 2)):
                fault = orders.order(api="Produce", topic=topic, hold=when)
                with Beside(lambda when=when: send(sender, topic, when)) as sending:
                    fault.wait_held()
                    assert bystander.ends(topic, [0]) == {0: end}
                    assert not sending.is_over
                    fault.release()
                assert len(sending.result()) == 1
                assert fault.did == [f"held {when} applying"]
        assert read(client, topic, 2) == ["before", "after"]

    def test_a_throttled_connection_is_not_heard_for_that_long(
        self, client: Client, orders: Orders, fresh: Name
    ) -> None:
        topic = fresh("throttled")
        client.create_topic(topic)
        with client.sender() as sender:
            assert send(sender, topic, "first") == [Sent(0, 0)]
            fault = orders.order(api="Produce", topic=topic, throttle="300ms", times=1)
            after = orders.tell(api="Produce", topic=topic)
            assert send(sender, topic, "second") == [Sent(0, 1)]
            assert send(sender, topic, "third") == [Sent(0, 2)]
            assert fault.did == ["throttled for 300 ms"]
            (throttled,), (next_one,) = fault.log, after.log
            assert next_one["time_ms"] - throttled["time_ms"] >= 299
            assert next_one["connection"] == throttled["connection"]

    def test_an_idempotent_producer_whose_epoch_was_raised(self, client: Client, orders: Orders, fresh: Name) -> None:
        topic = fresh("fenced")
        client.create_topic(topic)
        with client.sender() as sender:
            assert send(sender, topic, "first") == [Sent(0, 0)]
            fault = orders.order(api="Produce", topic=topic, fence="producer", times=1)
            told = self.of({"aiokafka": "PRODUCER_FENCED", "franz_go": ""}, "INVALID_PRODUCER_EPOCH")
            if told:
                assert refused(lambda: send(sender, topic, "second")) == told
            else:  # takes the next epoch of itself, and sends again
                assert len(send(sender, topic, "second")) == 1
            assert fault.fired == 1
            assert "raised the producer epoch of producer" in fault.did[0]
            if self.adapter.name == "aiokafka":  # of no more use
                assert refused(lambda: send(sender, topic, "third")) == told
                return
            assert len(send(sender, topic, "third")) == 1
        values = ["first", "third"] if told else ["first", "second", "third"]
        assert read(client, topic, len(values)) == values
