"""What a real Kafka 4.4.0 answered about transactions, request for request: the same codes and fields come out here.

data/observed_transactions.jsonl: one request and its answer a line, in the order asked. Produce and TxnOffsetCommit are
there for what they ask of the transaction coordinator.
data/observed_transaction_records.jsonl: what it had then written to `__transaction_state`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ottla.coordinator.transaction.records import TransactionRecord, decode_record
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import ErrorCode
from ottla.wire.hashing import partition_for_group
from ottla.wire.records import RecordBatch
from tests.coordinator.test_observed import Comparison, build, snake
from tests.coordinator.transaction_world import PARTITIONS, Partition, TransactionWorld

DATA = Path(__file__).parent / "data"
LINES = [json.loads(line) for line in (DATA / "observed_transactions.jsonl").read_text().splitlines()]
RECORDS = [json.loads(line) for line in (DATA / "observed_transaction_records.jsonl").read_text().splitlines()]
METHODS = {
    "InitProducerId": "init_producer_id",
    "AddPartitionsToTxn": "add_partitions_to_txn",
    "AddOffsetsToTxn": "add_offsets_to_txn",
    "EndTxn": "end_txn",
    "DescribeTransactions": "describe_transactions",
    "ListTransactions": "list_transactions",
}
# How often the producer was initialized without that being told, before a line.
UNTOLD = {
    "txn init again bumps epoch": 1,
    "tv1 produce before AddPartitions (v11)": 2,
    "tv2 produce v12 without AddPartitions": 1,
    "tv2 abort with nothing added": 1,
    "tv2 commit with nothing added": 1,
    "tv2 txn offset commit v5": 1,
}
OBS_T = [("obs-t", index) for index in range(3)]


def check_partition(topic: str, index: int) -> ErrorCode:
    return ErrorCode.NONE if (topic, index) in OBS_T else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def offsets_partition(group_id: str) -> int:
    return partition_for_group(group_id, 5)


def produce(world: TransactionWorld, request: dict[str, Any], version: int) -> int:
    """The code that a Produce of one partition gets from the transaction coordinator."""
    (topic,) = request["TopicData"]
    (data,) = topic["PartitionData"]
    batch = RecordBatch(bytes.fromhex(data["Records"]["hex"]))
    partition = (topic["Name"], data["Index"])
    who = (request["TransactionalId"], batch.producer_id, batch.producer_epoch)
    if version < 12:
        code = world.coordinator.verify(*who, [partition])[partition]
    else:
        answer = world.coordinator.add_partitions(*who, [partition])
        assert isinstance(answer, ErrorCode)
        code = answer
    return ErrorCode.INVALID_PRODUCER_EPOCH if code is ErrorCode.PRODUCER_FENCED else code


def commit_offsets(world: TransactionWorld, request: dict[str, Any], version: int) -> int:
    who = (request["TransactionalId"], request["ProducerId"], request["ProducerEpoch"])
    partition = ("__consumer_offsets", offsets_partition(request["GroupId"]))
    if version < 5:
        return world.coordinator.verify(*who, [partition])[partition]
    answer = world.coordinator.add_partitions(*who, [partition])
    assert isinstance(answer, ErrorCode)
    return answer


def tell_the_story(world: TransactionWorld) -> None:
    """Ask all that was asked, and compare the answers."""
    world.next_producer_id = 3
    world.partitions = {at: Partition() for at in [*OBS_T, ("__consumer_offsets", offsets_partition("og-tx"))]}
    comparison = Comparison()
    for line in LINES:
        scenario, version, asked, response = line["scenario"], line["version"], line["request"], line["response"]
        for _ in range(UNTOLD.get(scenario, 0)):
            world.producer("tx-obs")
        if scenario == "txn short add":
            world.producer("tx-short", timeout_ms=1_000)
        elif scenario == "txn short end after timeout abort":
            world.sleep(10_000)
        if line["api"] == "Produce":
            expected = response["Responses"][0]["PartitionResponses"][0]["ErrorCode"]
            assert produce(world, asked, version) == expected, scenario
            continue
        if line["api"] == "TxnOffsetCommit":
            expected = response["Topics"][0]["Partitions"][0]["ErrorCode"]
            assert commit_offsets(world, asked, version) == expected, scenario
            continue
        api = API[ApiKey[snake(line["api"]).upper()]]
        request = build(api.request, api.request, asked)
        more: list[Any] = [offsets_partition] if line["api"] == "AddOffsetsToTxn" else []
        checks = {"check_partition": check_partition} if line["api"] == "AddPartitionsToTxn" else {}
        answer = world.ask(METHODS[line["api"]], request, version, *more, **checks)
        sent = api.response.decode(answer.encode(version), version)
        for told in response.get("TransactionStates", []):
            told.pop("TransactionStartTimeMs", None)  # another day
        comparison.check(response, sent, f"{scenario} v{version}")


def test_every_answer_is_that_of_kafka() -> None:
    tell_the_story(TransactionWorld())


def test_every_record_is_that_of_kafka() -> None:
    world = TransactionWorld()
    tell_the_story(world)
    for transactional_id in ("tx-obs", "tx-short"):
        partition = partition_for_group(transactional_id, PARTITIONS)
        expected = [
            (bytes.fromhex(record["key"]), bytes.fromhex(record["value"]))
            for record in RECORDS
            if record["partition"] == partition
        ]
        written = [(key, value) for index, key, value in world.log if index == partition]
        assert [without_times(*record) for record in written] == [without_times(*record) for record in expected]


def without_times(key: bytes, value: bytes | None) -> tuple[str, Any]:
    """A record as it is compared: times only as whether there is one."""
    record = decode_record(key, value)
    assert record is not None
    transaction = record.transaction
    assert transaction is not None
    assert transaction.update_ms >= transaction.start_ms
    return record.transactional_id, transaction._replace(update_ms=0, start_ms=min(transaction.start_ms, 0))


def test_their_records_are_written_again_byte_for_byte() -> None:
    for line in RECORDS:
        key, value = bytes.fromhex(line["key"]), bytes.fromhex(line["value"])
        record = decode_record(key, value)
        assert isinstance(record, TransactionRecord)
        written_key, written_value = TransactionRecord(record.transactional_id, record.transaction, 1).encode()
        assert written_key == key
        assert written_value is not None
        # Kafka's order of topics is that of a hash table.
        assert len(written_value) == len(value)
        if record.transaction is not None and len({topic for topic, _ in record.transaction.partitions}) < 2:
            assert written_value == value
