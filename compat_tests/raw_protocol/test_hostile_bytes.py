"""Bytes that are wrong: a bad CRC is refused and not stored, garbage closes its own connection and no other."""

import struct
from collections.abc import Callable

import pytest

from compat_tests.harness import Broker
from compat_tests.raw import (
    API_VERSIONS,
    CORRUPT_MESSAGE,
    NONE,
    RawConnection,
    corrupt_batch,
    count_records,
    one_batch,
    produce_request,
)

GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "negative size": struct.pack(">i", -5) + b"x" * 16,
    "size beyond the limit": struct.pack(">i", 2_000_000_000) + b"x" * 16,
    "unknown api": struct.pack(">ihhih", 10, 9_999, 0, 1, -1),
    "string past the end": struct.pack(">ihhih", 12, 3, 4, 1, 30_000) + b"ab",
    "body too short": struct.pack(">ihhih", 11, 0, 3, 1, -1) + b"\xff",
}


def test_batch_with_wrong_crc_is_refused_and_not_stored(broker: Broker, fresh: Callable[[str], str]) -> None:
    topic = fresh("crc")
    with RawConnection(broker.port) as connection:
        connection.make_topic(topic)
        good = one_batch([b"one", b"two"])
        assert connection.produce(produce_request(topic, good)) == (NONE, 0)
        assert connection.produce(produce_request(topic, corrupt_batch(good))) == (CORRUPT_MESSAGE, -1)
        assert connection.end_offset(topic) == 2
        assert connection.produce(produce_request(topic, good)) == (NONE, 2)
        assert count_records(connection.fetch(topic)) == 4


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_closes_only_its_own_connection(broker: Broker, garbage: bytes) -> None:
    with RawConnection(broker.port) as neighbour, RawConnection(broker.port) as connection:
        assert neighbour.ask(API_VERSIONS, 0, b"").number("h") == NONE
        connection.send_bytes(garbage)
        assert connection.at_end()
        assert neighbour.ask(API_VERSIONS, 0, b"").number("h") == NONE
    with RawConnection(broker.port) as later:
        assert later.ask(API_VERSIONS, 0, b"").number("h") == NONE
