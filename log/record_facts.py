"""What is in a record of Kafka's own topics, or of a control batch, as facts: its key and value, field by field.

Records of other topics stay bytes. Files are read in `dump`.
"""

from __future__ import annotations

from typing import Any, Final

from ottla.log.ids import uuid_text
from ottla.wire.errors import KafkaError, ProtocolError
from ottla.wire.records import ControlRecordType, Record, control_record_type
from ottla.wire.schema import Message, Struct

Fact = dict[str, Any]
"""`kind` says what it is; values are numbers, text, bytes, None, or lists and mappings of those. Names end in units."""

FAMILIES: Final = {
    "offsets": "__consumer_offsets",
    "transactions": "__transaction_state",
    "metadata": "__cluster_metadata",
    "share": "__share_group_state",
}
"""What records can be decoded as, and the topics that hold them."""


def record_fact(record: Record, control: bool, family: str | None) -> Fact:
    """A record, of a control batch or decoded as `family` (a key of `FAMILIES`); `undecoded` says why that failed."""
    fact: Fact = {"kind": "record", "offset": record.offset, "timestamp_ms": record.timestamp_ms}
    try:
        if control:
            fact.update(_decode_control(record))
        elif family is not None:
            fact.update(_decode_state(record, family))
    except (KafkaError, ProtocolError) as error:
        fact["undecoded"] = str(error)
    if "type" not in fact:
        fact.update(key=record.key, value=record.value)
    if record.headers:
        fact["headers"] = [{"key": key, "value": value} for key, value in record.headers]
    return fact


def _decode_control(record: Record) -> Fact:
    from ottla.wire.state import embedded

    kind = control_record_type(record.key)
    schemas: dict[ControlRecordType, type[Message]] = {
        ControlRecordType.ABORT: embedded.EndTxnMarker,
        ControlRecordType.COMMIT: embedded.EndTxnMarker,
        ControlRecordType.LEADER_CHANGE: embedded.LeaderChangeMessage,
        ControlRecordType.SNAPSHOT_HEADER: embedded.SnapshotHeaderRecord,
        ControlRecordType.SNAPSHOT_FOOTER: embedded.SnapshotFooterRecord,
        ControlRecordType.KRAFT_VERSION: embedded.KRaftVersionRecord,
        ControlRecordType.KRAFT_VOTERS: embedded.VotersRecord,
    }
    cls = schemas.get(kind)
    fact: Fact = {"type": kind.name}
    if cls is None or record.value is None or len(record.value) < 2:
        return fact
    version = min(int.from_bytes(record.value[:2], "big"), cls.VALID[1])
    # in a marker the version stands before the fields, in the others it is the first of them
    start = 2 if cls is embedded.EndTxnMarker else 0
    return {**fact, "value": plain(cls.decode(record.value, version, start), version)}


def _decode_state(record: Record, family: str) -> Fact:
    """A record of a coordinator's topic, or of the metadata log. Raises ProtocolError."""
    if family == "metadata":
        from ottla.wire.state.metadata_frame import decode_metadata_record

        if record.value is None:
            return {}
        change = decode_metadata_record(record.value)
        return {} if change is None else {"type": change.NAME, "value": plain(change, change.VALID[1])}
    from ottla.wire import state_records

    decoders = {
        "offsets": state_records.CONSUMER_OFFSETS,
        "transactions": state_records.TRANSACTION_STATE,
        "share": state_records.SHARE_STATE,
    }
    if record.key is None:
        return {}
    key, value = decoders[family].decode(record.key, record.value)
    fact: Fact = {"type": key.NAME.removesuffix("Key"), "key": plain(key, 0), "value": None}
    if value is not None and record.value is not None:
        fact["value_version"] = version = int.from_bytes(record.value[:2], "big")
        fact["value"] = plain(value, version)
    return fact


def plain(message: Struct, version: int) -> Fact:
    """The fields that a message has in `version`, as nested mappings by name; uuids as Kafka prints them."""
    annotations = type(message).__annotations__
    return {
        name: _plain_value(getattr(message, name), annotations[name], version)
        for name, field in type(message).FIELDS.items()
        if _is_in(field.versions, version)
    }


def _is_in(versions: str, version: int) -> bool:
    """Is `version` one of Kafka's text "3-7", "3+" or "3"?"""
    first, dash, last = versions.partition("-")
    if versions.endswith("+"):
        return version >= int(versions[:-1])
    return int(first) <= version <= int(last if dash else first)


def _plain_value(value: Any, annotation: str, version: int) -> Any:
    if isinstance(value, Struct):
        return plain(value, version)
    if isinstance(value, list):
        return [_plain_value(item, annotation, version) for item in value]
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, bytes) and "Uuid" in annotation:
        return uuid_text(value)
    return value
