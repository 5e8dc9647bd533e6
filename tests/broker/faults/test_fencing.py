"""Epochs that go up while a request is on its way: of transactional producers, and of members of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.broker.faults.faults import Faults
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from tests.broker.conftest import Client, Running
from tests.broker.faults.stories import HEARTBEAT, JOIN, SYNC, join, order
from tests.broker.transactional import NEW, OLD, Generation, Producer, committed

_FENCED = (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.PRODUCER_FENCED)


@pytest.mark.parametrize("generation", [OLD, NEW], ids=str)
async def test_a_transactional_producer_is_fenced_and_its_transaction_aborted(
    running: Running, faults: Faults, generation: Generation
) -> None:
    async with await running.client() as client, await running.client() as reader:
        producer = await Producer.start(client, "tx", generation)
        assert await producer.send("t", 0, b"a") is ErrorCode.NONE
        epoch = producer.epoch
        fault = order(faults, api="EndTxn", fence="producer", times=1)
        assert await producer.commit() in _FENCED
        assert await producer.send("t", 0, b"b") in _FENCED
        assert await committed(reader, "t") == []
        again = await Producer.start(client, "tx", generation)
        assert again.epoch > epoch
        assert await again.send("t", 0, b"c") is ErrorCode.NONE
        assert await again.commit() is ErrorCode.NONE
        assert await committed(reader, "t") == [b"c"]
    assert fault.log[0].did == "raised the producer epoch of the transactional id tx"


async def test_a_producer_is_fenced_before_its_transaction_begins(running: Running, faults: Faults) -> None:
    async with await running.client() as client:
        producer = await Producer.start(client, "tx", NEW)
        order(faults, api="Produce", topic="t", fence="producer", times=1)
        assert await producer.send("t", 0, b"a") in _FENCED


def consumer_heartbeat(epoch: int, **more: Any) -> ConsumerGroupHeartbeatRequest:
    return ConsumerGroupHeartbeatRequest(group_id="g", member_id="m", member_epoch=epoch, **more)


async def test_a_member_of_a_consumer_group_hears_that_its_epoch_is_fenced(running: Running, faults: Faults) -> None:
    joins = {"rebalance_timeout_ms": 30_000, "subscribed_topic_names": ["t"], "topic_partitions": []}
    async with await running.client() as client:
        joined = await client.ask(consumer_heartbeat(0, **joins), 1)
        fault = order(faults, api="ConsumerGroupHeartbeat", group="g", fence="member", times=1)
        refused = await client.ask(consumer_heartbeat(joined.member_epoch), 1)
        assert refused.error_code == ErrorCode.FENCED_MEMBER_EPOCH
        again = await client.ask(consumer_heartbeat(0, **joins), 1)
        assert again.error_code == 0
        assert again.member_epoch > joined.member_epoch, "it really moved"
    assert "FENCED_MEMBER_EPOCH is due" in fault.log[0].did


async def joined_group(client: Client, instance: str | None) -> HeartbeatRequest:
    """A group of one; the heartbeat of its member."""
    request = join()
    request.group_instance_id = instance
    answer = await client.ask(request, JOIN)
    if answer.error_code == ErrorCode.MEMBER_ID_REQUIRED:
        request.member_id = answer.member_id
        answer = await client.ask(request, JOIN)
    mine = [SyncGroupRequest.SyncGroupRequestAssignment(member_id=answer.member_id, assignment=b"x")]
    await client.ask(
        SyncGroupRequest(
            group_id="g",
            generation_id=answer.generation_id,
            member_id=answer.member_id,
            group_instance_id=instance,
            protocol_type="consumer",
            protocol_name="range",
            assignments=mine,
        ),
        SYNC,
    )
    return HeartbeatRequest(
        group_id="g", generation_id=answer.generation_id, member_id=answer.member_id, group_instance_id=instance
    )


@pytest.mark.parametrize(
    ("instance", "heard"), [(None, ErrorCode.UNKNOWN_MEMBER_ID), ("i", ErrorCode.FENCED_INSTANCE_ID)]
)
async def test_a_member_of_a_classic_group_hears_that_it_is_out(
    running: Running, faults: Faults, instance: str | None, heard: ErrorCode
) -> None:
    async with await running.client() as client:
        beat = await joined_group(client, instance)
        assert (await client.ask(beat, HEARTBEAT)).error_code == 0
        fault = order(faults, api="Heartbeat", group="g", fence="member", times=1)
        assert (await client.ask(beat, HEARTBEAT)).error_code == heard
    assert fault.fired == 1


async def test_whoever_has_no_such_epoch_is_not_fenced(running: Running, faults: Faults) -> None:
    fault = order(faults, fence="member")
    other = order(faults, fence="producer")
    async with await running.client() as client:
        assert (await client.ask(join(), JOIN)).error_code == ErrorCode.MEMBER_ID_REQUIRED
        request = JoinGroupRequest(group_id="h", member_id="stranger", session_timeout_ms=60_000)
        request.protocol_type, request.protocols = "consumer", join().protocols
        assert (await client.ask(request, JOIN)).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert (fault.seen, other.seen) == (0, 0)
