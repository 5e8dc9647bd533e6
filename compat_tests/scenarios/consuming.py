"""Consuming without a group: where to begin, and holding partitions back."""

import time

from compat_tests.client import Client, Outgoing
from compat_tests.scenarios.base import Base, Name, needs, numbers, places_of, value


class Consuming(Base):
    """Beginning, end, offsets, timestamps; pause and resume."""

    @needs("timestamps", "seek_time")
    def test_consume_from_beginning_offset_timestamp_and_end(self, client: Client, fresh: Name) -> None:
        topic = fresh("begin")
        client.create_topic(topic, 2)
        start_ms = time.time_ns() // 1_000_000 - 1_000_000  # recent: retention must not take them
        records = [Outgoing(value(n), partition=n % 2, timestamp_ms=start_ms + n * 1_000) for n in range(200)]
        with client.sender() as sender, client.reader(topic, [0, 1]) as reader:
            sender.send(topic, records)
            reader.seek_beginning()
            assert sorted(numbers(reader.take(200))) == list(range(200))

            reader.seek({0: 90, 1: 95})
            assert sorted(places_of(reader.take(15))) == [(0, n) for n in range(90, 100)] + [
                (1, n) for n in range(95, 100)
            ]

            # between two records: the first at or after it, in each partition
            assert reader.seek_time(start_ms + 150_500) == {0: 76, 1: 75}
            later = reader.take(49)
            assert sorted(numbers(later)) == list(range(151, 200))
            assert all(one.timestamp_ms == start_ms + int(one.value or b"") * 1_000 for one in later)

            # after the last record there is nothing: the broker says so, the reader waits at the end
            assert reader.seek_time(start_ms + 1_000_000) == {0: None, 1: None}
            reader.seek_end()
            sender.send(topic, [Outgoing(value(n), partition=n % 2) for n in range(200, 210)])
            assert sorted(numbers(reader.take(10))) == list(range(200, 210))

    @needs("pause")
    def test_a_paused_partition_waits_while_others_are_read(self, client: Client, fresh: Name) -> None:
        topic = fresh("paused")
        client.create_topic(topic, 2)
        with client.sender() as sender, client.reader(topic, [0, 1]) as reader:
            sender.send(topic, [Outgoing(value(n), partition=n % 2) for n in range(20)])
            reader.seek_beginning()
            reader.pause([0])
            assert places_of(reader.take(10)) == [(1, n) for n in range(10)]
            sender.send(topic, [Outgoing(value(n), partition=n % 2) for n in range(20, 24)])
            assert places_of(reader.take(2)) == [(1, 10), (1, 11)]
            reader.resume([0])
            assert places_of(reader.take(12)) == [(0, n) for n in range(12)]

    @needs("ends", "delete_records")
    def test_deleted_records_are_gone_and_the_log_begins_later(self, client: Client, fresh: Name) -> None:
        topic = fresh("trimmed")
        client.create_topic(topic)
        with client.sender() as sender, client.reader(topic, [0]) as reader:
            sender.send(topic, [Outgoing(value(n)) for n in range(10)])
            client.delete_records(topic, {0: 7})
            assert client.ends(topic, [0]) == {0: 10}
            reader.seek_beginning()
            assert places_of(reader.take(3)) == [(0, 7), (0, 8), (0, 9)]
