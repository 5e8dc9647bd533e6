"""Quotas as a client meets them: set, described, counted, told, and the connection mute for as long as was told."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ottla.broker.handlers import alter_client_quotas
from ottla.broker.quotas import ClientQuotas, Rate, TokenBucket, checked_record, entity_of
from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.alter_client_quotas import AlterClientQuotasRequest
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.describe_client_quotas import DescribeClientQuotasRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import METADATA, PRODUCE, fetch, metadata, produce

SLOW = [("client-id", "slow")]
REQUEST = ErrorCode.INVALID_REQUEST


async def alter(
    client: Client, entity: list[tuple[str, str | None]], *, validate_only: bool = False, **limits: float | None
) -> int:
    """Set limits; None removes one."""
    entry = AlterClientQuotasRequest.EntryData(
        entity=[AlterClientQuotasRequest.EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
        ops=[
            AlterClientQuotasRequest.OpData(key=key, value=value or 0.0, remove=value is None)
            for key, value in limits.items()
        ],
    )
    answer = await client.ask(AlterClientQuotasRequest(entries=[entry], validate_only=validate_only), 1)
    code: int = answer.entries[0].error_code
    return code


async def describe(client: Client, *components: tuple[str, int, str | None], strict: bool = False) -> Any:
    wanted = [
        DescribeClientQuotasRequest.ComponentData(entity_type=kind, match_type=match, match=name)
        for kind, match, name in components
    ]
    answer = await client.ask(DescribeClientQuotasRequest(components=wanted, strict=strict), 1)
    if answer.error_code:
        return answer.error_code
    return {
        tuple((part.entity_type, part.entity_name) for part in entry.entity): {
            value.key: value.value for value in entry.values
        }
        for entry in answer.entries
    }


BAD: dict[str, tuple[list[tuple[str, str | None]], dict[str, float]]] = {
    "nobody": ([], {"producer_byte_rate": 1.0}),
    "unknown type": ([("group", "g")], {"producer_byte_rate": 1.0}),
    "a type twice": ([("user", "a"), ("user", "b")], {"producer_byte_rate": 1.0}),
    "ip and user": ([("ip", "1.2.3.4"), ("user", "b")], {"producer_byte_rate": 1.0}),
    "unknown key": (list(SLOW), {"zz": 1.0}),
    "a client's connections": (list(SLOW), {"connection_creation_rate": 1.0}),
    "zero": (list(SLOW), {"producer_byte_rate": 0.0}),
    "negative": (list(SLOW), {"producer_byte_rate": -1.0}),
    "half a byte": (list(SLOW), {"producer_byte_rate": 1.5}),
    "not a number": (list(SLOW), {"request_percentage": float("nan")}),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_makes_no_sense_is_refused(running: Running, case: str) -> None:
    entity, limits = BAD[case]
    async with await running.client() as client:
        assert await alter(client, entity, **limits) == REQUEST
        assert await describe(client) == {}


@pytest.mark.parametrize("ip", ["10.0.0.1", "::1", "[::1]", "localhost", None])
async def test_an_ip_is_an_address_or_a_host_that_somebody_knows(
    running: Running, monkeypatch: pytest.MonkeyPatch, ip: str | None
) -> None:
    asked = []

    def look_up(name: str, *_: Any, **__: Any) -> list[str]:
        asked.append(name)
        return ["somewhere"]

    async with await running.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(alter_client_quotas.socket, "getaddrinfo", look_up)
            assert await alter(client, [("ip", ip)], connection_creation_rate=1e6) == ErrorCode.NONE
        assert asked == (["localhost"] if ip == "localhost" else [])
        assert await describe(client) == {(("ip", ip),): {"connection_creation_rate": 1e6}}


@pytest.mark.parametrize("failure", [OSError("nobody knows it"), UnicodeError("label too long")])
async def test_an_ip_that_does_not_resolve_is_refused_also_for_a_removal(
    running: Running, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def look_up(name: str, *_: Any, **__: Any) -> list[str]:
        raise failure

    monkeypatch.setattr(alter_client_quotas.socket, "getaddrinfo", look_up)
    async with await running.client() as client:
        for rate in (1e6, None):
            for ip in ("no.such.host", "999.1.1.1", "10.0.0.1 ", "fe80::1%lo"):
                assert await alter(client, [("ip", ip)], connection_creation_rate=rate) == REQUEST
        assert await describe(client) == {}


async def test_without_a_thread_for_the_lookup_only_the_client_hears_of_it(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_thread(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    async with await running.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(alter_client_quotas.trio.to_thread, "run_sync", no_thread)
            code = await alter(client, [("ip", "far.away")], connection_creation_rate=1e6)
        assert code == ErrorCode.UNKNOWN_SERVER_ERROR
        assert await describe(client) == {}


async def test_a_lookup_stalls_nobody_else(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()

    def look_up(name: str, *_: Any, **__: Any) -> list[str]:
        may_end.wait(60)
        return ["somewhere"]

    monkeypatch.setattr(alter_client_quotas.socket, "getaddrinfo", look_up)
    async with await running.client() as client, await running.client() as other, trio.open_nursery() as nursery:
        codes = []

        async def change() -> None:
            codes.append(await alter(client, [("ip", "far.away")], connection_creation_rate=1e6))

        nursery.start_soon(change)
        with trio.fail_after(60):
            while not any(one.parked for one in running.server.connections):
                await trio.lowlevel.checkpoint()
        assert await describe(other) == {}
        assert codes == []
        may_end.set()
    assert codes == [ErrorCode.NONE]


async def test_an_entity_that_is_named_again_stays_as_it_was_and_is_refused(running: Running) -> None:
    """Kafka carries out the first, and answers once: with a refusal."""
    request = AlterClientQuotasRequest(
        entries=[
            AlterClientQuotasRequest.EntryData(
                entity=[
                    AlterClientQuotasRequest.EntityData(entity_type=kind, entity_name=name) for kind, name in parts
                ],
                ops=[AlterClientQuotasRequest.OpData(key="producer_byte_rate", value=value, remove=False)],
            )
            for parts, value in (
                ([("user", "u"), ("client-id", None)], 1.0),
                ([("user", "v")], 2.0),
                ([("client-id", None), ("user", "u")], 3.0),
            )
        ]
    )
    async with await running.client() as client:
        answer = await client.ask(request, 1)
        assert [(entry.error_code, len(entry.entity)) for entry in answer.entries] == [(REQUEST, 2), (0, 1)]
        limits = {tuple(sorted(entity)): values for entity, values in (await describe(client)).items()}
    assert limits == {
        (("client-id", None), ("user", "u")): {"producer_byte_rate": 1.0},
        (("user", "v"),): {"producer_byte_rate": 2.0},
    }


async def test_quotas_are_found_by_their_entity_and_outlive_a_restart(launcher: Launcher) -> None:
    running = await launcher.start()
    async with await running.client() as client:
        assert await alter(client, list(SLOW), producer_byte_rate=1000.0, request_percentage=12.5) == 0
        assert await alter(client, [("client-id", None), ("user", "u")], consumer_byte_rate=5.0) == 0
        assert await alter(client, [("ip", None)], connection_creation_rate=3.0) == 0
        assert await alter(client, list(SLOW), validate_only=True, consumer_byte_rate=7.0) == 0
        assert await alter(client, list(SLOW), request_percentage=None) == 0
    await launcher.stop()
    running = await launcher.start()
    slow = {(("client-id", "slow"),): {"producer_byte_rate": 1000.0}}
    mixed = {(("client-id", None), ("user", "u")): {"consumer_byte_rate": 5.0}}
    ip = {(("ip", None),): {"connection_creation_rate": 3.0}}
    async with await running.client() as client:
        assert await describe(client) == {**slow, **mixed, **ip}
        assert await describe(client, ("client-id", 0, "slow")) == slow
        assert await describe(client, ("client-id", 1, None)) == mixed
        assert await describe(client, ("client-id", 1, None), strict=True) == {}
        assert await describe(client, ("client-id", 2, None)) == {**slow, **mixed}
        assert await describe(client, ("client-id", 2, None), ("user", 0, "u"), strict=True) == mixed
        assert await describe(client, ("client-id", 0, "nobody")) == {}
        assert await describe(client, ("ip", 2, None)) == ip
        assert await describe(client, ("group", 2, None)) == ErrorCode.UNSUPPORTED_VERSION
        assert await describe(client, ("ip", 2, None), ("user", 2, None)) == REQUEST
        assert await describe(client, ("user", 2, None), ("user", 2, None)) == REQUEST
        assert await describe(client, ("user", 0, None)) == REQUEST
        assert await alter(client, list(SLOW), producer_byte_rate=None) == 0
        assert await describe(client, ("client-id", 2, None)) == mixed


async def test_a_producer_above_its_rate_is_told_and_muted(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    async with await running.client("slow") as slow, await running.client("fast") as fast:
        await slow.ask(metadata("t"), METADATA)
        assert await alter(fast, list(SLOW), producer_byte_rate=1000.0) == 0
        free = await slow.ask(produce("t", b"x" * 5_000), PRODUCE)  # a burst of ten seconds' worth is free
        assert free.throttle_time_ms == 0
        told = await slow.ask(produce("t", b"x" * 10_000), PRODUCE)
        assert 5_000 < told.throttle_time_ms < 6_000
        assert told.responses[0].partition_responses[0].error_code == 0
        assert (await fast.ask(produce("t", b"x" * 50_000), PRODUCE)).throttle_time_ms == 0

        await slow.send(metadata("t"), METADATA)
        answered = trio.Event()

        async def receive() -> None:
            await slow.receive(metadata("t"), METADATA)
            answered.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            clock.advance(told.throttle_time_ms - 1)
            running.broker.timers.run_due()
            await fast.ask(metadata("t"), METADATA)
            await wait_all_tasks_blocked(0.01)
            assert not answered.is_set()
            clock.advance(1)
            running.broker.timers.run_due()
            with trio.fail_after(60):
                await answered.wait()


async def test_a_consumer_above_its_rate_gets_nothing_for_a_while(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    async with await running.client("slow") as slow, await running.client("fast") as fast:
        await fast.ask(metadata("t"), METADATA)
        await fast.ask(produce("t", b"x" * 20_000), PRODUCE)
        assert await alter(fast, list(SLOW), consumer_byte_rate=1000.0) == 0
        withheld = await slow.ask(fetch("t", 0), 12)
        assert 10_000 < withheld.throttle_time_ms < 11_000
        assert withheld.responses == []
        clock.advance(withheld.throttle_time_ms)
        running.broker.timers.run_due()
        assert await alter(fast, list(SLOW), consumer_byte_rate=4000.0) == 0
        whole = await slow.ask(fetch("t", 0), 12)
        assert whole.throttle_time_ms == 0
        assert len(whole.responses[0].partitions[0].records) > 20_000


async def test_a_stop_waits_for_no_muted_client(launcher: Launcher) -> None:
    running = await launcher.start(clock=ManualClock())
    async with await running.client("slow") as slow:
        await slow.ask(metadata("t"), METADATA)
        assert await alter(slow, list(SLOW), producer_byte_rate=1.0) == 0
        assert (await slow.ask(produce("t", b"x" * 1_000), PRODUCE)).throttle_time_ms > 60_000
        await slow.send(metadata("t"), METADATA)
        with trio.fail_after(1):
            await launcher.stop()


async def create(client: Client, name: str, partitions: int, version: int) -> tuple[int, int]:
    """(error code, throttle time in ms)."""
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
    answer = await client.ask(CreateTopicsRequest(topics=[topic]), version)
    return answer.topics[0].error_code, answer.throttle_time_ms


async def test_changes_of_topics_have_a_bucket(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    async with await running.client("slow") as slow, await running.client() as other:
        assert await alter(other, list(SLOW), controller_mutation_rate=1.0) == 0
        assert await create(slow, "a", 21, 6) == (0, 0)  # eleven were there: ten are owed now
        assert await create(slow, "b", 1, 6) == (ErrorCode.THROTTLING_QUOTA_EXCEEDED, 10_000)
        assert await create(other, "c", 50, 6) == (0, 0)
        clock.advance(10_000)
        running.broker.timers.run_due()
        assert await create(slow, "b", 5, 6) == (0, 0)
        assert await create(slow, "d", 1, 5) == (0, 6_000)  # an old client is let through, and waits
    assert "d" in running.broker.cluster.topics


async def test_nobody_pays_for_quotas_that_are_not_there(running: Running) -> None:
    async with await running.client() as client:
        assert running.broker.gate.taps == []
        assert await alter(client, list(SLOW), producer_byte_rate=1.0) == 0
        assert len(running.broker.gate.taps) == 1
        assert await alter(client, list(SLOW), producer_byte_rate=None) == 0
        assert running.broker.gate.taps == []


LOOKUP = [
    ([("client-id", "c"), ("user", "u")], 1.0),
    ([("client-id", None), ("user", "u")], 2.0),
    ([("user", "u")], 3.0),
    ([("client-id", "c"), ("user", None)], 4.0),
    ([("client-id", None), ("user", None)], 5.0),
    ([("user", None)], 6.0),
    ([("client-id", "c")], 7.0),
    ([("client-id", None)], 8.0),
]


def test_the_most_special_limit_wins() -> None:
    quotas = ClientQuotas()
    assert quotas.limit("producer_byte_rate", "u", "c") is None
    for entity, value in reversed(LOOKUP):
        quotas.replay(checked_record(entity_of(entity), "producer_byte_rate", value, False))
        found = quotas.limit("producer_byte_rate", "u", "c")
        assert found is not None
        assert found[1] == value
        assert quotas.limit("consumer_byte_rate", "u", "c") is None
    for entity, value in LOOKUP:
        found = quotas.limit("producer_byte_rate", "u", "c")
        assert found is not None
        assert found[1] == value
        quotas.replay(checked_record(entity_of(entity), "producer_byte_rate", value, True))
    assert not quotas


def test_a_default_is_each_ones_own() -> None:
    quotas = ClientQuotas()
    quotas.replay(checked_record(entity_of([("client-id", None)]), "producer_byte_rate", 1.0, False))
    first, second = (quotas.limit("producer_byte_rate", "u", client_id) for client_id in ("a", "b"))
    assert first is not None
    assert second is not None
    assert first[0] != second[0]


def test_a_rate_forgets_what_left_its_window() -> None:
    rate = Rate(11, 1000)
    rate.add(20_000, 0)
    assert rate.delay_ms(1000, 0) == 10_000
    assert rate.delay_ms(1000, 10_000) == 10_000  # still 20,000 bytes in ten seconds
    assert rate.delay_ms(1000, 11_001) == 0


def test_a_bucket_fills_up_to_its_burst() -> None:
    bucket = TokenBucket(11, 1000)
    assert bucket.take(11, 1.0, 0, strict=True) == 0
    assert bucket.take(1, 1.0, 0, strict=True) == 0
    assert bucket.take(1, 1.0, 0, strict=True) == 1000
    assert bucket.take(1, 1.0, 0, strict=False) == 2000
    assert bucket.take(11, 1.0, 1_000_000, strict=True) == 0


def test_a_name_must_not_be_empty() -> None:
    with pytest.raises(KafkaError):
        entity_of([("user", "")])
