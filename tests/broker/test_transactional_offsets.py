"""Offsets committed in transactions, over the wire: what a restart between commit and end leaves of them."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from ottla.wire.messages.end_txn import EndTxnRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.txn_offset_commit import TxnOffsetCommitRequest
from tests.broker.conftest import Client, Launcher
from tests.broker.test_connection import METADATA, metadata
from tests.broker.test_restart import again

E = ErrorCode


class Producer(NamedTuple):
    """A transactional producer, as old as `generation` of the protocol (1, or 2: KIP-890)."""

    producer_id: int
    epoch: int
    generation: int

    async def commit(self, client: Client, offset: int) -> int:
        """The code of a commit for partition 0 of "t"."""
        if self.generation == 1:
            add = AddOffsetsToTxnRequest(
                transactional_id="tx", producer_id=self.producer_id, producer_epoch=self.epoch, group_id="g"
            )
            assert (await client.ask(add, 3)).error_code == E.NONE
        partition = TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        request = TxnOffsetCommitRequest(
            transactional_id="tx",
            group_id="g",
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            topics=[TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(name="t", partitions=[partition])],
        )
        answer = await client.ask(request, 3 if self.generation == 1 else 5)
        code: int = answer.topics[0].partitions[0].error_code
        return code

    async def end(self, client: Client, commit: bool) -> Producer:
        """The producer after the end of its transaction."""
        request = EndTxnRequest(
            transactional_id="tx", producer_id=self.producer_id, producer_epoch=self.epoch, committed=commit
        )
        answer = await client.ask(request, 4 if self.generation == 1 else 5)
        assert answer.error_code == E.NONE
        return self if self.generation == 1 else Producer(answer.producer_id, answer.producer_epoch, 2)


async def stable(client: Client) -> tuple[int, int]:
    """(code, offset) of what is committed for partition 0 of "t"."""
    topic = OffsetFetchRequest.OffsetFetchRequestTopics(name="t", partition_indexes=[0])
    group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", topics=[topic])
    answer = await client.ask(OffsetFetchRequest(groups=[group], require_stable=True), 9)
    partition = answer.groups[0].topics[0].partitions[0]
    return partition.error_code, partition.committed_offset


@pytest.mark.parametrize("end", ["clean stop", "crash"])
@pytest.mark.parametrize("generation", [1, 2])
async def test_a_restart_between_commit_and_end(launcher: Launcher, end: str, generation: int) -> None:
    running = await launcher.start()
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        started = await client.ask(InitProducerIdRequest(transactional_id="tx", transaction_timeout_ms=60_000), 5)
        producer = Producer(started.producer_id, started.producer_epoch, generation)
        assert await producer.commit(client, 5) == E.NONE
        assert await stable(client) == (E.UNSTABLE_OFFSET_COMMIT, -1)
    for offset, commit, then in ((5, True, 5), (6, False, 5), (7, True, 7)):
        running = await again(launcher, running, end)
        async with await running.client() as client:
            assert await stable(client) == (E.UNSTABLE_OFFSET_COMMIT, -1)
            assert await producer.commit(client, offset) == E.NONE
            producer = await producer.end(client, commit)
            assert await stable(client) == (E.NONE, then)
        running = await again(launcher, running, end)
        async with await running.client() as client:
            assert await stable(client) == (E.NONE, then)
            assert await producer.commit(client, 99) == E.NONE
    assert "request failed" not in running.log_text
