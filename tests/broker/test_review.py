"""Failures that must stay small: a timer, a flush, a rename, an odd client or a full disk must not end the broker, nor
keep it from starting again.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from ottla.broker import server as server_module
from ottla.broker.config import BrokerConfig
from ottla.broker.connection import Connection
from ottla.broker.errors import StartupError, UsageError
from ottla.broker.logs import Log
from ottla.broker.nodes import DEFAULT_LISTENER
from ottla.broker.options import serve_options
from ottla.broker.server import ReceiveBudget, Server, bind
from ottla.cli import root_parser
from ottla.log.clock import ManualClock
from ottla.log.config import LogConfig
from ottla.log.validate import validate
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.hashing import crc32c
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.list_groups import ListGroupsRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import ATTRIBUTES, BASE_TIMESTAMP, CRC, Record, build_batch
from tests.broker.conftest import Client, Launcher, Running

ROOT = Path(__file__).parents[2]
TOPIC_CONFIGS = list(json.loads((ROOT / "broker" / "configs.json").read_text())["topic"])


def create(name: str, partitions: int = 1) -> CreateTopicsRequest:
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=-1)
    return CreateTopicsRequest(topics=[topic], timeout_ms=1000)


def delete(name: str) -> DeleteTopicsRequest:
    return DeleteTopicsRequest(topics=[DeleteTopicsRequest.DeleteTopicState(name=name)], timeout_ms=1000)


def produce(topic: str, records: bytes | bytearray, acks: int = -1) -> ProduceRequest:
    data = ProduceRequest.PartitionProduceData(index=0, records=records)
    return ProduceRequest(
        acks=acks,
        timeout_ms=1000,
        topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=[data])],
    )


def one_record(value: bytes = b"v", key: bytes | None = b"k") -> bytearray:
    return build_batch([Record(0, 1_700_000_000_000, key, value)])


def fetch(topic: str, max_wait_ms: int = 600_000) -> FetchRequest:
    part = FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=1,
        max_bytes=1 << 20,
        session_epoch=-1,
        topics=[FetchRequest.FetchTopic(topic=topic, partitions=[part])],
    )


def commit(group: str, topic: str, offset: int) -> OffsetCommitRequest:
    part = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
    return OffsetCommitRequest(
        group_id=group, topics=[OffsetCommitRequest.OffsetCommitRequestTopic(name=topic, partitions=[part])]
    )


async def committed(client: Client, group: str, topic: str) -> int:
    asked = OffsetFetchRequest.OffsetFetchRequestTopic(name=topic, partition_indexes=[0])
    answer = await client.ask(OffsetFetchRequest(group_id=group, topics=[asked]), 7)
    return int(answer.topics[0].partitions[0].committed_offset)


async def answers(running: Running) -> bool:
    async with await running.client() as client:
        return bool((await client.ask(MetadataRequest(topics=[]), 12)).brokers)


# ── the metadata log ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nobody_makes_a_topic_of_the_metadata_log(launcher: Launcher) -> None:
    running = await launcher.start()
    async with await running.client() as client:
        answer = await client.ask(create("__cluster_metadata"), 7)
        assert answer.topics[0].error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
        named = MetadataRequest.MetadataRequestTopic(name="__cluster_metadata")
        described = await client.ask(MetadataRequest(topics=[named], allow_auto_topic_creation=True), 12)
        assert described.topics[0].error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
    await launcher.stop()
    assert await answers(await launcher.start())


async def test_retention_of_topics_leaves_the_metadata_log_alone(launcher: Launcher) -> None:
    settings = {"log.retention.bytes": "0", "log.segment.bytes": "1048576"}
    running = await launcher.start(settings)
    async with await running.client() as client:
        await client.ask(create("kept"), 7)
    running.broker.store.apply_retention()
    await launcher.stop()
    running = await launcher.start(settings)
    assert "kept" in running.broker.cluster.topics


async def test_a_change_whose_flush_failed_never_was(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await launcher.start()
    fs: Any = running.broker.store._fs
    sync = fs.datasync

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "no disk today")

    async with await running.client() as client:
        await client.ask(create("t"), 7)
        fs.datasync = fail
        assert (await client.ask(create("u"), 7)).topics[0].error_code == ErrorCode.KAFKA_STORAGE_ERROR
        assert (await client.ask(delete("t"), 6)).responses[0].error_code == ErrorCode.KAFKA_STORAGE_ERROR
        assert set(running.broker.cluster.topics) == {"t"}
        fs.datasync = sync
        assert (await client.ask(delete("t"), 6)).responses[0].error_code == 0
        assert (await client.ask(create("u"), 7)).topics[0].error_code == 0
    await launcher.stop()
    running = await launcher.start()
    assert set(running.broker.cluster.topics) == {"u"}


async def test_a_folder_that_cannot_be_moved_away_keeps_neither_waiters_nor_other_folders(
    launcher: Launcher,
) -> None:
    running = await launcher.start()
    store: Any = running.broker.store
    rename = store._fs.rename

    class Failing(type(store._fs)):  # type: ignore[misc]
        __slots__ = ()

        def rename(self, source: str, target: str) -> None:
            if source.endswith("t-0"):
                raise OSError(errno.EACCES, "no")
            rename(source, target)

    async with await running.client() as client, await running.client() as waiting:
        await client.ask(create("t", 2), 7)
        for index in (0, 1):
            request = produce("t", one_record())
            request.topic_data[0].partition_data[0].index = index
            await client.ask(request, 9)
        wait_at_end = fetch("t")
        wait_at_end.topics[0].partitions[0].fetch_offset = 1
        await waiting.send(wait_at_end, 12)
        with trio.fail_after(60):
            while not running.broker.cluster.topics["t"].partitions[0].waiters:
                await trio.lowlevel.checkpoint()
        store._fs.__class__ = Failing
        answer = await client.ask(delete("t"), 6)
        assert answer.responses[0].error_code == ErrorCode.KAFKA_STORAGE_ERROR
        with trio.fail_after(60):
            told = await waiting.receive(wait_at_end, 12)
        assert told.responses[0].partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert store.get("t", 1) is None
        assert not (launcher.folder / "t-1").exists()
        # A new topic of that name must not write among the records of the old one.
        store._fs.__class__ = Failing.__mro__[1]
        await client.ask(create("t"), 7)
        refused = await client.ask(produce("t", one_record()), 9)
        assert refused.responses[0].partition_responses[0].error_code == ErrorCode.KAFKA_STORAGE_ERROR
    await launcher.stop()
    running = await launcher.start()  # finishes the deletion
    async with await running.client() as client:
        written = await client.ask(produce("t", one_record()), 9)
        assert written.responses[0].partition_responses[0].base_offset == 0


def test_the_log_takes_every_topic_config_that_a_request_may_set() -> None:
    """What it refused would come out only when the topic is made, and at each start."""
    broker = BrokerConfig()
    defaults = LogConfig.from_broker(broker.log_defaults())
    numbers = (-(2**63), -2, -1, 0, 1, 5, 9, 14, 2**31 - 1, 2**31, 2**63 - 1)
    words = "true FALSE delete compact delete,compact none gzip zstd producer CreateTime LogAppendTime 0.5 1e3 full x"
    for name in TOPIC_CONFIGS:
        for value in (*map(str, numbers), *words.split(), " 7 ", "compact, delete", ""):
            try:
                taken = broker.checked_topic_overrides({name: value})
            except KafkaError:
                continue
            LogConfig.from_properties(defaults, taken)


def test_a_timestamp_beyond_what_a_header_can_say_is_refused() -> None:
    batch = build_batch([Record(0, 0, None, b"v"), Record(1, 10, None, b"v")])
    batch[BASE_TIMESTAMP : BASE_TIMESTAMP + 8] = (2**63 - 1).to_bytes(8, "big")
    batch[CRC : CRC + 4] = crc32c(memoryview(batch)[ATTRIBUTES:], 0).to_bytes(4, "big")
    config = LogConfig.from_properties(None, {"message.timestamp.after.max.ms": str(2**63 - 1)})
    with pytest.raises(KafkaError) as refused:
        validate(batch, config, 1_700_000_000_000, from_client=True)
    assert refused.value.code == ErrorCode.INVALID_TIMESTAMP


async def test_a_topic_with_an_odd_retention_survives_a_start(launcher: Launcher) -> None:
    running = await launcher.start()
    request = create("t")
    request.topics[0].configs = [CreateTopicsRequest.CreatableTopicConfig(name="retention.bytes", value="-2")]
    async with await running.client() as client:
        assert (await client.ask(request, 7)).topics[0].error_code == 0
        assert (await client.ask(produce("t", one_record()), 9)).responses[0].partition_responses[0].error_code == 0
    await launcher.stop()
    assert "t" in (await launcher.start()).broker.cluster.topics


@pytest.mark.parametrize("setting", ["log.roll.ms=0", "log.roll.jitter.ms=-1", "log.flush.interval.ms=-1"])
def test_defaults_that_no_topic_may_have_are_a_usage_error(setting: str) -> None:
    flags = root_parser("serve").parse_args(["serve", "--set", setting])
    with pytest.raises(UsageError, match="must lie between"):
        serve_options(flags, Log(io.StringIO()))


# ── groups ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_groups_follow_the_partitions_that_the_offsets_topic_has(running: Running) -> None:
    async with await running.client() as client:
        await client.ask(create("t"), 7)
        await client.ask(ListGroupsRequest(), 4)  # the coordinator is made, for 50 partitions
        await client.ask(create("__consumer_offsets", 3), 7)
        for group in ("a", "b", "c", "d", "e"):
            found = await client.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=[group]), 4)
            assert found.coordinators[0].error_code == 0
            answer = await client.ask(commit(group, "t", 7), 8)
            assert answer.topics[0].partitions[0].error_code == 0
            assert await committed(client, group, "t") == 7


async def test_offsets_go_with_their_topic(launcher: Launcher) -> None:
    running = await launcher.start()
    async with await running.client() as client:
        await client.ask(create("t"), 7)
        await client.ask(commit("g", "t", 7), 8)
        assert (await client.ask(delete("__consumer_offsets"), 6)).responses[0].error_code == 0
        assert await committed(client, "g", "t") == -1
        await client.ask(commit("g", "t", 8), 8)
    await launcher.stop()
    running = await launcher.start()
    async with await running.client() as client:
        assert await committed(client, "g", "t") == 8


@pytest.mark.parametrize("readable", [True, False])
async def test_what_others_wrote_among_the_offsets_does_not_stop_a_start(launcher: Launcher, readable: bool) -> None:
    running = await launcher.start({"offsets.topic.num.partitions": "1"})
    async with await running.client("__admin_client") as client:
        await client.ask(create("t"), 7)
        await client.ask(commit("g", "t", 7), 8)
        batch = build_batch([Record(0, 1_700_000_000_000, b"\0\1" * 5000, b"x" * 5000)], codec=1)
        if readable:
            answer = await client.ask(produce("__consumer_offsets", batch), 9)
            assert answer.responses[0].partition_responses[0].error_code == 0
        else:
            batch[70:80] = bytes(10)
            batch[CRC : CRC + 4] = crc32c(memoryview(batch)[ATTRIBUTES:], 0).to_bytes(4, "big")
            running.broker.cluster.topics["__consumer_offsets"].partitions[0].log.append(
                batch, leader_epoch=0, from_client=False
            )
    await launcher.stop()
    running = await launcher.start()
    async with await running.client() as client:
        assert await committed(client, "g", "t") == 7
    assert ("coordinator records not understood" in running.log_text) != readable


# ── what runs beside the requests ───────────────────────────────────────────────────────────────────────────────────


async def test_a_timer_that_fails_is_logged_and_the_broker_lives(running: Running) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    later = trio.Event()
    running.broker.timers.schedule(0, fail)
    running.broker.timers.schedule(0, later.set)
    with trio.fail_after(60):
        await later.wait()
    assert await answers(running)
    assert "timer failed" in running.log_text


async def test_a_flush_that_cannot_begin_is_logged_and_the_broker_lives(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await running.client() as client:
        await client.ask(create("t"), 7)
        await client.ask(produce("t", one_record()), 9)
    log = running.broker.store.get("t", 0)
    assert log is not None
    log.give_up_files()
    here, gone = Path(log.folder) / f"{0:020d}.log", Path(log.folder) / "gone"
    here.rename(gone)
    monkeypatch.setattr(type(running.broker.store), "due_flushes", lambda self: [log])
    running.broker.housekeeping._flush.ask()
    with trio.fail_after(60):
        while "cannot flush" not in running.log_text:
            await trio.lowlevel.checkpoint()
    gone.rename(here)
    assert await answers(running)


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_fetch_of_a_peer_that_is_gone_before_it_waits_is_forgotten(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Connection) -> None:
        if self._out:
            raise BrokenPipeError

    async with await running.client() as client:
        await client.ask(create("t"), 7)
        monkeypatch.setattr(Connection, "_flush", broken)
        request = MetadataRequest(topics=[])
        await client.stream.send_all(client.frame(request, 12) + client.frame(fetch("t"), 12))
        assert await client.closed()
    assert not running.broker.cluster.topics["t"].partitions[0].waiters


async def test_no_fetch_waits_once_the_broker_stops(running: Running) -> None:
    async with await running.client() as client:
        await client.ask(create("t"), 7)
        running.broker.shut_down()
        with trio.fail_after(60):
            await client.ask(fetch("t"), 12)


async def test_who_waits_for_memory_is_not_too_slow(running: Running) -> None:
    server = running.server
    server.budget = ReceiveBudget(100_000)
    async with await running.client() as first, await running.client() as second:
        head = (1_000_000).to_bytes(4, "big")
        await first.stream.send_all(head + bytes(90_000))
        await wait_until(lambda: server.budget.used > 60_000)
        await second.stream.send_all(head + bytes(150_000))
        await wait_until(lambda: any(connection.parked for connection in server.connections))
        (waiting,) = (connection for connection in server.connections if connection.parked)
        assert not waiting.is_too_slow(server.clock.mono_ms() + 10**9)


async def test_an_unexpected_failure_of_produce_without_acks_closes(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ottla.broker.handlers import handlers

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    async with await running.client() as client:
        await client.ask(create("t"), 7)
        await client.ask(produce("t", one_record()), 9)
        monkeypatch.setattr(handlers[0], "handle", fail)
        await client.send(produce("t", one_record(), acks=0), 9)
        assert await client.closed()


async def wait_until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not holds():
            await trio.lowlevel.checkpoint()


# ── start and stop ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_port_that_two_bound_at_once_is_told_to_the_second(running: Running) -> None:
    first = bind([("127.0.0.1", 0)])
    port = first[0].getsockname()[1]
    second = bind([("127.0.0.1", port)])  # SO_REUSEADDR allows it while nobody listens
    listener = running.broker.cluster.nodes[1].listeners[DEFAULT_LISTENER]
    one = Server(
        [(sock, listener) for sock in first], limits=running.server._limits, clock=ManualClock(), log=running.broker.log
    )
    two = Server(
        [(sock, listener) for sock in second],
        limits=running.server._limits,
        clock=ManualClock(),
        log=running.broker.log,
    )
    try:
        one.listen()
        with pytest.raises(StartupError, match=f"port {port} on 127.0.0.1 is taken"):
            two.listen()
    finally:
        one.close()
        two.close()


@pytest.mark.parametrize("missing", ["::1", "127.0.0.1"])
def test_a_free_port_is_found_on_a_machine_that_lacks_one_loopback(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = server_module._bind_one

    def lacking(host: str, port: int) -> socket.socket:
        if host == missing:
            raise server_module._Unavailable(f"cannot listen on {host}")
        return real(host, port)

    monkeypatch.setattr(server_module, "_bind_one", lacking)
    (only,) = bind([("127.0.0.1", 0), ("::1", 0)], optional=frozenset(("127.0.0.1", "::1")))
    only.close()


def serve(*flags: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ottla", "serve", "--listen", "127.0.0.1:0", *flags],
        cwd=ROOT,
        text=True,
        **options,
    )


def test_a_ready_line_that_nobody_reads_does_not_end_the_broker(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    broker = serve("--ephemeral", "--port-file", str(tmp_path / "port"), stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    try:
        for _ in range(12_000):
            if (tmp_path / "port").exists():
                break
            assert broker.poll() is None, broker.communicate()
            select_for(0.01)
        port = int((tmp_path / "port").read_text())
        socket.create_connection(("127.0.0.1", port), 5).close()
        broker.send_signal(signal.SIGTERM)
        _, text = broker.communicate(timeout=120)
        assert broker.returncode == 0, text
        assert "Traceback" not in text
        assert "Exception ignored" not in text
    finally:
        broker.kill()
        broker.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_even_a_broker_that_is_busy_starting(number: int) -> None:
    program = f"""
import os, trio
from ottla.broker.app import StopSignals

async def main():
    with StopSignals() as signals:
        os.kill(os.getpid(), {int(number)})
        print((await signals.wait()).value, flush=True)
        os.kill(os.getpid(), {int(number)})
        while True:
            pass

trio.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == f"{int(number)}\n"
    assert done.returncode == -number


def select_for(seconds: float) -> None:
    """Look again a little later; the process has no way to call us."""
    import select

    select.select([], [], [], seconds)
