"""Reassignment, election and log folders: which node holds a partition, and how a client moves it."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest
from ottla.wire.messages.alter_replica_log_dirs import AlterReplicaLogDirsRequest
from ottla.wire.messages.describe_log_dirs import DescribeLogDirsRequest
from ottla.wire.messages.describe_quorum import DescribeQuorumRequest
from ottla.wire.messages.elect_leaders import ElectLeadersRequest
from ottla.wire.messages.unregister_broker import UnregisterBrokerRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import METADATA, PRODUCE, metadata, produce

Wanted = AlterPartitionReassignmentsRequest.ReassignablePartition
NONE = ErrorCode.NONE
UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
ASSIGNMENT = ErrorCode.INVALID_REPLICA_ASSIGNMENT


@pytest.fixture
async def running(launcher: Launcher) -> Running:
    """Two nodes."""
    running = await launcher.start(nodes=2)
    running.broker.metadata.create_topic(
        running.broker.metadata.plan_topic("t", -1, -1, [(0, [1, 2]), (1, [2, 1]), (2, [1, 2])])
    )
    return running


async def reassign(
    client: Client, index: int, replicas: list[int] | None, *, topic: str = "t", version: int = 1, **also: Any
) -> int:
    moved = AlterPartitionReassignmentsRequest.ReassignableTopic(
        name=topic, partitions=[Wanted(partition_index=index, replicas=replicas)]
    )
    answer = await client.ask(AlterPartitionReassignmentsRequest(topics=[moved], **also), version)
    code: int = answer.responses[0].partitions[0].error_code
    return code


async def shown(client: Client, index: int) -> tuple[int, int, list[int], list[int]]:
    """(leader, leader epoch, replicas, in-sync replicas)."""
    partition = (await client.ask(metadata("t"), METADATA)).topics[0].partitions[index]
    return partition.leader_id, partition.leader_epoch, partition.replica_nodes, partition.isr_nodes


# (partition, replicas, code, what Metadata shows then)
MOVES: dict[str, tuple[int, list[int] | None, int, tuple[int, int, list[int], list[int]]]] = {
    "the same": (0, [1, 2], NONE, (1, 0, [1, 2], [1, 2])),
    "another order": (0, [2, 1], NONE, (1, 0, [2, 1], [1, 2])),
    "the leader goes": (0, [2], NONE, (2, 1, [2], [2])),
    "the leader stays": (0, [1], NONE, (1, 1, [1], [1])),
    "both": (2, [2, 1], NONE, (1, 0, [2, 1], [1, 2])),
    "cancel": (0, None, ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, (1, 0, [1, 2], [1, 2])),
    "nowhere": (0, [], ASSIGNMENT, (1, 0, [1, 2], [1, 2])),
    "twice": (0, [1, 1], ASSIGNMENT, (1, 0, [1, 2], [1, 2])),
    "unknown broker": (0, [1, 7], ASSIGNMENT, (1, 0, [1, 2], [1, 2])),
}


@pytest.mark.parametrize("move", MOVES)
async def test_a_move_is_over_when_it_is_answered(running: Running, move: str) -> None:
    index, replicas, code, after = MOVES[move]
    async with await running.client() as client:
        assert await reassign(client, index, replicas) == code
        assert await shown(client, index) == after


async def test_the_number_of_replicas_may_be_protected(running: Running) -> None:
    async with await running.client() as client:
        code = await reassign(client, 0, [1], allow_replication_factor_change=False)
        assert code == ErrorCode.INVALID_REPLICATION_FACTOR
        assert await reassign(client, 9, [1]) == UNKNOWN
        assert await reassign(client, 0, [1], topic="nope") == UNKNOWN


async def elect(client: Client, asked: list[int] | None, kind: int = 0) -> Any:
    partitions = None if asked is None else [ElectLeadersRequest.TopicPartitions(topic="t", partitions=asked)]
    return await client.ask(ElectLeadersRequest(topic_partitions=partitions, election_type=kind), 2)


async def test_the_preferred_replica_gets_the_lead_back(running: Running) -> None:
    async with await running.client() as client:
        assert await reassign(client, 0, [2, 1]) == NONE
        results = (await elect(client, [0, 1, 9])).replica_election_results[0].partition_result
        assert [result.error_code for result in results] == [NONE, ErrorCode.ELECTION_NOT_NEEDED, UNKNOWN]
        assert (await shown(client, 0))[:2] == (2, 1)
        answer = await client.ask(produce("t", b"v"), PRODUCE)
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_an_election_everywhere_tells_of_those_that_changed(running: Running) -> None:
    async with await running.client() as client:
        (topic,) = (await elect(client, None)).replica_election_results
        assert (topic.topic, topic.partition_result) == ("t", [])
        assert await reassign(client, 0, [2, 1]) == NONE
        (topic,) = (await elect(client, None)).replica_election_results
        assert [(result.partition_id, result.error_code) for result in topic.partition_result] == [(0, NONE)]
        refused = await elect(client, None, kind=7)
        assert refused.error_code == ErrorCode.INVALID_REQUEST


async def test_leaders_outlive_a_restart(launcher: Launcher) -> None:
    running = await launcher.start(nodes=2)
    running.broker.metadata.create_topic(running.broker.metadata.plan_topic("t", -1, -1, [(0, [1, 2])]))
    async with await running.client() as client:
        assert await reassign(client, 0, [2]) == NONE
    await launcher.stop()
    running = await launcher.start(nodes=2)
    async with await running.client() as client:
        assert await shown(client, 0) == (2, 1, [2], [2])


async def test_sizes_are_those_of_the_files(running: Running) -> None:
    async with await running.client() as client:
        await client.ask(produce("t", b"x" * 1000), PRODUCE)
        asked = DescribeLogDirsRequest.DescribableLogDirTopic(topic="t", partitions=[0, 2, 9])
        gone = DescribeLogDirsRequest.DescribableLogDirTopic(topic="gone", partitions=[0])
        (folder,) = (await client.ask(DescribeLogDirsRequest(topics=[asked, gone]), 4)).results
        sizes = {partition.partition_index: partition.partition_size for partition in folder.topics[0].partitions}
        stored = running.broker.store.path + "/t-0/00000000000000000000.log"
        with open(stored, "rb") as file:
            assert sizes == {0: len(file.read()), 2: 0}
        assert folder.total_bytes >= folder.usable_bytes > 0
        assert [topic.name for topic in folder.topics] == ["t"]


async def test_a_replica_may_stay_where_it_is(running: Running) -> None:
    async with await running.client() as client:
        moved = AlterReplicaLogDirsRequest.AlterReplicaLogDirTopic(name="t", partitions=[0, 9])
        for path, codes in ((running.broker.store.path, [NONE, UNKNOWN]), ("/x", [ErrorCode.LOG_DIR_NOT_FOUND] * 2)):
            there = AlterReplicaLogDirsRequest.AlterReplicaLogDir(path=path, topics=[moved])
            (topic,) = (await client.ask(AlterReplicaLogDirsRequest(dirs=[there]), 2)).results
            assert [partition.error_code for partition in topic.partitions] == codes


async def test_the_quorum_is_this_process(running: Running) -> None:
    async with await running.client() as client:
        for name, code in (("__cluster_metadata", NONE), ("t", UNKNOWN)):
            asked = DescribeQuorumRequest.TopicData(
                topic_name=name, partitions=[DescribeQuorumRequest.PartitionData(partition_index=0)]
            )
            answer = await client.ask(DescribeQuorumRequest(topics=[asked]), 2)
            partition = answer.topics[0].partitions[0]
            assert partition.error_code == code
            assert [voter.replica_id for voter in partition.current_voters] == ([1] if code == NONE else [])


async def test_a_running_broker_is_not_forgotten(running: Running) -> None:
    async with await running.client() as client:
        assert (await client.ask(UnregisterBrokerRequest(broker_id=1), 0)).error_code == ErrorCode.INVALID_REQUEST
        answer = await client.ask(UnregisterBrokerRequest(broker_id=7), 0)
        assert answer.error_code == ErrorCode.BROKER_ID_NOT_REGISTERED
