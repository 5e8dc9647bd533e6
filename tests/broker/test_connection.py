"""One connection: order, pipelining, partial frames, waiting requests, peers that speak something else."""

from __future__ import annotations

import pytest
import trio

from ottla.broker.dispatch import Context
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, batches, build_batch
from ottla.wire.schema import Message
from tests.broker.conftest import Client, Launcher, Running

FETCH = 11
PRODUCE = 9
METADATA = 8


@pytest.fixture(params=[True, False], ids=["reactor", "task-per-connection"])
def use_epoll(request: pytest.FixtureRequest) -> bool:
    """Every story here is told to both drivers of connections."""
    driver: bool = request.param
    return driver


def metadata(*names: str) -> MetadataRequest:
    return MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=name) for name in names])


def produce(topic: str, *values: bytes, partition: int = 0, acks: int = -1) -> ProduceRequest:
    batch = build_batch([Record(at, 1_700_000_000_000, None, value) for at, value in enumerate(values)])
    data = ProduceRequest.PartitionProduceData(index=partition, records=batch)
    return ProduceRequest(
        acks=acks, timeout_ms=5000, topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=[data])]
    )


def fetch(
    topic: str, offset: int, *, max_wait_ms: int = 0, min_bytes: int = 1, max_bytes: int = 1 << 24
) -> FetchRequest:
    partition = FetchRequest.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=max_bytes)
    return FetchRequest(
        replica_id=-1,
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        topics=[FetchRequest.FetchTopic(topic=topic, partitions=[partition])],
    )


def values_of(records: bytes | memoryview) -> list[bytes | None]:
    return [record.value for batch in batches(records) for record in batch.records(1 << 26)]


async def fetched(client: Client, request: FetchRequest) -> list[bytes | None]:
    response = await client.ask(request, FETCH)
    data = response.responses[0].partitions[0]
    assert data.error_code == 0
    return values_of(data.records)


async def test_pipelined_requests_are_answered_in_order(running: Running) -> None:
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        requests = [(metadata("t"), METADATA) if i % 3 else (produce("t", b"%d" % i), PRODUCE) for i in range(300)]
        frames = b"".join(client.frame(request, version) for request, version in requests)
        await client.stream.send_all(frames)
        with trio.fail_after(60):
            for i, (request, version) in enumerate(requests):
                response = await client.receive(request, version)
                if i % 3 == 0:
                    assert response.responses[0].partition_responses[0].base_offset == i // 3


async def test_a_request_that_comes_byte_by_byte_is_served(running: Running) -> None:
    async with await running.client() as client:
        for byte in client.frame(metadata("t"), METADATA):
            await client.stream.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        response = await client.receive(metadata("t"), METADATA)
        assert response.topics[0].error_code == 0


async def test_a_request_larger_than_the_receive_buffer_is_stored_whole(launcher: Launcher) -> None:
    running = await launcher.start({"message.max.bytes": str(8 << 20)})
    big = bytes(range(256)) * (5 << 12)  # 5 MiB
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        small = client.frame(produce("t", b"before"), PRODUCE)
        await client.stream.send_all(
            small + client.frame(produce("t", big), PRODUCE) + client.frame(metadata("t"), METADATA)
        )
        for request, version in ((produce("t", b""), PRODUCE), (produce("t", b""), PRODUCE), (metadata("t"), METADATA)):
            await client.receive(request, version)
        assert await fetched(client, fetch("t", 0)) == [b"before", big]


@pytest.mark.parametrize("size", [10, 9000, 700_000])
async def test_stored_bytes_leave_as_they_came(launcher: Launcher, size: int) -> None:
    running = await launcher.start()
    value = b"x" * size
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        for _ in range(3):
            await client.ask(produce("t", value), PRODUCE)
        assert await fetched(client, fetch("t", 0)) == [value] * 3
        # and twice in one send, with a small answer between them
        await client.stream.send_all(
            client.frame(fetch("t", 1), FETCH)
            + client.frame(metadata("t"), METADATA)
            + client.frame(fetch("t", 2), FETCH)
        )
        first = await client.receive(fetch("t", 1), FETCH)
        await client.receive(metadata("t"), METADATA)
        last = await client.receive(fetch("t", 2), FETCH)
        assert values_of(first.responses[0].partitions[0].records) == [value] * 2
        assert values_of(last.responses[0].partitions[0].records) == [value]


async def test_a_fetch_waits_until_records_come(running: Running) -> None:
    async with await running.client() as consumer, await running.client() as producer:
        await producer.ask(metadata("t"), METADATA)
        await consumer.send(fetch("t", 0, max_wait_ms=60_000), FETCH)
        await consumer.send(metadata("t"), METADATA)  # waits its turn behind the fetch
        await trio.testing.wait_all_tasks_blocked()
        await producer.ask(produce("t", b"here"), PRODUCE)
        with trio.fail_after(60):
            response = await consumer.receive(fetch("t", 0), FETCH)
            assert values_of(response.responses[0].partitions[0].records) == [b"here"]
            await consumer.receive(metadata("t"), METADATA)


async def test_a_fetch_waits_for_min_bytes_over_all_its_partitions(running: Running) -> None:
    async with await running.client() as consumer, await running.client() as producer:
        await producer.ask(metadata("t"), METADATA)
        await consumer.send(fetch("t", 0, max_wait_ms=60_000, min_bytes=5000), FETCH)
        answered = trio.Event()
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                response = await consumer.receive(fetch("t", 0), FETCH)
                assert values_of(response.responses[0].partitions[0].records) == [b"a" * 3000, b"b" * 3000]
                answered.set()

            nursery.start_soon(receive)
            await producer.ask(produce("t", b"a" * 3000), PRODUCE)
            await producer.ask(metadata("t"), METADATA)  # had the fetch been woken, its answer would be out by now
            assert not answered.is_set()
            await producer.ask(produce("t", b"b" * 3000), PRODUCE)


async def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(running: Running) -> None:
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        await client.send(fetch("t", 0, max_wait_ms=50), FETCH)
    partition = running.broker.cluster.topics["t"].partitions[0]
    with trio.fail_after(60):
        while running.server.connections:
            await trio.sleep(0.01)
    assert not partition.waiters


async def test_a_deleted_topic_ends_the_wait_for_it(running: Running) -> None:
    async with await running.client() as consumer, await running.client() as admin:
        await admin.ask(metadata("t"), METADATA)
        await consumer.send(fetch("t", 0, max_wait_ms=60_000), FETCH)
        await trio.testing.wait_all_tasks_blocked()
        running.broker.delete_topics([running.broker.cluster.topics["t"]])
        with trio.fail_after(60):
            response = await consumer.receive(fetch("t", 0), FETCH)
        assert response.responses[0].partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize(
    ("garbage", "named"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP"),
        (b"\x7f\xff\xff\xff1234", "socket.request.max.bytes"),
        (b"\xff\xff\xff\xff", "announced"),
        (b"\x00\x00\x00\x00", "announced"),
        (b"\x00\x00\x00\x03abc", ""),  # too short for a header
        (b"\x00\x00\x00\x0a\x7f\xff\x00\x00\x00\x00\x00\x01\xff\xff", "API key 32767"),
        (b"\x00\x00\x00\x0b\x00\x03\x00\x63\x00\x00\x00\x01\xff\xff\x00", "Metadata v99"),
        (b"\x00\x00\x00\x0e\x00\x03\x00\x01\x00\x00\x00\x01\xff\xff\x7f\xff\xff\xff", "topics"),  # 2^31-1 topics
    ],
)
async def test_garbage_closes_its_own_connection_only(running: Running, garbage: bytes, named: str) -> None:
    async with await running.client() as other, await running.client() as client:
        await client.stream.send_all(garbage)
        assert await client.closed()
        assert named.lower() in running.log_text.lower()
        assert (await other.ask(metadata("t"), METADATA)).topics[0].error_code == 0


async def test_requests_before_garbage_are_answered(running: Running) -> None:
    async with await running.client() as client:
        await client.stream.send_all(client.frame(metadata("t"), METADATA) + b"\xff\xff\xff\xff")
        assert (await client.receive(metadata("t"), METADATA)).topics[0].error_code == 0
        assert await client.closed()


async def test_an_api_versions_of_the_future_is_answered_and_the_client_comes_back_lower(running: Running) -> None:
    async with await running.client() as client:
        frame = client.frame(ApiVersionsRequest(client_software_name="x", client_software_version="1"), 4)
        await client.stream.send_all(frame[:6] + b"\x00\x63" + frame[8:])
        size = int.from_bytes(await client._exactly(4), "big")
        answer = ApiVersionsResponse.decode(await client._exactly(size), 0, 4)
        assert answer.error_code == ErrorCode.UNSUPPORTED_VERSION
        assert [(key.api_key, key.max_version) for key in answer.api_keys] == [(18, 5)]
        lower = await client.ask(ApiVersionsRequest(client_software_name="x", client_software_version="1"), 3)
        assert lower.error_code == 0


async def test_a_tap_sees_requests_and_may_answer_them(running: Running) -> None:
    seen: list[str] = []

    class Refuse:
        def on_request(self, context: Context) -> Message | None:
            seen.append(f"{type(context.request).__name__} v{context.api_version} from {context.client_id}")
            return ApiVersionsResponse(error_code=ErrorCode.INVALID_REQUEST) if context.api_key == 18 else None

        def on_response(self, context: Context, response: Message) -> None:
            seen.append(type(response).__name__)

    running.broker.gate.taps.append(Refuse())
    async with await running.client("me") as client:
        assert (await client.ask(ApiVersionsRequest(), 0)).error_code == ErrorCode.INVALID_REQUEST
        assert (await client.ask(metadata("t"), METADATA)).topics[0].error_code == 0
    assert seen == [
        "ApiVersionsRequest v0 from me",
        "ApiVersionsResponse",
        f"MetadataRequest v{METADATA} from me",
        "MetadataResponse",
    ]
    assert running.broker.gate.counts == {(18, 0): 1, (3, METADATA): 1}


async def test_an_error_in_a_handler_is_an_error_code_and_the_broker_lives(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("oops")

    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        monkeypatch.setattr(running.broker.metadata, "auto_create", broken)
        response = await client.ask(metadata("other"), METADATA)
        assert response.topics[0].error_code == ErrorCode.UNKNOWN_SERVER_ERROR
        assert "RuntimeError" in running.log_text
        assert "oops" in running.log_text
        assert (await client.ask(metadata("t"), METADATA)).topics[0].error_code == 0


async def test_acks_0_has_no_answer_and_an_error_closes(running: Running) -> None:
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        await client.send(produce("t", b"unheard", acks=0), PRODUCE)
        assert await fetched(client, fetch("t", 0)) == [b"unheard"]
        await client.send(produce("t", b"lost", partition=7, acks=0), PRODUCE)
        assert await client.closed()


async def test_a_stop_answers_those_who_wait(launcher: Launcher) -> None:
    running = await launcher.start()
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        await client.send(fetch("t", 0, max_wait_ms=60_000), FETCH)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(60):
            await launcher.stop()
            response = await client.receive(fetch("t", 0), FETCH)
        assert response.responses[0].partitions[0].error_code == 0
        assert await client.closed()


async def test_connections_beyond_the_limit_are_refused(launcher: Launcher) -> None:
    running = await launcher.start({"max.connections.per.ip": "2"})
    async with await running.client() as one, await running.client() as two, await running.client() as three:
        await one.ask(metadata("t"), METADATA)
        await two.ask(metadata("t"), METADATA)
        assert await three.closed()
    with trio.fail_after(60):
        while running.server.connections:
            await trio.sleep(0.01)
    async with await running.client() as again:
        await again.ask(metadata("t"), METADATA)


async def test_large_frames_that_come_in_pieces_share_their_room(running: Running) -> None:
    """Frame after frame in the buffer of the one before: each is taken for what it holds, longer or shorter."""
    sizes = [300_000, 200_000, 400_000, 70_000, 300_000, 390_000]
    values = [bytes([at]) * size for at, size in enumerate(sizes)]
    async with await running.client() as client, await running.client() as other:
        await client.ask(metadata("t"), METADATA)
        for at, value in enumerate(values):
            request = produce("t", value)
            frame = client.frame(request, PRODUCE)
            for start in range(0, len(frame), 100_000):
                await client.stream.send_all(frame[start : start + 100_000])
                await other.ask(metadata("t"), METADATA)  # so that the broker meets the pieces one by one
            answer = (await client.receive(request, PRODUCE)).responses[0].partition_responses[0]
            assert (answer.error_code, answer.base_offset) == (0, at)
        for at, value in enumerate(values):
            assert (await fetched(other, fetch("t", at, max_bytes=1)))[0] == value
        assert len(running.server.spare_rooms) == 1
