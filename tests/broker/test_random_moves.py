"""Transactions over records and offsets while coordinators and leaders move, nodes go and come, and the disk is slow.

At random, over the real log and without sockets: every transaction ends as a whole, as its producer was told.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ottla.broker.broker import Broker
from ottla.broker.config import BrokerConfig
from ottla.broker.logs import Log
from ottla.broker.nodes import Node
from ottla.broker.reading import read_batches
from ottla.broker.transactions import ClientProtocol, admit, admit_offsets
from ottla.log.clock import ManualClock
from ottla.log.door import Pending
from ottla.log.ids import Ids
from ottla.log.store import Store
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.end_txn import EndTxnRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.txn_offset_commit import TxnOffsetCommitRequest
from ottla.wire.records import ControlRecordType
from tests.broker.transactional import transactional_batch

E = ErrorCode
NODES = (1, 2, 3)
SETTINGS = {
    "offsets.topic.num.partitions": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.num.partitions": "2",
    "transaction.state.log.replication.factor": "3",
    "log.flush.interval.messages": "1",
}
IDS = ("x", "y", "z")
TIMEOUT_MS = 15_000
RETRIABLE = (E.NOT_COORDINATOR, E.COORDINATOR_NOT_AVAILABLE, E.CONCURRENT_TRANSACTIONS, E.NOT_LEADER_OR_FOLLOWER)
MOVES = st.lists(
    st.tuples(st.sampled_from(["group", "transaction", "leader", "stop", "start"]), st.sampled_from(NODES))
)


class Someone:
    """Who asks, to the group coordinator."""

    client_id = "client"
    client_host = "/127.0.0.1"


class Moves(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock, ids = ManualClock(), Ids(seed=1)
        config, log = BrokerConfig(SETTINGS), Log(io.StringIO(), "text", self.clock, "error")
        self.store = Store.open(
            Path(self.folder.name) / "data",
            clock=self.clock,
            ids=ids,
            node_id=1,
            broker_defaults=config.log_defaults(),
            warn=log.warning,
        )
        nodes = [Node(node) for node in NODES]
        self.broker = Broker(config, self.store, nodes=nodes, clock=self.clock, ids=ids, log=log)
        self.broker.load()
        metadata = self.broker.metadata
        self.topic = metadata.create_topic(metadata.plan_topic("t", assignments=[(0, list(NODES))]))
        self.told: dict[bytes, bool] = {}
        self.written = 0
        self.offset = -1
        self.plan: list[tuple[str, int]] = []  # moves that come while a request waits, or between two

    # -- a client that asks until it has an answer --------------------------------------------------------------------

    def ask(self, request: Callable[[], Any], code_of: Callable[[Any], ErrorCode]) -> Any:
        """The answer, if it is neither to be asked again nor lost; else the request is made again."""
        for _ in range(400):
            self.strike()
            try:
                answer = request()
                if isinstance(answer, Pending):
                    self.strike()
                    self.pass_time(20)
                    answer = answer.result()
                if code_of(answer) not in RETRIABLE:
                    return answer
            except KafkaError as error:
                if error.code not in RETRIABLE:
                    raise
            self.pass_time(50)
        raise AssertionError("no end")

    def pass_time(self, ms: int) -> None:
        """All that waits for the disk is there, then time passes."""
        for _ in range(3):  # a marker after its outcome, and what completes it
            self.store.flushes.run()
        for _ in range(0, ms, 1_000):
            self.clock.advance(min(ms, 1_000))
            self.broker.timers.run_due()
            self.store.flushes.run()

    def strike(self) -> None:
        """The next move, if it can be made."""
        if self.plan:
            what, node = self.plan.pop(0)
            with suppress(KafkaError):
                self.move(what, node)

    def move(self, what: str, node: int) -> None:
        failover = self.broker.failover
        if what == "leader":
            failover.move_leader("t", 0, node)
        elif what == "stop":
            failover.stop_node(node)
        elif what == "start":
            failover.start_node(node)
        else:
            failover.move_coordinator(what, "g" if what == "group" else IDS[0], node)

    def transactions(self, transactional_id: str) -> Any:
        return self.broker.transaction_coordinator_node(transactional_id).transactions

    # -- what it does -------------------------------------------------------------------------------------------------

    def init(self, transactional_id: str) -> tuple[int, int]:
        request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=TIMEOUT_MS)
        answer = self.ask(
            lambda: self.transactions(transactional_id).init_producer_id(request, 5), lambda answer: answer.error_code
        )
        assert answer.error_code == E.NONE
        return answer.producer_id, answer.producer_epoch

    def write(self, transactional_id: str, producer: tuple[int, int], value: bytes) -> ErrorCode:
        """One record, admitted and appended by the leader."""
        partition = self.topic.partitions[0]

        def append() -> Any:
            node = self.broker.cluster.leader(partition)
            if node is None:
                raise KafkaError(E.NOT_LEADER_OR_FOLLOWER)
            admitted = admit(self.broker, node, transactional_id, producer, [partition], ClientProtocol.ADDED)
            if isinstance(admitted, Pending):
                self.strike()
                self.pass_time(20)
                admitted = admitted.result()
            if admitted[partition] is E.NONE:
                batch = transactional_batch(*producer, 0, value)
                partition.log.append(batch, leader_epoch=partition.leader_epoch, transaction_version=2)
            return admitted[partition]

        code: ErrorCode = self.ask(append, lambda code: code)
        return code

    def send_offset(self, transactional_id: str, producer: tuple[int, int], offset: int) -> ErrorCode:
        partition = TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        request = TxnOffsetCommitRequest(
            transactional_id=transactional_id,
            group_id="g",
            producer_id=producer[0],
            producer_epoch=producer[1],
            topics=[TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(name="t", partitions=[partition])],
        )

        def commit() -> Any:
            node = self.broker.group_coordinator_node("g")
            return node.groups.commit_transactional_offsets(
                Someone,
                request,
                5,
                lambda: admit_offsets(self.broker, node, transactional_id, producer, "g", ClientProtocol.ADDED),
            )

        return ErrorCode(self.code_of_commit(self.ask(commit, self.code_of_commit)))

    def code_of_commit(self, answer: Any) -> ErrorCode:
        return ErrorCode(answer.topics[0].partitions[0].error_code)

    def end(self, transactional_id: str, producer: tuple[int, int], commit: bool) -> ErrorCode:
        request = EndTxnRequest(
            transactional_id=transactional_id, producer_id=producer[0], producer_epoch=producer[1], committed=commit
        )
        answer = self.ask(
            lambda: self.transactions(transactional_id).end_txn(request, 5), lambda answer: answer.error_code
        )
        return ErrorCode(answer.error_code)

    @rule(name=st.sampled_from(IDS), end=st.sampled_from([True, True, False, None]), plan=MOVES)
    def transaction(self, name: str, end: bool | None, plan: list[tuple[str, int]]) -> None:
        """A record and an offset, and what becomes of them; None: the producer vanishes."""
        self.plan = plan
        producer = self.init(name)
        value = b"%d" % self.written
        self.written += 1
        codes = [self.write(name, producer, value), self.send_offset(name, producer, self.written)]
        codes.append(self.end(name, producer, end) if end is not None else E.NONE)
        assert set(codes) == {E.NONE}
        if end is None:
            self.pass_time(2 * TIMEOUT_MS)  # it is aborted in time
        self.told[value] = bool(end)
        if end:
            self.offset = self.written
        self.plan = []

    @rule(plan=MOVES)
    def moves(self, plan: list[tuple[str, int]]) -> None:
        self.plan = plan
        while self.plan:
            self.strike()

    @rule(ms=st.sampled_from([20, 1_000, 60_000]))
    def wait(self, ms: int) -> None:
        self.pass_time(ms)

    # -- what must be true --------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        self.plan = [("start", node) for node in NODES]
        while self.plan:
            self.strike()
        self.pass_time(60_000)
        assert self.outcomes() == self.told
        fetched = self.fetched()
        assert (fetched.error_code, fetched.committed_offset) == (E.NONE, self.offset)
        for node in self.broker.cluster.nodes.values():
            assert node.transactions.stats["outcomes_under_way"] == 0
        self.broker.shut_down()
        self.store.close()
        self.folder.cleanup()

    def outcomes(self) -> dict[bytes, bool]:
        """By what was written: committed or not."""
        outcomes: dict[bytes, bool] = {}
        open_values: dict[int, list[bytes]] = {}
        for batch in read_batches(self.topic.partitions[0].log):
            if batch.is_control:
                commit = batch.control_record()[0] == ControlRecordType.COMMIT
                outcomes.update(dict.fromkeys(open_values.pop(batch.producer_id, []), commit))
            else:
                open_values.setdefault(batch.producer_id, []).extend(r.value or b"" for r in batch.records(1 << 20))
        assert not open_values
        return outcomes

    def fetched(self) -> Any:
        """The group's offset, when nothing is pending any more."""
        topics = [OffsetFetchRequest.OffsetFetchRequestTopics(name="t", partition_indexes=[0])]
        request = OffsetFetchRequest(
            groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", topics=topics)], require_stable=True
        )
        answer = self.broker.group_coordinator_node("g").groups.fetch_offsets(Someone, request, 9)  # type: ignore[arg-type]
        return answer.groups[0].topics[0].partitions[0]


Moves.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestMoves = Moves.TestCase
