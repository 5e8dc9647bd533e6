"""kafka-go through every scenario, and what it does where it cannot do as the others do (FINDINGS.md)."""

from collections import Counter

import pytest

from compat_tests.client import Client, MemberConfig, Outgoing
from compat_tests.driving import driven
from compat_tests.harness import Broker
from compat_tests.member import Story
from compat_tests.scenarios import Scenarios
from compat_tests.scenarios.base import PARTITIONS, Connect, Name, ends_of, value

_BATCHES = "its record batches carry no producer id"


class TestKafkaGo(Scenarios):
    """The scenarios with kafka-go."""

    adapter = driven(
        "kafka_go",
        {
            "idempotence": _BATCHES,
            "transactions": f"{_BATCHES}: the requests of transactions are there, records in one are not",
            "transactions.offsets": f"{_BATCHES}: the requests of transactions are there, records in one are not",
            "delete_records": "no DeleteRecords request",
            "static": "its groups take no group.instance.id",
            "assignor.sticky": "range and round robin alone",
            "assignor.cooperative-sticky": "range and round robin alone",
            "protocol.consumer": "no KIP-848 yet",
            "empty": "its reader gives an empty key or value as null",
            "groups.restart": "a member whose connection ends joins again, under a new id if its broker is away",
        },
    )
    pytestmark = pytest.mark.compat

    def test_an_empty_key_or_value_is_read_as_null(self, client: Client, fresh: Name) -> None:
        topic, large = fresh("empty"), b"x" * 1_000_000
        client.create_topic(topic)
        with client.sender() as sender, client.reader(topic, [0]) as reader:
            for key, sent in ((b"", b""), (None, b"no key"), (b"no value", None), (b"large", large)):
                sender.send(topic, [Outgoing(sent, key)])
            reader.seek_beginning()
            received = [(one.key, one.value) for one in reader.take(4)]
        assert received == [(None, None), (None, b"no key"), (b"no value", None), (b"large", large)]

    @pytest.mark.parametrize("kill", [True, False], ids=["kill-9", "clean"])
    def test_a_group_goes_on_after_restart_by_joining(
        self, own_broker: Broker, connect: Connect, fresh: Name, kill: bool
    ) -> None:
        client, topic = connect(own_broker.bootstrap), fresh("joining")
        client.create_topic(topic, PARTITIONS)
        config = MemberConfig(fresh("joiners"), topic)
        with Story() as story, client.sender() as sender:
            members = [story.join(client.name, own_broker.bootstrap, config) for _ in range(2)]
            names = [member.name for member in members]
            story.wait_for(lambda: story.shared_among(names, PARTITIONS), "two members share the partitions")
            places = sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(120)])
            story.wait_for(lambda: story.committed() == ends_of(places), "all is committed")
            own_broker.restart(kill=kill)
            places += sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(120, 240)])
            story.wait_for(lambda: story.committed() == ends_of(places), "the group goes on")
            story.wait_for(lambda: story.shared_among(names, PARTITIONS), "they share again")
            story.stop(members)
            processed = story.processed()
            assert set(processed) == set(places)
            assert processed - Counter(places) <= story.uncommitted(), "a record was done again after its commit"
