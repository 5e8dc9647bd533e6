"""What every client library must see, whatever it is written in: one list of scenarios, run once for each library.

A client folder subclasses `Scenarios` and names its adapter; each scenario is then a test of that client's.
"""

import itertools
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from compat_tests.client import Client, MemberConfig, Outgoing, Partitioner, Received, SendError, Sent
from compat_tests.gate import HEARTBEAT, JOIN_GROUP, SYNC_GROUP, Gate
from compat_tests.harness import Broker
from compat_tests.member import Story
from compat_tests.raw import RawConnection, corrupt_batch, heartbeat_generation, one_batch, produce_request

MANY = 100_000
PARTITIONS = 6
EVERY = range(PARTITIONS)
Name = Callable[[str], str]


class Scenarios:
    """The list. `adapter` is the client's."""

    adapter: type[Client]

    @pytest.fixture
    def client(self, broker: Broker) -> Client:
        """The client on the module's broker."""
        return self.adapter(broker.bootstrap)

    # ---- (1) 100,000 records of 100 bytes to 6 partitions

    def test_records_without_keys_spread_over_all_partitions(self, client: Client, fresh: Name) -> None:
        sent, received = self._round_trip(client, fresh("plain"), [Outgoing(_value(n)) for n in range(MANY)])
        per_partition = Counter(one.partition for one in sent)
        assert set(per_partition) == set(EVERY)
        assert min(per_partition.values()) > MANY / PARTITIONS / 5, "one partition got next to nothing"
        assert len(received) == MANY

    def test_records_with_keys_stay_together_and_in_order(self, client: Client, fresh: Name) -> None:
        records = [Outgoing(_value(n), key=f"key-{n % 500}".encode()) for n in range(MANY)]
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

    def test_records_go_where_the_custom_partitioner_says(self, client: Client, fresh: Name) -> None:
        def last_digit(key: bytes | None, partitions: int) -> int:
            return zlib.crc32(key or b"") % partitions

        records = [Outgoing(_value(n), key=str(n % 1000).encode()) for n in range(MANY)]
        _, received = self._round_trip(client, fresh("custom"), records, last_digit)
        assert all(one.partition == last_digit(one.key, PARTITIONS) for one in received)

    def _round_trip(
        self, client: Client, topic: str, records: list[Outgoing], partitioner: Partitioner | None = None
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

    # ---- (2) where to begin

    def test_consume_from_beginning_offset_timestamp_and_end(self, client: Client, fresh: Name) -> None:
        topic = fresh("begin")
        client.create_topic(topic, 2)
        start_ms = time.time_ns() // 1_000_000 - 1_000_000  # recent: retention must not take them
        records = [Outgoing(_value(n), partition=n % 2, timestamp_ms=start_ms + n * 1_000) for n in range(200)]
        with client.sender() as sender, client.reader(topic, [0, 1]) as reader:
            sender.send(topic, records)
            reader.seek_beginning()
            assert sorted(_numbers(reader.take(200))) == list(range(200))

            reader.seek({0: 90, 1: 95})
            assert sorted(_places(reader.take(15))) == [(0, n) for n in range(90, 100)] + [
                (1, n) for n in range(95, 100)
            ]

            # between two records: the first at or after it, in each partition
            assert reader.seek_time(start_ms + 150_500) == {0: 76, 1: 75}
            later = reader.take(49)
            assert sorted(_numbers(later)) == list(range(151, 200))
            assert all(one.timestamp_ms == start_ms + int(one.value or b"") * 1_000 for one in later)

            # after the last record there is nothing: the broker says so, the reader waits at the end
            assert reader.seek_time(start_ms + 1_000_000) == {0: None, 1: None}
            reader.seek_end()
            sender.send(topic, [Outgoing(_value(n), partition=n % 2) for n in range(200, 210)])
            assert sorted(_numbers(reader.take(10))) == list(range(200, 210))

    # ---- (3) groups

    def test_group_shares_partitions_and_survives_a_killed_member(
        self, client: Client, broker: Broker, fresh: Name
    ) -> None:
        topic = fresh("shared")
        client.create_topic(topic, PARTITIONS)
        config = MemberConfig(group=fresh("workers"), topic=topic)
        with Story() as story:
            with feeding(client, topic, EVERY, each=3, pause_s=0.02) as fed:
                members = [story.join(client.name, broker.bootstrap, config) for _ in range(3)]
                names = [member.name for member in members]
                story.wait_for(lambda: story.shared_among(names, PARTITIONS), "three members own each partition once")

                members.append(story.join(client.name, broker.bootstrap, config))
                names.append(members[-1].name)
                story.wait_for(lambda: story.shared_among(names, PARTITIONS), "the fourth member has its share")
                # the one that is killed has processed something since, so that there is something to lose
                joined = len(story.events)
                story.wait_for(
                    lambda: any(event.member == names[0] for event in story.named("committed", joined)),
                    "the first member goes on after the rebalance",
                )
                killed_at_s = members[0].kill()
                story.wait_for(
                    lambda: story.shared_among(names[1:], PARTITIONS), "the others take over the killed member's share"
                )
                rebalanced_at_s = max(event.at_s for event in story.named("assigned"))
            ends = ends_of(fed)
            story.wait_for(lambda: story.committed() == ends, "everything is processed and committed")
            story.stop(members[1:])

            # the members notice a rebalance by their next heartbeat, half a second, and then have to join
            assert rebalanced_at_s - killed_at_s <= config.session_timeout_ms / 1000 + 2
            assert story.two_owners() == []
            processed = story.processed()
            assert set(processed) == set(fed), "a record was lost"
            again = Counter({place: times - 1 for place, times in processed.items() if times > 1})
            assert again <= story.uncommitted(), "a record was done again although its commit was acknowledged"
            assert again.total() <= config.batch * (1 + len(story.named("commit_failed")))
            assert client.committed(config.group, topic, EVERY) == ends

    def test_two_groups_read_independently(self, client: Client, broker: Broker, fresh: Name) -> None:
        topic = fresh("twice")
        client.create_topic(topic, PARTITIONS)
        with client.sender() as sender:
            places = sender.send(topic, [Outgoing(_value(n)) for n in range(300)])
        ends = ends_of(places)
        groups = [fresh("reader"), fresh("reader")]
        for group in groups:
            assert not any(client.committed(group, topic, EVERY).values())
            with Story() as story:
                member = story.join(client.name, broker.bootstrap, MemberConfig(group=group, topic=topic))
                story.wait_for(lambda story=story: story.committed() == ends, f"{group} reads everything")
                member.stop()
                assert story.processed() == Counter(places)
        for group in groups:
            assert _known(client.committed(group, topic, EVERY)) == ends

    # ---- (4) what outlives a rebalance, a restart, a crash

    def test_committed_offsets_survive_rebalance_restart_and_kill(self, own_broker: Broker, fresh: Name) -> None:
        client = self.adapter(own_broker.bootstrap)
        topic, group = fresh("kept"), fresh("keepers")
        config = MemberConfig(group=group, topic=topic)
        client.create_topic(topic, PARTITIONS)
        with client.sender() as sender:
            places = sender.send(topic, [Outgoing(_value(n), partition=n % PARTITIONS) for n in range(300)])
        ends = ends_of(places)
        with Story() as story:
            first = story.join(client.name, own_broker.bootstrap, config)
            story.wait_for(lambda: story.committed() == ends, "all is committed")
            second = story.join(client.name, own_broker.bootstrap, config)
            story.wait_for(lambda: story.shared_among(["m0", "m1"], PARTITIONS), "two members share the partitions")
            assert client.committed(group, topic, EVERY) == ends
            story.stop([first, second])
            assert story.processed() == Counter(places), "a rebalance made records be read again"

        own_broker.restart()
        assert client.committed(group, topic, EVERY) == ends
        own_broker.restart(kill=True)
        assert client.committed(group, topic, EVERY) == ends

        with client.sender() as sender:
            more = sender.send(topic, [Outgoing(_value(n), partition=n % PARTITIONS) for n in range(300, 360)])
        with Story() as story:
            member = story.join(client.name, own_broker.bootstrap, config)
            story.wait_for(lambda: story.committed() == ends_of(more), "the new records are committed")
            assert story.processed() == Counter(more), "not exactly the new records"
            member.stop()

    @pytest.mark.parametrize("kill", [True, False], ids=["kill-9", "clean"])
    def test_stable_group_goes_on_after_restart_without_joining(
        self, gated: tuple[Broker, Gate], fresh: Name, kill: bool
    ) -> None:
        broker, gate = gated
        client = self.adapter(gate.address)
        topic = fresh("stable")
        client.create_topic(topic, PARTITIONS)
        config = MemberConfig(group=fresh("steady"), topic=topic, session_timeout_ms=60_000)
        with Story() as story:
            for _ in range(2):
                story.join(client.name, gate.address, config)
            names = [member.name for member in story.members]
            story.wait_for(lambda: story.shared_among(names, PARTITIONS), "two members share the partitions")
            with client.sender() as sender:
                before = sender.send(topic, [Outgoing(_value(n), partition=n % PARTITIONS) for n in range(120)])
            story.wait_for(lambda: story.committed() == ends_of(before), "all is committed")
            settled = gate.mark()
            gate.wait_for(lambda: len(gate.since(settled, HEARTBEAT)) >= 2, "heartbeats of the stable group")
            generations = {heartbeat_generation(beat) for beat in gate.since(settled, HEARTBEAT)}
            assert len(generations) == 1

            mark, told = gate.mark(), len(story.events)
            broker.restart(kill=kill)
            with client.sender() as sender:
                after = sender.send(topic, [Outgoing(_value(n), partition=n % PARTITIONS) for n in range(120, 240)])
            story.wait_for(lambda: story.committed() == ends_of(after), "the group goes on")
            resumed = gate.mark()
            gate.wait_for(lambda: len(gate.since(resumed, HEARTBEAT)) >= 4, "heartbeats after the restart")

            counts = gate.counts(mark)
            assert counts[JOIN_GROUP] == 0
            assert counts[SYNC_GROUP] == 0
            assert {heartbeat_generation(beat) for beat in gate.since(resumed, HEARTBEAT)} == generations
            assert story.named("assigned", told) == story.named("revoked", told) == []
            assert set(story.processed()) == {*before, *after}
            assert story.processed() - story.uncommitted() <= Counter([*before, *after])

    # ---- (5) what a record can be

    @pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
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

    def test_headers_null_keys_null_values_and_a_megabyte(self, client: Client, fresh: Name) -> None:
        topic = fresh("shapes")
        client.create_topic(topic)
        large = bytes(range(250)) * 4_000
        records = [
            Outgoing(b"no key"),
            Outgoing(None, key=b"no value"),
            Outgoing(b"", key=b""),
            Outgoing(b"v", key=b"k", headers=(("a", b"1"), ("a", b"2"), ("łódź", b""), ("b", bytes(range(256))))),
            Outgoing(large, key=b"large"),
            Outgoing(b"after"),
        ]
        assert len(large) == 1_000_000
        with client.sender() as sender, client.reader(topic, [0]) as reader:
            for record in records:
                sender.send(topic, [record])
            reader.seek_beginning()
            received = reader.take(len(records))
        assert [(one.key, one.value, one.headers) for one in received] == [
            (record.key, record.value, record.headers) for record in records
        ]

    def test_too_large_a_record_is_refused_and_the_connection_lives(
        self, gated: tuple[Broker, Gate], fresh: Name
    ) -> None:
        _, gate = gated
        client = self.adapter(gate.address)
        topic = fresh("limited")
        client.create_topic(topic, configs={"max.message.bytes": "2000"})
        # not idempotent: kafka-python's idempotent producer takes any refusal as the end of its life
        with client.sender(idempotent=False) as sender:
            assert sender.send(topic, [Outgoing(b"small")]) == [Sent(0, 0)]
            connections = gate.connections
            with pytest.raises(SendError) as refused:
                sender.send(topic, [Outgoing(b"x" * 10_000)])
            assert refused.value.name == "MESSAGE_TOO_LARGE"
            assert sender.send(topic, [Outgoing(b"small again")]) == [Sent(0, 1)]
            assert gate.connections == connections, "the client had to connect again"

    # ---- (6) a bad neighbour

    def test_bad_bytes_of_others_do_not_touch_this_client(self, gated: tuple[Broker, Gate], fresh: Name) -> None:
        broker, gate = gated
        client = self.adapter(gate.address)
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


def _value(number: int) -> bytes:
    """100 bytes."""
    return b"%0100d" % number


def _numbers(records: list[Received]) -> list[int]:
    return [int(one.value or b"") for one in records]


def _places(records: list[Received]) -> list[tuple[int, int]]:
    return [(one.partition, one.offset) for one in records]


def ends_of(places: list[Sent]) -> dict[int, int]:
    """Partition -> the offset after the last of these records."""
    ends: dict[int, int] = {}
    for place in places:
        ends[place.partition] = max(place.offset + 1, ends.get(place.partition, 0))
    return ends


def _known(offsets: dict[int, int | None]) -> dict[int, int]:
    return {partition: offset for partition, offset in offsets.items() if offset is not None}


@contextmanager
def feeding(
    client: Client, topic: str, partitions: Iterable[int], *, each: int, pause_s: float
) -> Iterator[list[Sent]]:
    """Sends `each` records to each partition, over and over until the end of the block; gives the acknowledged ones."""
    fed: list[Sent] = []
    failures: list[BaseException] = []
    enough = threading.Event()

    def feed() -> None:
        try:
            with client.sender() as sender:
                for turn in itertools.count():
                    batch = [Outgoing(_value(turn), partition=p) for p in partitions for _ in range(each)]
                    fed.extend(sender.send(topic, batch))
                    if enough.wait(pause_s):
                        return
        except BaseException as error:
            failures.append(error)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield fed
    finally:
        enough.set()
        feeder.join()
    assert not failures, failures
