"""Messages as comparable JSON: what each broker makes up is named in the order in which it appears.

A list of structs becomes an object, its keys what tells its elements apart (`topics[orders].partitions[0]`): brokers
answer in the order of their hash tables, and a missing element moves no other. What other cells made is left out.
"""

from __future__ import annotations

import re
from typing import Any

from ottla.wire.compiler import fields_of
from ottla.wire.schema import ZERO_UUID, Message, Struct

#: Times in the records that the cells write, and what is asked for by time.
STAMP_MS = 1_700_000_000_000
#: What no broker hands out.
UNKNOWN_PRODUCER = 1 << 40
UNKNOWN_ID = bytes([7] * 16)
#: How everything begins that a cell makes.
MADE = "gen-"

# As text, or in the 22 characters that Kafka makes of it.
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|^[A-Za-z0-9_-]{22}$")
_KEYS = (
    *("name", "topic", "topic_name", "topic_id", "resource_name", "group_id", "member_id", "transactional_id"),
    *("partition_index", "partition", "index", "partition_id", "producer_id", "api_key", "node_id", "broker_id"),
    *("replica_id", "key", "feature", "host", "log_dir", "entity_type", "entity_name"),
)
_EMPTY = ("", None, ZERO_UUID)
_LONG = 300
# Where they are in the header of a batch.
_CRC, _TIMES, _PRODUCER = slice(17, 21), slice(27, 43), slice(43, 51)
_ID_OF = "<id of "
# Another history, machine or moment; a listed field is compared by whether it is negative, zero or more.
_OWN = frozenset(
    {"total_bytes", "usable_bytes", "finalized_features_epoch", "transaction_start_time_ms"}
    | {"last_timestamp", "last_fetch_timestamp", "last_caught_up_timestamp"}
)
_OWN_BY_MESSAGE = {"DescribeQuorumResponse": frozenset({"leader_epoch", "high_watermark", "log_end_offset"})}


class Namer:
    """The names of what one broker made up in one cell, and short ones for what the cell itself made.

    `~t` is the topic `gen-Fetch-12-t`, or that of the case at hand; `~7.t` is that of case 7. `known`: text -> name.
    """

    def __init__(self, cell: str, port: int, known: dict[str, str]) -> None:
        self.case = 0
        self._prefix = f"{cell}-"
        self._made = re.compile(re.escape(self._prefix) + r"(?:(\d+)-)?")
        self._port = port
        self._topics: dict[bytes, str] = {}
        self._producers: dict[int, str] = {}
        self._names: dict[Any, str] = dict(known)
        self._counts: dict[str, int] = {}

    def know_topic(self, topic_id: bytes, name: str) -> None:
        """The id of a topic of the scene."""
        self._topics[topic_id] = name

    def know_producer(self, producer_id: int, name: str) -> None:
        """The producer id that a transactional id of the scene got."""
        self._producers[producer_id] = name

    def know(self, text: str, name: str) -> None:
        """What the scene knows by name."""
        self._names[text] = name

    def plain(self, message: Message, version: int) -> dict[str, Any]:
        """All fields that the message has at this version."""
        shown = self._struct(message, version, _OWN | _OWN_BY_MESSAGE.get(type(message).__name__, frozenset()), True)
        assert shown is not None
        return shown

    def _struct(
        self, struct: Struct, version: int, own: frozenset[str], is_whole: bool = False
    ) -> dict[str, Any] | None:
        """None: it is of another cell."""
        shown: dict[str, Any] = {}
        for field in fields_of(type(struct)):
            if version not in field.versions or field.name == "throttle_time_ms":
                continue
            value = getattr(struct, field.name)
            if (
                not is_whole
                and isinstance(value, str)
                and value.startswith(MADE)
                and not value.startswith(self._prefix)
            ):
                return None
            if field.name == "topic_id" and (shown.get("name") or "").startswith("__"):
                self._topics.setdefault(bytes(value), shown["name"])
            if isinstance(value, list) and value and isinstance(value[0], Struct):
                elements = [(self._key(one, version), self._struct(one, version, own)) for one in value]
                mine = [(key, one) for key, one in elements if one is not None]
                if not (mine or shown or is_whole):  # an entry that is about nothing else
                    return None
                shown[field.name] = _keyed(mine)
            elif isinstance(value, list):
                shown[field.name] = [self._value(field.name, one, own) for one in value]
                if field.name.endswith(("replicas", "isr_nodes")) or field.name == "partitions":
                    shown[field.name].sort(key=repr)
            elif isinstance(value, Struct):
                shown[field.name] = self._struct(value, version, own)
            else:
                shown[field.name] = self._value(field.name, value, own)
        if str(shown.get("name") or shown.get("topic") or "").startswith("__"):
            _mask_sizes(shown)
        return shown

    def _is_foreign(self, value: Any) -> bool:
        return isinstance(value, str) and value.startswith(MADE) and not value.startswith(self._prefix)

    def _key(self, struct: Struct, version: int) -> str | None:
        present = {field.name for field in fields_of(type(struct)) if version in field.versions}
        for name in _KEYS:
            if name in present and (value := getattr(struct, name)) not in _EMPTY and not isinstance(value, list):
                shown = str(self._value(name, value, frozenset()))
                return shown[len(_ID_OF) : -1] if shown.startswith(_ID_OF) else shown  # one key, by name or by id
        return None

    def _value(self, name: str, value: Any, own: frozenset[str]) -> Any:
        if name in own and isinstance(value, int):
            return "<more>" if value > 0 else value
        if name == "subscription_id":
            return "<made up>" if value else value
        if isinstance(value, bool | float):
            return value if value == value else "NaN"
        if isinstance(value, int):
            return self._number(name, int(value))
        if isinstance(value, str):
            if value in self._names:
                return self._names[value]
            text = _UUID.sub(lambda found: self._name("id", found.group()), self._made.sub(self._short, value))
            return text if len(text) < _LONG else f"<{len(text)} characters, {text[:40]}>"
        if value is None:
            return None
        data = bytes(value)
        if data == ZERO_UUID:
            return "<none>"
        if data in self._topics:
            return f"{_ID_OF}{self._made.sub(self._short, self._topics[data])}>"
        if len(data) == 16 and name.endswith("_id"):
            return "<unknown>" if data == UNKNOWN_ID else self._name("id", data)
        return _without_producer(data).hex() if name == "records" else data.hex()

    def _short(self, found: re.Match[str]) -> str:
        number = found.group(1)
        return "~" if number is None or int(number) == self.case else f"~{number}."

    def _number(self, name: str, value: int) -> Any:
        if name == "port" and value in (self._port, self._port + 1000):
            return "<port>" if value == self._port else "<port of the controller>"
        if name.endswith(("producer_id", "producer_id_filters")) and 0 <= value < UNKNOWN_PRODUCER:
            known = self._producers.get(value)
            return (
                f"<producer {self._made.sub(self._short, known)}>" if known else self._name("producer", (name, value))
            )
        if name == "session_id" and value not in (0, -1, 99):
            return self._name("session", ("session", value))
        return value

    def _name(self, word: str, made_up: Any) -> str:
        if made_up not in self._names:
            self._counts[word] = self._counts.get(word, 0) + 1
            self._names[made_up] = f"<{word} {self._counts[word]}>"
        return self._names[made_up]


def _without_producer(records: bytes) -> bytes:
    """A batch of a producer has its id and the time of day in it, and so a CRC of its own."""
    if len(records) < _PRODUCER.stop or records[_PRODUCER] == b"\xff" * 8:
        return records
    return records[: _CRC.start] + bytes(4) + records[_CRC.stop : _TIMES.start] + bytes(24) + records[_PRODUCER.stop :]


def _keyed(elements: list[tuple[str | None, Any]]) -> dict[str, Any]:
    keyed: dict[str, Any] = {}
    for position, (key, element) in enumerate(elements):
        label = str(position) if key is None else key
        while label in keyed:
            label += "'"  # asked for twice, answered twice
        keyed[label] = element
    return keyed


def _mask_sizes(shown: Any) -> None:
    """Internal topics have in them what other cells did."""
    if isinstance(shown, dict):
        for name, value in shown.items():
            if name == "partition_size":
                shown[name] = "<more>"
            else:
                _mask_sizes(value)
