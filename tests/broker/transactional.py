"""A transactional producer of either protocol generation, and a reader of committed records, over the wire codec."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Self

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from ottla.wire.messages.describe_transactions import DescribeTransactionsRequest
from ottla.wire.messages.end_txn import EndTxnRequest
from ottla.wire.messages.fetch import FetchRequest, FetchResponse
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.list_offsets import ListOffsetsRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.messages.txn_offset_commit import TxnOffsetCommitRequest
from ottla.wire.records import ControlRecordType, Record, batches, build_batch
from tests.broker.conftest import Client

STAMP_MS: Final = 1_700_000_000_000
READ_COMMITTED: Final = 1


class Generation(NamedTuple):
    """The versions that a client of a generation speaks."""

    name: str
    produce: int
    end: int
    offset_commit: int

    @property
    def adds_itself(self) -> bool:
        """KIP-890: nobody calls AddPartitionsToTxn, and each transaction has its own epoch."""
        return self.end >= 5

    def __str__(self) -> str:
        return self.name


OLD: Final = Generation("old", produce=11, end=4, offset_commit=4)
NEW: Final = Generation("new", produce=12, end=5, offset_commit=5)


def transactional_batch(producer_id: int, epoch: int, sequence: int, *values: bytes) -> bytearray:
    records = [Record(at, STAMP_MS, b"k", value) for at, value in enumerate(values)]
    return build_batch(
        records, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, transactional=True
    )


def produce_request(
    topic: str, records: dict[int, bytes | bytearray], *, transactional_id: str | None, acks: int = -1
) -> ProduceRequest:
    """`records`: a batch for each partition."""
    data = [ProduceRequest.PartitionProduceData(index=index, records=batch) for index, batch in records.items()]
    return ProduceRequest(
        transactional_id=transactional_id,
        acks=acks,
        timeout_ms=5000,
        topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=data)],
    )


def codes_of(response: Any) -> dict[int, ErrorCode]:
    """The code of each partition of the only topic of a Produce."""
    return {each.index: ErrorCode(each.error_code) for each in response.responses[0].partition_responses}


class Producer:
    """What a transactional client keeps in mind: its id, epoch and sequences, and what it has added."""

    def __init__(self, client: Client, transactional_id: str, generation: Generation) -> None:
        self.client = client
        self.transactional_id = transactional_id
        self.generation = generation
        self.producer_id = -1
        self.epoch = -1
        self._sequences: dict[tuple[str, int], int] = {}
        self._added: set[tuple[str, int]] = set()

    @classmethod
    async def start(
        cls, client: Client, transactional_id: str, generation: Generation, *, timeout_ms: int = 60_000
    ) -> Self:
        producer = cls(client, transactional_id, generation)
        assert await producer.init(timeout_ms) is ErrorCode.NONE
        return producer

    async def init(self, timeout_ms: int = 60_000) -> ErrorCode:
        """InitProducerId until no older transaction is in the way."""
        code = ErrorCode.CONCURRENT_TRANSACTIONS
        while code is ErrorCode.CONCURRENT_TRANSACTIONS:
            request = InitProducerIdRequest(transactional_id=self.transactional_id, transaction_timeout_ms=timeout_ms)
            response = await self.client.ask(request, 5)
            code = ErrorCode(response.error_code)
        if code is ErrorCode.NONE:
            self._renew(response.producer_id, response.producer_epoch)
        return code

    def _renew(self, producer_id: int, epoch: int) -> None:
        if (producer_id, epoch) != (self.producer_id, self.epoch):
            self._sequences.clear()
        self.producer_id, self.epoch = producer_id, epoch
        self._added.clear()

    async def send(self, topic: str, index: int, *values: bytes) -> ErrorCode:
        """The values as one batch; a producer of the old generation adds the partition first."""
        if not self.generation.adds_itself and (topic, index) not in self._added:
            code = await self.add(topic, index)
            if code is not ErrorCode.NONE:
                return code
        return await self.send_only(topic, index, *values)

    async def send_only(self, topic: str, index: int, *values: bytes) -> ErrorCode:
        sequence = self._sequences.get((topic, index), 0)
        batch = transactional_batch(self.producer_id, self.epoch, sequence, *values)
        request = produce_request(topic, {index: batch}, transactional_id=self.transactional_id)
        code = codes_of(await self.client.ask(request, self.generation.produce))[index]
        if code is ErrorCode.NONE:
            self._sequences[topic, index] = sequence + len(values)
        return code

    async def add(self, topic: str, index: int) -> ErrorCode:
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.transactional_id,
            v3_and_below_producer_id=self.producer_id,
            v3_and_below_producer_epoch=self.epoch,
            v3_and_below_topics=[AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name=topic, partitions=[index])],
        )
        response = await self.client.ask(request, 3)
        code = response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        if code == 0:
            self._added.add((topic, index))
        return ErrorCode(code)

    async def send_offset(self, group: str, topic: str, offset: int) -> ErrorCode:
        """Commit `offset` of partition 0 for a group without members."""
        if not self.generation.adds_itself:
            added = AddOffsetsToTxnRequest(
                transactional_id=self.transactional_id,
                producer_id=self.producer_id,
                producer_epoch=self.epoch,
                group_id=group,
            )
            code = (await self.client.ask(added, 3)).error_code
            if code:
                return ErrorCode(code)
        return await self.send_offset_only(group, topic, offset)

    async def send_offset_only(self, group: str, topic: str, offset: int) -> ErrorCode:
        committed = TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        request = TxnOffsetCommitRequest(
            transactional_id=self.transactional_id,
            group_id=group,
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            topics=[TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(name=topic, partitions=[committed])],
        )
        response = await self.client.ask(request, self.generation.offset_commit)
        return ErrorCode(response.topics[0].partitions[0].error_code)

    async def commit(self) -> ErrorCode:
        return await self._end(commit=True)

    async def abort(self) -> ErrorCode:
        return await self._end(commit=False)

    async def _end(self, *, commit: bool) -> ErrorCode:
        request = EndTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            committed=commit,
        )
        response = await self.client.ask(request, self.generation.end)
        if response.error_code == 0:
            self._added.clear()
            if self.generation.adds_itself:
                self._renew(response.producer_id, response.producer_epoch)
        return ErrorCode(response.error_code)


async def state_of(client: Client, transactional_id: str) -> str:
    """What DescribeTransactions calls it, or the name of its error."""
    response = await client.ask(DescribeTransactionsRequest(transactional_ids=[transactional_id]), 0)
    described = response.transaction_states[0]
    return described.transaction_state or ErrorCode(described.error_code).name


async def committed(client: Client, topic: str, index: int = 0) -> list[bytes]:
    """What a consumer with isolation.level=read_committed hands on, from the beginning to the end."""
    values: list[bytes] = []
    offset = 0
    while (data := await _fetch_committed(client, topic, index, offset)).records:
        pending = sorted((each.first_offset, each.producer_id) for each in data.aborted_transactions or ())
        aborting: set[int] = set()
        for batch in batches(data.records):
            while pending and pending[0][0] <= batch.last_offset:
                aborting.add(pending.pop(0)[1])
            if batch.is_control:
                if batch.control_record()[0] == ControlRecordType.ABORT:
                    aborting.discard(batch.producer_id)
            elif batch.producer_id not in aborting:
                values += [record.value or b"" for record in batch.records(1 << 26)]
            offset = batch.last_offset + 1
    return values


async def _fetch_committed(client: Client, topic: str, index: int, offset: int) -> FetchResponse.PartitionData:
    partition = FetchRequest.FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=1 << 24)
    request = FetchRequest(
        replica_id=-1,
        max_wait_ms=0,
        min_bytes=1,
        max_bytes=1 << 24,
        isolation_level=READ_COMMITTED,
        topics=[FetchRequest.FetchTopic(topic=topic, partitions=[partition])],
    )
    data: FetchResponse.PartitionData = (await client.ask(request, 11)).responses[0].partitions[0]
    assert data.error_code == 0
    return data


async def end_offset(client: Client, topic: str, index: int = 0, *, isolation_level: int = READ_COMMITTED) -> int:
    """The last stable offset, or the high watermark."""
    partition = ListOffsetsRequest.ListOffsetsPartition(partition_index=index, timestamp=-1)
    request = ListOffsetsRequest(
        replica_id=-1,
        isolation_level=isolation_level,
        topics=[ListOffsetsRequest.ListOffsetsTopic(name=topic, partitions=[partition])],
    )
    response = await client.ask(request, 7)
    offset: int = response.topics[0].partitions[0].offset
    return offset


async def group_offset(client: Client, group: str, topic: str, *, stable: bool = True) -> int | ErrorCode:
    """The committed offset of partition 0, -1 if there is none, or why it is not told."""
    asked = OffsetFetchRequest.OffsetFetchRequestTopics(name=topic, partition_indexes=[0])
    request = OffsetFetchRequest(
        groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group, topics=[asked])], require_stable=stable
    )
    response = await client.ask(request, 8)
    found = response.groups[0].topics[0].partitions[0]
    return ErrorCode(found.error_code) if found.error_code else int(found.committed_offset)
