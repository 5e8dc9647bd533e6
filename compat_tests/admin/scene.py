"""What a story of admin calls finds: records, groups of each kind, transactions.

`scene` has two partitions. Group `readers` is empty and has offsets,
`classic-live` and `consumer-live` have a member each.
`txn-done` has committed to scene-0, `txn-open` has a transaction open in scene-1.
"""

import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

FIRST_STAMP_MS = 1_700_000_000_000
_DEADLINE_S = 60.0


class Scene:
    """Stands while a story is told; its members go on polling."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap: dict[str, Any] = {"bootstrap.servers": bootstrap}
        self._over = threading.Event()
        self._stack = ExitStack()
        self._open: Any = None

    def __enter__(self) -> Self:
        try:
            self._set()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Members leave."""
        self._over.set()
        self._stack.close()
        self._open = None  # the story has ended its transaction, or it times out

    def _set(self) -> None:
        topic = NewTopic("scene", 2, 1, config={"retention.ms": "-1"})
        admin = AdminClient(self._bootstrap)
        admin.create_topics([topic])["scene"].result(_DEADLINE_S)
        producer = Producer(self._bootstrap)
        for number in range(10):
            producer.produce("scene", f"value {number}", partition=number % 2, timestamp=FIRST_STAMP_MS + number)
        assert producer.flush(_DEADLINE_S) == 0
        self._commit()
        self._transact("txn-done", partition=0).commit_transaction(_DEADLINE_S)
        self._open = self._transact("txn-open", partition=1)
        self._join("classic-live", {"group.protocol": "classic", "session.timeout.ms": "45000"})
        self._join("consumer-live", {"group.protocol": "consumer"})

    def _commit(self) -> None:
        reader = Consumer({**self._bootstrap, "group.id": "readers"})
        reader.commit(offsets=[TopicPartition("scene", part, 3 + part) for part in (0, 1)], asynchronous=False)
        reader.close()

    def _transact(self, transactional_id: str, partition: int) -> Producer:
        producer = Producer(
            {**self._bootstrap, "transactional.id": transactional_id, "transaction.timeout.ms": 600_000}
        )
        producer.init_transactions(_DEADLINE_S)
        producer.begin_transaction()
        producer.produce("scene", "in a transaction", partition=partition, timestamp=FIRST_STAMP_MS + 100)
        assert producer.flush(_DEADLINE_S) == 0
        return producer

    def _join(self, group: str, settings: dict[str, str]) -> None:
        assigned = threading.Event()
        member = Consumer(
            {**self._bootstrap, "group.id": group, "client.id": "member", **settings, "enable.auto.commit": False}
        )
        member.subscribe(["scene"], on_assign=lambda *_: assigned.set())

        def live() -> None:
            while not self._over.is_set():
                member.poll(0.1)
            member.close()

        thread = threading.Thread(target=live, name=group)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._over.set)
        assert assigned.wait(_DEADLINE_S), f"{group} was assigned nothing"
