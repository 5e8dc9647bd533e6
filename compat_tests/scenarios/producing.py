"""Producing: where records go, what a record can be, every codec, every size."""

from collections import Counter, defaultdict

import pytest

from compat_tests.client import CRC32, Client, Outgoing, Received, RefusedError, Sent, by_crc32
from compat_tests.gate import Gate
from compat_tests.harness import Broker
from compat_tests.scenarios.base import EVERY, MANY, PARTITIONS, Base, Connect, Name, needs, value


class Producing(Base):
    """100,000 records of 100 bytes to 6 partitions, and the shapes of single ones."""

    def test_records_without_keys_spread_over_all_partitions(self, client: Client, fresh: Name) -> None:
        sent, received = self._round_trip(client, fresh("plain"), [Outgoing(value(n)) for n in range(MANY)])
        per_partition = Counter(one.partition for one in sent)
        assert set(per_partition) == set(EVERY)
        assert min(per_partition.values()) > MANY / PARTITIONS / 5, "one partition got next to nothing"
        assert len(received) == MANY

    def test_records_with_keys_stay_together_and_in_order(self, client: Client, fresh: Name) -> None:
        records = [Outgoing(value(n), key=f"key-{n % 500}".encode()) for n in range(MANY)]
        _, received = self._round_trip(client, fresh("keyed"), records)
        homes: dict[bytes, set[int]] = defaultdict(set)
        last: dict[bytes, int] = {}
        for one in received:
            assert one.key is not None
            assert one.value is not None
            number = int(one.value)
            homes[one.key].add(one.partition)
            assert number > last.get(one.key, -1), "a key's records changed their order"
            last[one.key] = number
        assert len(homes) == 500
        assert {len(partitions) for partitions in homes.values()} == {1}

    @needs("partitioner")
    def test_records_go_where_the_custom_partitioner_says(self, client: Client, fresh: Name) -> None:
        records = [Outgoing(value(n), key=str(n % 1000).encode()) for n in range(MANY)]
        _, received = self._round_trip(client, fresh("custom"), records, CRC32)
        assert all(one.partition == by_crc32(one.key, PARTITIONS) for one in received)

    def _round_trip(
        self, client: Client, topic: str, records: list[Outgoing], partitioner: str | None = None
    ) -> tuple[list[Sent], list[Received]]:
        """Sends, reads all back: what was acknowledged is what is there, at the offset that was told."""
        client.create_topic(topic, PARTITIONS)
        with client.sender(partitioner=partitioner) as sender:
            sent = sender.send(topic, records)
        with client.reader(topic, EVERY) as reader:
            reader.seek_beginning()
            received = reader.take(len(records))
        told = {(place.partition, place.offset): record.value for place, record in zip(sent, records, strict=True)}
        found = {(one.partition, one.offset): one.value for one in received}
        assert len(received) == len(records) == len(told)
        assert found == told
        for partition in EVERY:
            offsets = [one.offset for one in received if one.partition == partition]
            assert offsets == list(range(len(offsets)))
        return sent, received

    @pytest.mark.parametrize(
        "codec", [pytest.param(codec, marks=needs(f"codec.{codec}")) for codec in ("gzip", "snappy", "lz4", "zstd")]
    )
    def test_compressed_records_come_back_whole(self, client: Client, fresh: Name, codec: str) -> None:
        topic = fresh(codec)
        client.create_topic(topic)
        values = [bytes([n % 251]) * (n * 7) for n in range(1, 300)]
        with client.sender(compression=codec) as sender, client.reader(topic, [0]) as reader:
            sender.send(topic, [Outgoing(value, key=b"k%d" % n) for n, value in enumerate(values)])
            reader.seek_beginning()
            assert [(one.key, one.value) for one in reader.take(len(values))] == [
                (b"k%d" % n, value) for n, value in enumerate(values)
            ]

    def test_null_keys_null_values_and_a_megabyte(self, client: Client, fresh: Name) -> None:
        large = bytes(range(250)) * 4_000
        assert len(large) == 1_000_000
        self._come_back(
            client,
            fresh("shapes"),
            [
                Outgoing(b"no key"),
                Outgoing(None, key=b"no value"),
                Outgoing(large, key=b"large"),
                Outgoing(b"after", key=b"large"),
            ],
        )

    @needs("empty")
    def test_empty_keys_and_values_are_not_null(self, client: Client, fresh: Name) -> None:
        records = [Outgoing(b"", b""), Outgoing(None, b""), Outgoing(b"", b"k"), Outgoing(b"v", b"")]
        self._come_back(client, fresh("empty"), records)

    @needs("headers")
    def test_headers_keep_their_order_names_and_bytes(self, client: Client, fresh: Name) -> None:
        headers = (("a", b"1"), ("a", b"2"), ("łódź", b""), ("b", bytes(range(256))))
        records = [Outgoing(b"v", b"k", headers), Outgoing(b"none", b"k"), Outgoing(b"w", b"k", headers)]
        self._come_back(client, fresh("headed"), records)

    def _come_back(self, client: Client, topic: str, records: list[Outgoing]) -> None:
        """Sent one by one to a topic of one partition, they are read as they were."""
        client.create_topic(topic)
        with client.sender() as sender, client.reader(topic, [0]) as reader:
            for record in records:
                sender.send(topic, [record])
            reader.seek_beginning()
            received = reader.take(len(records))
        assert [(one.key, one.value, one.headers) for one in received] == [
            (record.key, record.value, record.headers) for record in records
        ]

    @needs("configs")
    def test_too_large_a_record_is_refused_and_the_connection_lives(
        self, gated: tuple[Broker, Gate], connect: Connect, fresh: Name
    ) -> None:
        _, gate = gated
        client = connect(gate.address)
        topic = fresh("limited")
        client.create_topic(topic, configs={"max.message.bytes": "2000"})
        # not idempotent: kafka-python's idempotent producer takes any refusal as the end of its life
        with client.sender(idempotent=False) as sender:
            assert sender.send(topic, [Outgoing(b"small")]) == [Sent(0, 0)]
            connections = gate.connections
            with pytest.raises(RefusedError) as refused:
                sender.send(topic, [Outgoing(b"x" * 10_000)])
            assert refused.value.name == "MESSAGE_TOO_LARGE"
            assert sender.send(topic, [Outgoing(b"small again")]) == [Sent(0, 1)]
            assert gate.connections == connections, "the client had to connect again"
