"""Checkpoints, properties, leader epochs, configs: texts there and back, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.log.checkpoint import format_offsets, format_properties, parse_offsets, parse_properties
from ottla.log.config import LogConfig
from ottla.log.leader_epoch import LeaderEpochs
from ottla.wire.errors import ErrorCode, KafkaError

topics = st.text("abc.-_0", min_size=1, max_size=20)


@given(st.dictionaries(st.tuples(topics, st.integers(0, 1000)), st.integers(0, 2**63 - 1)))
def test_offset_checkpoints(offsets: dict[tuple[str, int], int]) -> None:
    assert parse_offsets(format_offsets(offsets)) == offsets


@pytest.mark.parametrize(
    "data", [b"", b"1\n0\n", b"0\n2\nt 0 1\n", b"0\n1\nt 0\n", b"0\n1\nt 0 x\n", b"\xff\xfe", b"0\nx\n"]
)
def test_garbage_in_a_checkpoint(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse_offsets(data)


def test_properties() -> None:
    text = b"#\n#Sun Nov 22\n\ncluster.id=AAAA\\=\nnode.id = 1\r\n! note\n"
    assert parse_properties(text) == {"cluster.id": "AAAA=", "node.id": "1"}
    assert parse_properties(format_properties({"a": "1", "b": "x y"})) == {"a": "1", "b": "x y"}
    with pytest.raises(ValueError, match="no '='"):
        parse_properties(b"garbage")


def epochs(*pairs: tuple[int, int]) -> LeaderEpochs:
    made = LeaderEpochs()
    for epoch, start in pairs:
        made.assign(epoch, start)
    return made


def test_end_offset_for_epoch() -> None:
    known = epochs((2, 10), (4, 20), (5, 30))
    answers = {epoch: known.end_offset(epoch, 99) for epoch in (-1, 0, 2, 3, 4, 5, 6)}
    assert answers == {-1: (-1, -1), 0: (0, 10), 2: (2, 20), 3: (2, 20), 4: (4, 30), 5: (5, 99), 6: (-1, -1)}
    assert epochs().end_offset(0, 99) == (-1, -1)


def test_epoch_at_and_assign() -> None:
    known = epochs((2, 10), (4, 20))
    assert [known.epoch_at(offset) for offset in (9, 10, 19, 20, 100)] == [-1, 2, 2, 4, 4]
    assert not known.assign(4, 30)
    assert not known.assign(3, 30)
    assert known.assign(7, 20)  # epoch 4 wrote nothing
    assert known.encode() == b"0\n2\n2 10\n7 20\n"


def test_truncating_epochs() -> None:
    known = epochs((2, 10), (4, 20), (5, 30))
    assert known.truncate_start(25)
    assert known.encode() == b"0\n2\n4 25\n5 30\n"
    assert not known.truncate_start(25)
    assert known.truncate_end(30)
    assert known.encode() == b"0\n1\n4 25\n"


@pytest.mark.parametrize("data", [b"0\n2\n1 5\n1 6\n", b"0\n2\n1 5\n2 5\n", b"0\n1\n1\n", b"0\n1\n-1 5\n", b""])
def test_garbage_epochs(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        LeaderEpochs.decode(data)


def test_config_defaults_and_overrides() -> None:
    defaults = LogConfig.from_broker(
        {"log.retention.hours": "2", "log.retention.ms": "5", "message.max.bytes": "77", "broker.rack": "x"}
    )
    assert (defaults.retention_ms, defaults.max_message_bytes, defaults.segment_bytes) == (5, 77, 1 << 30)
    topic = LogConfig.from_properties(
        defaults, {"cleanup.policy": "compact, delete", "compression.type": "zstd", "preallocate": " TRUE "}
    )
    assert topic.compacts
    assert topic.deletes
    assert (topic.compression_type, topic.preallocate, topic.max_message_bytes) == (4, True, 77)
    assert LogConfig.from_broker({"log.retention.minutes": "-1"}).retention_ms == -1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("segment.bytes", "x"),
        ("segment.bytes", "-1"),
        ("cleanup.policy", "compact,compact"),
        ("cleanup.policy", "forget"),
        ("compression.type", "rar"),
        ("message.timestamp.type", "createtime"),
        ("min.cleanable.dirty.ratio", "2"),
        ("preallocate", "yes"),
    ],
)
def test_wrong_config(name: str, value: str) -> None:
    with pytest.raises(KafkaError, match=name) as caught:
        LogConfig.from_properties(None, {name: value})
    assert caught.value.code == ErrorCode.INVALID_CONFIG


def test_wrong_broker_config() -> None:
    with pytest.raises(KafkaError, match=r"log\.retention\.hours"):
        LogConfig.from_broker({"log.retention.hours": "week"})
