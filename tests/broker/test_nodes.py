"""Three nodes in one process, as clients see them: who leads, who does not, what happens when one goes or comes."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from ottla.broker.cluster import NO_LEADER
from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.describe_cluster import DescribeClusterRequest
from ottla.wire.messages.describe_topic_partitions import DescribeTopicPartitionsRequest
from ottla.wire.messages.elect_leaders import ElectLeadersRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.list_offsets import ListOffsetsRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, build_batch
from tests.broker.conftest import Client, Launcher, Running

NONE = ErrorCode.NONE
NOT_LEADER = ErrorCode.NOT_LEADER_OR_FOLLOWER
ALL = -1


@pytest.fixture
async def cluster(launcher: Launcher) -> Running:
    """Nodes 1, 2 and 3 on racks a, b and c; partition p of topic "t" is led by node p + 1, all three hold it."""
    running = await launcher.start({"default.replication.factor": "3"}, nodes=3, racks=("a", "b", "c"))
    create(running, "t", 3)
    return running


def create(running: Running, name: str, partitions: int, **configs: str) -> None:
    overrides = {key.replace("_", "."): value for key, value in configs.items()}
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic(name, partitions, -1, None, overrides))


async def produce(client: Client, index: int, *, topic: str = "t", acks: int = ALL, version: int = 10) -> Any:
    """The whole answer."""
    record = build_batch([Record(0, 1, None, b"v")])
    data = ProduceRequest.PartitionProduceData(index=index, records=record)
    request = ProduceRequest(
        acks=acks,
        timeout_ms=1000,
        topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=[data])],
    )
    return await client.ask(request, version)


async def produced(client: Client, index: int, **more: Any) -> int:
    """The code."""
    return code(await produce(client, index, **more))


def code(answer: Any) -> int:
    found: int = answer.responses[0].partition_responses[0].error_code
    return found


def hold_syncs(running: Running) -> threading.Event:
    """Records become durable only while it is set; metadata, which is flushed in the loop, always does."""
    fs, may_sync = running.broker.store._fs, threading.Event()
    sync = fs.datasync

    def datasync(fd: int) -> None:
        assert threading.current_thread() is threading.main_thread() or may_sync.wait(10)
        sync(fd)

    fs.datasync = datasync
    return may_sync


def fetching(running: Running, index: int, offset: int = 0, *, version: int = 16, **more: Any) -> FetchRequest:
    """A Fetch of one partition of "t". `epoch` is what the client believes; wait_ms, rack and session as they say."""
    part = FetchRequest.FetchPartition(
        partition=index,
        fetch_offset=offset,
        partition_max_bytes=1 << 20,
        current_leader_epoch=more.get("epoch", -1),
    )
    topic_id = running.broker.cluster.topics["t"].id
    topic = FetchRequest.FetchTopic(topic="t", topic_id=topic_id, partitions=[part])
    return FetchRequest(
        max_wait_ms=more.get("wait_ms", 0),
        min_bytes=1,
        max_bytes=1 << 20,
        topics=[topic] if more.get("names", True) else [],
        rack_id=more.get("rack", ""),
        session_id=more.get("session_id", 0),
        session_epoch=more.get("session_epoch", -1),
    )


async def fetched(client: Client, running: Running, index: int, **more: Any) -> Any:
    """The partition's part of the answer."""
    version = more.get("version", 16)
    answer = await client.ask(fetching(running, index, **more), version)
    return answer.responses[0].partitions[0]


async def shown(client: Client, name: str = "t") -> list[tuple[int, int, list[int], list[int]]]:
    """Of each partition (code, leader, ISR, offline replicas), by Metadata."""
    wanted = MetadataRequest.MetadataRequestTopic(name=name)
    answer = await client.ask(MetadataRequest(topics=[wanted], allow_auto_topic_creation=False), 12)
    return [
        (one.error_code, one.leader_id, sorted(one.isr_nodes), one.offline_replicas)
        for one in answer.topics[0].partitions
    ]


# ── who leads ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_node_tells_of_all_nodes(cluster: Running) -> None:
    for node in (1, 2, 3):
        async with await cluster.client(node=node) as client:
            answer = await client.ask(MetadataRequest(topics=[]), 12)
            told = [(one.node_id, one.host, one.port, one.rack) for one in answer.brokers]
            assert told == [(n, "127.0.0.1", cluster.port_of(n), rack) for n, rack in ((1, "a"), (2, "b"), (3, "c"))]
            assert [leader for _, leader, _, _ in await shown(client)] == [1, 2, 3]


async def test_a_node_that_does_not_lead_says_who_does(cluster: Running) -> None:
    async with await cluster.client(node=1) as client:
        assert await produced(client, 0) == NONE
        answer = await produce(client, 1)
        refused = answer.responses[0].partition_responses[0]
        assert (refused.error_code, refused.base_offset) == (NOT_LEADER, -1)
        assert (refused.current_leader.leader_id, refused.current_leader.leader_epoch) == (2, 0)
        (endpoint,) = answer.node_endpoints
        assert (endpoint.node_id, endpoint.port, endpoint.rack) == (2, cluster.port_of(2), "b")
        old = await produce(client, 1, version=9)
        assert old.responses[0].partition_responses[0].error_code == NOT_LEADER
        listed = ListOffsetsRequest.ListOffsetsPartition(partition_index=1, timestamp=-1, current_leader_epoch=-1)
        request = ListOffsetsRequest(topics=[ListOffsetsRequest.ListOffsetsTopic(name="t", partitions=[listed])])
        assert (await client.ask(request, 7)).topics[0].partitions[0].error_code == NOT_LEADER
        epoch = OffsetForLeaderEpochRequest.OffsetForLeaderPartition(
            partition=1, current_leader_epoch=-1, leader_epoch=0
        )
        ends = OffsetForLeaderEpochRequest(
            topics=[OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic="t", partitions=[epoch])]
        )
        assert (await client.ask(ends, 4)).topics[0].partitions[0].error_code == NOT_LEADER


async def test_a_lead_moves_with_all_records_and_a_new_epoch(cluster: Running) -> None:
    async with await cluster.client(node=1) as one, await cluster.client(node=2) as two:
        assert await produced(one, 0) == NONE
        cluster.broker.failover.move_leader("t", 0, 2)
        answer = await one.ask(fetching(cluster, 0, version=10), 10)  # as brokers before followers served
        assert answer.responses[0].partitions[0].error_code == NOT_LEADER
        assert await produced(two, 0) == NONE
        part = await fetched(two, cluster, 0)
        assert (part.error_code, part.high_watermark) == (NONE, 2)
        stale = await two.ask(fetching(cluster, 0, epoch=0), 16)
        fenced = stale.responses[0].partitions[0]
        assert fenced.error_code == ErrorCode.FENCED_LEADER_EPOCH
        assert (fenced.current_leader.leader_id, fenced.current_leader.leader_epoch) == (2, 1)
        assert [endpoint.node_id for endpoint in stale.node_endpoints] == [2]
        early = await fetched(two, cluster, 0, epoch=2)
        assert early.error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


async def test_who_waits_for_records_hears_of_a_move_at_once(cluster: Running) -> None:
    async with await cluster.client(node=1) as client, await cluster.client(node=1) as other:
        request = fetching(cluster, 0, epoch=0, wait_ms=60_000)
        await client.send(request, 16)
        await shown(other)  # by now the Fetch waits
        with trio.fail_after(60):
            cluster.broker.failover.move_leader("t", 0, 3)
            answer = await client.receive(request, 16)
        assert answer.responses[0].partitions[0].error_code == ErrorCode.FENCED_LEADER_EPOCH


async def test_what_waits_for_the_disk_when_the_lead_moves(cluster: Running) -> None:
    """The records keep their place; who waits with acks=all hears that it must ask the new leader, as with Kafka."""
    create(cluster, "slow", 1, flush_messages="1", min_insync_replicas="2")
    failover, may_sync = cluster.broker.failover, hold_syncs(cluster)
    record = ProduceRequest.PartitionProduceData(index=0, records=build_batch([Record(0, 1, None, b"v")]))
    topic = ProduceRequest.TopicProduceData(name="slow", partition_data=[record])
    log = cluster.broker.cluster.topics["slow"].partitions[0].log

    async def told(acks: int, meanwhile: Any) -> Any:
        end_offset = log.log_end_offset
        request = ProduceRequest(acks=acks, timeout_ms=1000, topic_data=[topic])
        may_sync.clear()
        async with await cluster.client(node=1) as client:
            await client.send(request, 10)
            while log.log_end_offset == end_offset:
                await trio.sleep(0.001)
            meanwhile()
            may_sync.set()
            return await client.receive(request, 10)

    with trio.fail_after(30):
        answer = await told(ALL, lambda: failover.move_leader("slow", 0, 2))
        part = answer.responses[0].partition_responses[0]
        assert (part.error_code, part.current_leader.leader_id) == (NOT_LEADER, 2)
        assert [endpoint.node_id for endpoint in answer.node_endpoints] == [2]
        failover.move_leader("slow", 0, 1)
        assert code(await told(1, lambda: failover.move_leader("slow", 0, 2))) == NONE
        failover.move_leader("slow", 0, 1)
        fewer = await told(ALL, lambda: failover.set_isr("slow", 0, [1]))
        assert code(fewer) == ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
        assert log.high_watermark == 3


async def test_a_node_that_goes_leaves_nobody_waiting(cluster: Running) -> None:
    partition = cluster.broker.cluster.topics["t"].partitions[0]
    async with await cluster.client(node=2) as two, await cluster.client(node=1) as one:
        await two.send(fetching(cluster, 0, wait_ms=60_000), 16)
        while not partition.waiters:
            await trio.sleep(0.001)
        cluster.broker.failover.stop_node(2)
        assert await two.closed()
        with trio.fail_after(10):
            while partition.waiters:
                await trio.sleep(0.001)
        assert await produced(one, 0) == NONE


async def test_a_fetch_session_is_known_to_its_node_alone(cluster: Running) -> None:
    async with await cluster.client(node=1) as one, await cluster.client(node=2) as two:
        first = await one.ask(fetching(cluster, 0, session_epoch=0), 16)
        assert first.session_id > 0
        again = fetching(cluster, 0, session_id=first.session_id, session_epoch=1, names=False)
        assert (await two.ask(again, 16)).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
        assert (await one.ask(again, 16)).error_code == NONE


# ── followers ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_followers_serve_consumers_of_today(cluster: Running) -> None:
    create(cluster, "alone", 1)
    async with await cluster.client(node=1) as one, await cluster.client(node=3) as three:
        assert await produced(one, 0) == NONE
        assert (await fetched(three, cluster, 0)).error_code == NONE
        assert (await three.ask(fetching(cluster, 0), 10)).responses[0].partitions[0].error_code == NOT_LEADER


async def test_a_consumer_is_sent_to_the_replica_of_its_rack(launcher: Launcher) -> None:
    selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
    chosen = {"default.replication.factor": "3", "replica.selector.class": selector}
    running = await launcher.start(chosen, nodes=3, racks=("a", "b", "c"))
    create(running, "t", 3)
    async with await running.client(node=1) as one, await running.client(node=2) as two:
        assert await produced(one, 0) == NONE
        sent = await fetched(one, running, 0, rack="b", wait_ms=60_000)
        assert (sent.preferred_read_replica, sent.records, sent.high_watermark) == (2, b"", 1)
        assert (await fetched(two, running, 0, rack="b")).records
        for rack in ("a", "nowhere", ""):
            stays = await fetched(one, running, 0, rack=rack)
            assert stays.preferred_read_replica == -1
            assert stays.records


# ── nodes that go and come ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_node_goes_down_and_others_lead(cluster: Running) -> None:
    failover = cluster.broker.failover
    async with await cluster.client(node=1) as one, await cluster.client(node=2) as two:
        assert await produced(two, 1) == NONE
        failover.stop_node(2)
        assert await two.closed()
        with pytest.raises(ConnectionRefusedError):
            await cluster.client(node=2)
        assert await shown(one) == [(0, 1, [1, 3], [2]), (0, 3, [1, 3], [2]), (0, 3, [1, 3], [2])]
        cluster_now = await one.ask(DescribeClusterRequest(endpoint_type=1, include_fenced_brokers=True), 2)
        assert [(broker.broker_id, broker.is_fenced) for broker in cluster_now.brokers] == [
            (1, False),
            (2, True),
            (3, False),
        ]
        assert [broker.node_id for broker in (await one.ask(MetadataRequest(topics=[]), 12)).brokers] == [1, 3]
        async with await cluster.client(node=3) as three:
            assert (await fetched(three, cluster, 1)).high_watermark == 1

        failover.start_node(2)
        assert await shown(one) == [(0, 1, [1, 2, 3], []), (0, 3, [1, 2, 3], []), (0, 3, [1, 2, 3], [])]
        async with await cluster.client(node=2) as again:
            assert await produced(again, 1) == NOT_LEADER
            elected = await again.ask(ElectLeadersRequest(election_type=0, topic_partitions=None), 2)
            assert [one.topic for one in elected.replica_election_results] == ["t"]
            assert await produced(again, 1) == NONE


async def test_without_a_replica_in_sync_nobody_leads(cluster: Running) -> None:
    failover = cluster.broker.failover
    failover.set_isr("t", 1, [2])
    failover.stop_node(2)
    async with await cluster.client(node=1) as client:
        assert (await shown(client))[1] == (ErrorCode.LEADER_NOT_AVAILABLE, NO_LEADER, [], [2])
        asked = DescribeTopicPartitionsRequest(topics=[DescribeTopicPartitionsRequest.TopicRequest(name="t")])
        described = (await client.ask(asked, 0)).topics[0].partitions[1]
        assert (described.error_code, described.leader_id) == (NONE, NO_LEADER)
        assert (described.eligible_leader_replicas, described.last_known_elr) == ([2], [2])
        answer = await produce(client, 1)
        assert answer.responses[0].partition_responses[0].error_code == NOT_LEADER
        assert answer.responses[0].partition_responses[0].current_leader.leader_id == NO_LEADER
        assert answer.node_endpoints == []
        failover.start_node(2)
        assert (await shown(client))[1] == (0, 2, [1, 2, 3], [])


async def test_an_unclean_leader_where_the_topic_allows_it(cluster: Running) -> None:
    create(cluster, "loose", 3, unclean_leader_election_enable="true")
    failover = cluster.broker.failover
    failover.set_isr("loose", 1, [2])
    failover.stop_node(2)
    async with await cluster.client(node=1) as client:
        assert (await shown(client, "loose"))[1] == (0, 1, [1, 3], [2])


async def test_too_few_in_sync_for_acks_all(cluster: Running) -> None:
    create(cluster, "safe", 1, min_insync_replicas="2")
    failover = cluster.broker.failover
    async with await cluster.client(node=1) as client:
        assert await produced(client, 0, topic="safe") == NONE
        failover.set_isr("safe", 0, [1])
        assert await produced(client, 0, topic="safe") == ErrorCode.NOT_ENOUGH_REPLICAS
        assert await produced(client, 0, topic="safe", acks=1) == NONE
        failover.set_isr("safe", 0, [1, 3])
        assert await produced(client, 0, topic="safe") == NONE


async def test_too_few_in_sync_for_a_coordinator(launcher: Launcher) -> None:
    """What coordinators write is written with acks=all."""
    factors = ("default", "offsets.topic", "transaction.state.log")
    three = {f"{name}.replication.factor": "3" for name in factors}
    in_sync = {"min.insync.replicas": "2", "transaction.state.log.min.isr": "2"}
    running = await launcher.start({**three, **in_sync}, nodes=3)
    create(running, "t", 1)
    offset = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)
    commit = OffsetCommitRequest(
        group_id="g", topics=[OffsetCommitRequest.OffsetCommitRequestTopic(name="t", partitions=[offset])]
    )
    begin = InitProducerIdRequest(transactional_id="x", transaction_timeout_ms=1000)
    failover = running.broker.failover
    for kind, key in (("group", "g"), ("transaction", "x")):
        failover.move_coordinator(kind, key, 1)
    async with await running.client(node=1) as client:

        async def codes() -> tuple[int, int]:
            committed = await client.ask(commit, 8)
            return committed.topics[0].partitions[0].error_code, (await client.ask(begin, 4)).error_code

        assert await codes() == (NONE, NONE)
        failover.stop_node(2)
        failover.stop_node(3)
        assert await codes() == (ErrorCode.COORDINATOR_NOT_AVAILABLE,) * 2
        failover.start_node(2)
        assert await codes() == (NONE, NONE)


async def test_more_in_sync_than_there_are_replicas_is_not_asked_for(launcher: Launcher) -> None:
    running = await launcher.start({"min.insync.replicas": "2"})
    create(running, "t", 1)
    async with await running.client() as client:
        assert await produced(client, 0) == NONE


async def test_topics_are_made_while_a_node_is_down(cluster: Running) -> None:
    cluster.broker.failover.stop_node(3)
    wanted = CreateTopicsRequest.CreatableTopic(name="late", num_partitions=3, replication_factor=3)
    async with await cluster.client(node=2) as client:
        created = await client.ask(CreateTopicsRequest(topics=[wanted], timeout_ms=1000), 7)
        assert created.topics[0].error_code == NONE
        assert await shown(client, "late") == [(0, 2, [1, 2], [3]), (0, 1, [1, 2], [3]), (0, 2, [1, 2], [3])]
        cluster.broker.failover.start_node(3)
        assert [isr for _, _, isr, _ in await shown(client, "late")] == [[1, 2, 3]] * 3


async def test_what_cannot_be_done_says_why(cluster: Running) -> None:
    failover = cluster.broker.failover
    create(cluster, "one", 1)
    cluster.broker.metadata.change_partitions([])

    def refused(work: Any) -> str:
        with pytest.raises(KafkaError) as caught:
            work()
        return caught.value.message

    assert refused(lambda: failover.stop_node(9)) == "there is no node 9; there are 1, 2, 3"
    assert refused(lambda: failover.start_node(1)) == "node 1 is up already"
    assert refused(lambda: failover.move_leader("t", 9, 1)) == "there is no partition t-9"
    failover.set_isr("t", 0, [1, 2])
    assert refused(lambda: failover.move_leader("t", 0, 3)) == "node 3 is not in sync for t-0; nodes [1, 2] are"
    assert "is always in sync" in refused(lambda: failover.set_isr("t", 0, [2]))
    failover.stop_node(3)
    assert refused(lambda: failover.stop_node(3)) == "node 3 is down already"
    assert refused(lambda: failover.set_isr("t", 0, [1, 3])).startswith("node 3 is down: it cannot be in sync")
    assert refused(lambda: failover.move_leader("t", 1, 3)) == "node 3 is down; start it first"
    failover.stop_node(2)
    assert refused(lambda: failover.stop_node(1)) == "node 1 is the last one that is up; start another first"


async def test_preferred_leaders_come_back_by_themselves(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start({"default.replication.factor": "3"}, nodes=3, clock=clock)
    create(running, "t", 3)
    running.broker.failover.move_leader("t", 0, 3)
    async with await running.client() as client:
        clock.advance(300_000)
        running.broker.timers.run_due()
        assert [leader for _, leader, _, _ in await shown(client)] == [1, 2, 3]


async def test_fewer_nodes_than_before_hold_all_that_there_was(launcher: Launcher) -> None:
    running = await launcher.start({"default.replication.factor": "2"}, nodes=3)
    create(running, "t", 3)
    async with await running.client(node=3) as client:
        assert await produced(client, 2) == NONE
    await launcher.stop()
    running = await launcher.start()
    assert "replicas moved: their nodes are not there any more" in running.log_text
    async with await running.client() as client:
        assert await shown(client) == [(0, 1, [1], [])] * 3
        assert (await fetched(client, running, 2)).high_watermark == 1
    await launcher.stop()
    running = await launcher.start(nodes=2)
    async with await running.client() as client:
        assert [isr for _, _, isr, _ in await shown(client)] == [[1]] * 3


async def test_a_start_ends_what_a_node_that_was_down_left(launcher: Launcher) -> None:
    running = await launcher.start({"default.replication.factor": "3"}, nodes=3)
    create(running, "t", 3)
    running.broker.failover.set_isr("t", 1, [2])
    running.broker.failover.stop_node(2)
    await launcher.stop()
    running = await launcher.start(nodes=3)
    async with await running.client() as client:
        assert [(code, isr) for code, _, isr, _ in await shown(client)] == [(0, [1, 2, 3])] * 3
