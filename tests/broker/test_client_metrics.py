"""Metrics of clients (KIP-714): what is expected is what a Kafka 4.4.0 with a receiver said to the same requests."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.broker import client_metrics_otlp
from ottla.broker.alter_configs import CLIENT_METRICS_RESOURCE
from ottla.broker.client_metrics import MAX_KEPT_BYTES, MAX_SHOWN, MAX_UNPACKED_BYTES, java_set_order
from ottla.broker.config_effects import BROKER, CLIENT_METRICS
from ottla.log.clock import ManualClock
from ottla.wire.compression import Codec, decompress
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.messages.get_telemetry_subscriptions import GetTelemetrySubscriptionsRequest
from ottla.wire.messages.push_telemetry import PushTelemetryRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.effects import effect
from tests.broker.test_alter_configs import put

DATA = Path(__file__).parent / "data" / "client_metrics"
ID = bytes(range(16))
OK, TOO_SOON = ErrorCode.NONE, ErrorCode.THROTTLING_QUOTA_EXCEEDED
NAMES = ["org.apache.kafka.producer.", "org.apache.kafka.consumer.", "Zeta", "x.y", "a.b", "node.request.latency"]
MANY = """m11.x m6.x m31.x m36.x x.y m32.xx m23.xxx m5. m16.x m24.xxxx m25. m35. m9.xxxx m18.xxx m15. m19.xxxx m10. m20.
    m13.xxx a.b m3.xxx m37.xx m30. m8.xxx m34.xxxx m1.x m7.xx m21.x m4.xxxx m33.xxx m27.xx m29.xxxx m38.xxx m0. m12.xx
    m26.x m14.xxxx m17.xx m28.xxx m22.xx m39.xxxx m2.xx"""


async def introduce(client: Client) -> list[int]:
    """Say who it is; which telemetry APIs are announced."""
    request = ApiVersionsRequest(client_software_name="soft", client_software_version="1.0")
    return [entry.api_key for entry in (await client.ask(request, 3)).api_keys if entry.api_key in (71, 72)]


async def subscribe(client: Client, instance_id: bytes = ID) -> Any:
    return await client.ask(GetTelemetrySubscriptionsRequest(client_instance_id=instance_id), 0)


async def push(
    client: Client,
    subscription_id: int,
    data: bytes = b"",
    *,
    codec: int = 0,
    terminating: bool = False,
    instance_id: bytes = ID,
) -> int:
    request = PushTelemetryRequest(
        client_instance_id=instance_id,
        subscription_id=subscription_id,
        terminating=terminating,
        compression_type=codec,
        metrics=data,
    )
    code: int = (await client.ask(request, 0)).error_code
    return code


async def want(client: Client, name: str, **configs: str) -> None:
    for key, value in configs.items():
        await put(client, CLIENT_METRICS_RESOURCE, name, key.replace("_", "."), value)


async def start(launcher: Launcher, settings: dict[str, str] | None = None) -> tuple[Running, ManualClock]:
    clock = ManualClock()
    return await launcher.start(settings, clock=clock), clock


async def test_nobody_hears_of_it_until_somebody_wants_metrics(launcher: Launcher) -> None:
    running, _ = await start(launcher)
    async with await running.client() as client:
        assert await introduce(client) == []
        answer = await subscribe(client)
        assert (answer.error_code, answer.subscription_id) == (OK, -725132322)
        assert (answer.push_interval_ms, answer.requested_metrics) == (300_000, [])
        assert (answer.accepted_compression_types, answer.delta_temporality) == ([4, 3, 1, 2], True)
        again = await subscribe(client)
        assert (again.error_code, again.client_instance_id) == (TOO_SOON, bytes(16))
        assert (await subscribe(client, bytes(15) + b"\1")).subscription_id == -725132321
        new = await subscribe(client, bytes(16))
        assert (new.error_code, new.client_instance_id != bytes(16)) == (OK, True)
        for reserved in (bytes(16), bytes(15) + b"\1"):
            assert await push(client, 0, instance_id=reserved) == ErrorCode.INVALID_REQUEST
        await want(client, "s", metrics="*")
        assert await introduce(client) == [71, 72]


@effect(CLIENT_METRICS, "metrics", "interval.ms", "match")
async def test_subscriptions_that_match_count_together(launcher: Launcher) -> None:
    running, _ = await start(launcher)
    async with await running.client("story") as story, await running.client("other") as other:
        await introduce(story)
        metrics = "org.apache.kafka.producer.,org.apache.kafka.consumer.,a.b,Zeta,node.request.latency"
        await want(story, "s1", metrics=metrics, interval_ms="1000")
        await want(story, "s2", metrics="x.y,a.b", interval_ms="700", match="client_id=st.*,client_software_name=soft")
        await want(story, "s3", metrics="*", match="client_id=other")
        both = await subscribe(story)
        assert (both.requested_metrics, both.push_interval_ms, both.subscription_id) == (NAMES, 700, -381375626)
        everything = await subscribe(other, bytes(range(2, 18)))
        assert (everything.requested_metrics, everything.subscription_id) == (["*"], 848011945)
        await want(story, "s1", metrics=",".join(f"m{i}.{'x' * (i % 5)}" for i in range(40)))
        many = await subscribe(story, bytes(range(3, 19)))
        assert (many.requested_metrics, many.subscription_id) == (MANY.split(), 327365324)


async def test_pushes_are_judged_in_kafkas_order(launcher: Launcher) -> None:
    running, clock = await start(launcher)
    async with await running.client() as client:
        await want(client, "s", metrics="*", interval_ms="700")
        own = (await subscribe(client)).subscription_id
        assert (await subscribe(client)).error_code == TOO_SOON
        assert await push(client, own) == OK  # at once: clients spread their pushes
        assert await push(client, own) == TOO_SOON
        assert (await subscribe(client)).error_code == TOO_SOON
        clock.advance(700)
        assert await push(client, own + 1) == ErrorCode.UNKNOWN_SUBSCRIPTION_ID
        assert (await subscribe(client)).error_code == OK  # it has a reason to ask
        assert await push(client, own, codec=9) == TOO_SOON
        assert (await subscribe(client)).error_code == TOO_SOON
        clock.advance(700)
        assert await push(client, own, codec=9) == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
        clock.advance(700)
        assert await push(client, own, b"nonsense", codec=Codec.GZIP) == ErrorCode.INVALID_RECORD
        clock.advance(700)
        assert await push(client, own, gzip.compress(b"hello"), codec=Codec.GZIP) == OK
        assert await push(client, own, terminating=True) == OK  # never too soon
        assert await push(client, own) == ErrorCode.INVALID_REQUEST
        assert await push(client, own) == TOO_SOON
        clock.advance(700)
        assert await push(client, own + 1, terminating=True) == ErrorCode.UNKNOWN_SUBSCRIPTION_ID
        assert await push(client, own, terminating=True) == ErrorCode.INVALID_REQUEST
        clock.advance(700)
        assert (await subscribe(client)).error_code == OK


async def test_an_instance_is_known_as_long_as_its_connection(launcher: Launcher) -> None:
    running, clock = await start(launcher)
    async with await running.client() as first, await running.client() as second:
        assert (await subscribe(first)).error_code == OK
        assert (await subscribe(second)).error_code == TOO_SOON
        await first.stream.aclose()
        await second.ask(ApiVersionsRequest(), 0)
        while len(running.server.connections) > 1:
            await second.ask(ApiVersionsRequest(), 0)
        assert (await subscribe(second)).error_code == OK
        await want(second, "s", interval_ms="1000")  # another subscription may be asked for at once
        assert (await subscribe(second)).error_code == OK
        assert (await subscribe(second)).error_code == TOO_SOON
        clock.advance(60_000)
        assert (await subscribe(second)).error_code == OK


@effect(BROKER, "telemetry.max.bytes")
@pytest.mark.parametrize(("configured", "most"), [({}, 1 << 20), ({"telemetry.max.bytes": "100"}, 100)])
async def test_a_push_has_a_size(launcher: Launcher, configured: dict[str, str], most: int) -> None:
    running, clock = await start(launcher, configured)
    async with await running.client() as client:
        answer = await subscribe(client)
        assert answer.telemetry_max_bytes == most
        assert await push(client, answer.subscription_id, bytes(most + 1)) == ErrorCode.TELEMETRY_TOO_LARGE
        clock.advance(300_000)
        assert await push(client, answer.subscription_id, bytes(most)) == OK


async def test_a_bomb_is_refused(launcher: Launcher) -> None:
    running, _ = await start(launcher)
    async with await running.client() as client:
        answer = await subscribe(client)
        bomb = zlib.compressobj(wbits=31)
        packed = bomb.compress(bytes(MAX_UNPACKED_BYTES + 1)) + bomb.flush()
        assert await push(client, answer.subscription_id, packed, codec=Codec.GZIP) == ErrorCode.INVALID_RECORD
    assert running.broker.client_metrics.instances() == []


def pushed(name: str) -> bytes:
    return (DATA / name).read_bytes()


async def test_the_last_push_of_an_instance_is_shown(launcher: Launcher) -> None:
    running, clock = await start(launcher)
    shown = running.broker.client_metrics
    async with await running.client("app") as client:
        await introduce(client)
        await want(client, "s", metrics="*", interval_ms="1000")
        own = (await subscribe(client)).subscription_id
        assert await push(client, own, pushed("java_consumer_4.4.0.zst"), codec=Codec.ZSTD) == OK
        clock.advance(1_000)
        assert await push(client, own, gzip.compress(b""), codec=Codec.GZIP, terminating=True) == OK
        port = client.stream.socket.getsockname()[1]
    [instance] = shown.instances()
    assert instance == {
        "client_instance_id": "AAECAwQFBgcICQoLDA0ODw",
        "client_id": "app",
        "client_software_name": "soft",
        "client_software_version": "1.0",
        "client_source_address": "127.0.0.1",
        "client_source_port": port,
        "node_id": 1,
        "subscription_id": own,
        "subscribed_metrics": ["*"],
        "push_interval_ms": 1_000,
        "pushes": 2,
        "last_push_ms": clock.wall_ms(),
        "terminating": True,
        "compression": "zstd",
        "bytes": 2_982,
    }
    payload = shown.metrics(instance["client_instance_id"])  # of the push before, since the last one brought none
    assert payload is not None
    assert payload["resource"]["group_id"] == "g-wanted-java"
    json.dumps([instance, payload], allow_nan=False)
    assert shown.metrics("AAAAAAAAAAAAAAAAAAAAAA") is None
    assert shown.metrics("no id") is None


async def test_what_is_kept_is_bounded(launcher: Launcher) -> None:
    running, _ = await start(launcher)
    shown = running.broker.client_metrics
    async with await running.client() as client:
        for number in range(MAX_SHOWN + 1):
            instance_id = number.to_bytes(2, "big") + bytes(13) + b"\7"
            own = (await subscribe(client, instance_id)).subscription_id
            assert await push(client, own, b"x", instance_id=instance_id) == OK
        assert len(shown.instances()) == MAX_SHOWN
        for number in range(MAX_KEPT_BYTES // (1 << 20) + 2):
            instance_id = number.to_bytes(2, "big") + bytes(13) + b"\x08"
            own = (await subscribe(client, instance_id)).subscription_id
            assert await push(client, own, bytes(1 << 20), instance_id=instance_id) == OK
    assert sum(instance["bytes"] for instance in shown.instances()) == MAX_KEPT_BYTES


# ── what is inside ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_metrics_of_java_are_read() -> None:
    payload = client_metrics_otlp.read(decompress(Codec.ZSTD, pushed("java_consumer_4.4.0.zst"), 1 << 20))
    by_name = {metric["name"]: metric for metric in payload["metrics"]}
    assert len(payload["metrics"]) == 140
    total = by_name["org.apache.kafka.consumer.outgoing.byte.total"]
    assert total == {
        "name": "org.apache.kafka.consumer.outgoing.byte.total",
        "description": "",
        "unit": "",
        "kind": "sum",
        "points": [
            {
                "attributes": {},
                "start_ms": 1_795_398_449_125,
                "time_ms": 1_795_398_449_930,
                "value": 11_546.0,
                "count": None,
            }
        ],
    }
    [point] = by_name["org.apache.kafka.consumer.fetch.manager.records.lag.avg"]["points"]
    assert point["attributes"] == {"topic": "jt", "partition": "0"}


def test_metrics_of_librdkafka_are_read() -> None:
    payload = client_metrics_otlp.read(decompress(Codec.ZSTD, pushed("librdkafka_producer_2.16.0.zst"), 1 << 20))
    first, *_, last = payload["metrics"]
    assert len(payload["metrics"]) == 10
    assert first["name"] == "org.apache.kafka.producer.connection.creation.rate"
    assert first["description"] == "The rate of connections established per second."
    nodes = [metric for metric in payload["metrics"] if metric["name"].endswith("node.request.latency.max")]
    assert nodes[0]["points"][0]["attributes"] == {"node.id": 1}
    assert nodes[0]["points"][0]["value"] == 2  # an integer
    assert last["points"]


def field(number: int, wire_type: int, *content: bytes) -> bytes:
    body = b"".join(content)
    return bytes([number << 3 | wire_type]) + (bytes([len(body)]) if wire_type == 2 else b"") + body


def metrics_data(*metrics: bytes) -> bytes:
    def wrap(content: bytes, size: int = 4) -> bytes:
        packed = bytes((len(content) >> 7 * at & 0x7F) | (0x80 if at < size - 1 else 0) for at in range(size))
        return packed + content

    scope = b"".join(b"\x12" + wrap(metric) for metric in metrics)
    return b"\x0a" + wrap(b"\x12" + wrap(scope))


def test_other_kinds_are_read_too() -> None:
    histogram = field(9, 2, field(1, 2, field(4, 1, b"\3" + bytes(7)), field(5, 1, bytes(6) + b"\xf0\x3f")))
    text = field(2, 2, field(1, 2, b"v"))
    listed = field(2, 2, field(5, 2, b""))
    gauge = field(5, 2, field(1, 2, field(7, 2, field(1, 2, b"k"), text), field(7, 2, field(1, 2, b"l"), listed)))
    infinite = field(5, 2, field(1, 2, field(4, 1, bytes(6) + b"\xf0\x7f"), field(15, 5, bytes(4))))
    read = client_metrics_otlp.read(metrics_data(histogram, gauge, infinite))["metrics"]
    assert [(metric["kind"], metric["points"][0]["value"]) for metric in read] == [
        ("histogram", 1.0),
        ("gauge", None),
        ("gauge", None),
    ]
    assert read[0]["points"][0]["count"] == 3
    assert read[1]["points"][0]["attributes"] == {"k": "v", "l": None}


def test_no_more_points_are_read_than_anybody_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_metrics_otlp, "MAX_POINTS", 3)
    two = field(5, 2, field(1, 2, b""), field(1, 2, b""))
    payload = client_metrics_otlp.read(metrics_data(two, two, two))
    assert [len(metric["points"]) for metric in payload["metrics"]] == [2, 1]
    assert not payload["complete"]


def damaged() -> Iterator[bytes]:
    whole = bytes(decompress(Codec.ZSTD, pushed("librdkafka_producer_2.16.0.zst"), 1 << 20))
    for at in range(0, len(whole), 7):
        yield whole[:at]
        yield whole[:at] + b"\xff" + whole[at + 1 :]


def read_or_refused(data: bytes) -> None:
    try:
        payload = client_metrics_otlp.read(data)
    except ValueError:
        return
    json.dumps(payload, allow_nan=False)


def test_garbage_is_a_value_error_or_nothing() -> None:
    for data in damaged():
        read_or_refused(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_anything_at_all_is_a_value_error_or_nothing(data: bytes) -> None:
    read_or_refused(data)


def test_the_order_of_a_java_set_is_that_of_its_buckets() -> None:
    assert java_set_order(NAMES) == NAMES
    assert java_set_order(["Aa", "BB"]) == ["Aa", "BB"]  # one hash: as they were added
    assert java_set_order(["BB", "Aa"]) == ["BB", "Aa"]
