"""What clients push by PushTelemetry, read: the few fields of OTLP metrics (opentelemetry/proto/metrics/v1) that a
person looks for. Whatever else is in it is stepped over.

Pure, and bounded: it reads what lies there once, to a fixed depth, and stops at MAX_POINTS.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Final, TypedDict

MAX_POINTS: Final = 10_000
_MAX_VARINT_BYTES: Final = 10
_NS_PER_MS: Final = 1_000_000

# wire types of protobuf
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Metric: the field that holds the data, what such a metric is called, the field of its points' attributes
_KINDS: Final = {
    5: ("gauge", 7),
    7: ("sum", 7),
    9: ("histogram", 9),
    10: ("exponential histogram", 1),
    11: ("summary", 7),
}

Scalar = str | int | float | bool | None


class Point(TypedDict):
    """One value. Of a histogram or summary `value` is the sum, `count` says of how many; None: no finite number."""

    attributes: dict[str, Scalar]
    start_ms: int
    time_ms: int
    value: float | int | None
    count: int | None


class Metric(TypedDict):
    """One metric and its points."""

    name: str
    description: str
    unit: str
    kind: str
    points: list[Point]


class Payload(TypedDict):
    """One push, ready for JSON. `resource`: labels of all metrics. `complete`: False beyond MAX_POINTS."""

    resource: dict[str, Scalar]
    metrics: list[Metric]
    complete: bool


def read(data: bytes | bytearray | memoryview) -> Payload:
    """Uncompressed OTLP MetricsData. Raises ValueError where it is no protobuf."""
    payload: Payload = {"resource": {}, "metrics": [], "complete": True}
    left = MAX_POINTS
    for metric in _metrics(memoryview(data), payload["resource"]):
        if left <= 0:
            payload["complete"] = False
            break
        read_one = _metric(metric, left)
        left -= max(1, len(read_one["points"]))
        payload["metrics"].append(read_one)
    return payload


def _metrics(data: memoryview, resource: dict[str, Scalar]) -> Iterator[memoryview]:
    for resource_metrics in _messages(data, 1):
        for found in _messages(resource_metrics, 1):
            resource.update(_attributes(found, 1))
        for scope_metrics in _messages(resource_metrics, 2):
            yield from _messages(scope_metrics, 2)


def _metric(data: memoryview, most: int) -> Metric:
    metric: Metric = {"name": "", "description": "", "unit": "", "kind": "", "points": []}
    for number, value in _fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            metric["name"] = _text(value)
        elif number == 2:
            metric["description"] = _text(value)
        elif number == 3:
            metric["unit"] = _text(value)
        elif number in _KINDS:
            metric["kind"], attributes = _KINDS[number]
            for point in _messages(value, 1):
                if len(metric["points"]) >= most:
                    break
                metric["points"].append(_point(point, metric["kind"], attributes))
    return metric


def _point(data: memoryview, kind: str, attributes: int) -> Point:
    point: Point = {
        "attributes": _attributes(data, attributes),
        "start_ms": 0,
        "time_ms": 0,
        "value": None,
        "count": None,
    }
    is_number = kind in ("gauge", "sum")
    for number, value in _fields(data):
        if not isinstance(value, int):
            continue
        if number == 2:
            point["start_ms"] = value // _NS_PER_MS
        elif number == 3:
            point["time_ms"] = value // _NS_PER_MS
        elif number == 4 and is_number:
            point["value"] = _double(value)
        elif number == 4:
            point["count"] = value
        elif number == 5 and not is_number:
            point["value"] = _double(value)
        elif number == 6 and is_number:
            point["value"] = _signed(value)
    return point


def _attributes(data: memoryview, field: int) -> dict[str, Scalar]:
    """KeyValue messages; lists and maps among the values are left out."""
    found: dict[str, Scalar] = {}
    for pair in _messages(data, field):
        key, scalar = "", None
        for number, value in _fields(pair):
            if number == 1 and isinstance(value, memoryview):
                key = _text(value)
            elif number == 2 and isinstance(value, memoryview):
                scalar = _scalar(value)
        found[key] = scalar
    return found


def _scalar(data: memoryview) -> Scalar:
    scalar: Scalar = None
    for number, value in _fields(data):
        if isinstance(value, memoryview):
            scalar = _text(value) if number == 1 else None
        elif number == 2:
            scalar = bool(value)
        elif number == 3:
            scalar = _signed(value)
        elif number == 4:
            scalar = _double(value)
    return scalar


def _messages(data: memoryview, field: int) -> Iterator[memoryview]:
    for number, value in _fields(data):
        if number == field and isinstance(value, memoryview):
            yield value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field of a message: bytes as a view, numbers as an unsigned integer."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        wire_type = key & 7
        value: int | memoryview
        if wire_type == _VARINT:
            value, at = _varint(data, at)
        else:
            if wire_type == _BYTES:
                size, at = _varint(data, at)
            elif wire_type in (_FIXED64, _FIXED32):
                size = 8 if wire_type == _FIXED64 else 4
            else:
                raise ValueError(f"protobuf wire type {wire_type}")
            if size > end - at:
                raise ValueError("a protobuf field is longer than its message")
            view = data[at : at + size]
            at += size
            value = view if wire_type == _BYTES else int.from_bytes(view, "little")
        yield key >> 3, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for count in range(_MAX_VARINT_BYTES):
        if at >= len(data):
            raise ValueError("a protobuf number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, at
    raise ValueError("a protobuf number is too long")


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _double(value: int) -> float | None:
    number: float = struct.unpack("<d", (value & (1 << 64) - 1).to_bytes(8, "little"))[0]
    return number if math.isfinite(number) else None


def _text(value: memoryview) -> str:
    return str(value, "utf-8", "replace")
