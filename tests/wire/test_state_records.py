"""Frames of coordinator records: unknown types and versions, cut bytes. (What is well-formed: test_golden.py.)"""

import struct

import pytest

from ottla.wire.errors import ProtocolError
from ottla.wire.state.consumer_offsets import OffsetCommitKey, OffsetCommitValue
from ottla.wire.state.embedded import ConsumerProtocolSubscription
from ottla.wire.state_records import (
    CONSUMER_OFFSETS,
    UnknownRecordTypeError,
    decode_versioned,
    encode_key,
    encode_versioned,
)


def test_an_offset_commit():
    key = OffsetCommitKey(group="g", topic="t", partition=3)
    value = OffsetCommitValue(offset=42, leader_epoch=7, metadata="m", commit_timestamp=1)
    assert encode_key(key) == struct.pack(">h", 1) + b"\0\1g\0\1t" + struct.pack(">i", 3)
    assert CONSUMER_OFFSETS.decode(encode_key(key), encode_versioned(value, 3)) == (key, value)
    assert CONSUMER_OFFSETS.decode(encode_key(key), None) == (key, None)


def test_a_type_that_is_not_known_may_be_skipped():
    with pytest.raises(UnknownRecordTypeError, match="unknown record type 99"):
        CONSUMER_OFFSETS.decode(struct.pack(">h", 99), b"")


def test_versions_that_are_not_known():
    value = struct.pack(">h", 9) + OffsetCommitValue().encode(0)
    with pytest.raises(ProtocolError, match="unknown version 9"):
        decode_versioned(OffsetCommitValue, value)
    with pytest.raises(ProtocolError, match="unknown version -1"):
        decode_versioned(OffsetCommitValue, struct.pack(">h", -1), clamp=True)


def test_a_subscription_of_a_newer_consumer_is_read_as_the_newest_known():
    subscription = ConsumerProtocolSubscription(topics=["t"], rack_id="r")
    newer = struct.pack(">h", 9) + subscription.encode(3) + b"what version 9 added"
    assert decode_versioned(ConsumerProtocolSubscription, newer, clamp=True) == subscription


def test_cut_bytes():
    for data in (b"", b"\0"):
        with pytest.raises(ProtocolError):
            CONSUMER_OFFSETS.decode(data, None)
        with pytest.raises(ProtocolError):
            decode_versioned(OffsetCommitValue, data)


def test_what_is_no_record_has_no_key():
    with pytest.raises(TypeError):
        encode_key(ConsumerProtocolSubscription())
