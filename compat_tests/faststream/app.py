"""A FastStream application as a process: orders become invoices, invoices are booked in batches, offers are tried once.

Runs in a virtual environment of its own (drivers.py). Tells what it does as JSON lines [name, value] on standard
output; the end of standard input stops it cleanly. Orders and offers say themselves how often they fail.
"""

import argparse
import asyncio
import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Collection
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaResponse
from faststream.kafka.annotations import KafkaMessage
from pydantic import BaseModel


class Order(BaseModel):
    """What a customer wants. fails: how often it cannot be done at first."""

    id: int
    customer: str
    fails: int = 0


class Invoice(BaseModel):
    """What became of an order."""

    order: int
    customer: str


class CannotError(Exception):
    """It cannot be done yet."""


_telling = threading.Lock()


def tell(name: str, value: Any = None) -> None:
    """An event for the test, on a line of its own, whichever thread tells."""
    with _telling:
        print(json.dumps([name, value]), flush=True)


class Owned(ConsumerRebalanceListener):
    """Tells which partitions of orders this process has."""

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        tell("revoked", sorted(one.partition for one in revoked))

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        tell("assigned", sorted(one.partition for one in assigned))


def application(bootstrap: str, session_timeout_ms: int) -> FastStream:
    """The subscribers, the publisher, and the end."""
    logger = logging.getLogger("app")
    broker = KafkaBroker(bootstrap, enable_idempotence=True, logger=logger)
    app = FastStream(broker, logger=logger)
    group = {
        "auto_offset_reset": "earliest",
        "session_timeout_ms": session_timeout_ms,
        "heartbeat_interval_ms": 500,
    }
    tries: Counter[int] = Counter()

    def attempt(order: Order) -> None:
        tries[order.id] += 1
        if tries[order.id] <= order.fails:
            tell("failed", order.id)
            raise CannotError

    @broker.subscriber("orders", group_id="billing", ack_policy=AckPolicy.NACK_ON_ERROR, listener=Owned(), **group)
    @broker.publisher("invoices")
    async def bill(order: Order, message: KafkaMessage) -> KafkaResponse:
        attempt(order)
        tell("billed", [message.raw_message.partition, message.raw_message.offset, order.id])
        invoice = Invoice(order=order.id, customer=order.customer)
        return KafkaResponse(invoice, key=order.customer.encode(), headers={"kind": "invoice"})

    @broker.subscriber(
        "invoices", group_id="ledger", batch=True, max_records=50, ack_policy=AckPolicy.NACK_ON_ERROR, **group
    )
    async def book(invoices: list[Invoice]) -> None:
        tell("booked", [one.order for one in invoices])

    @broker.subscriber("offers", group_id="sales", ack_policy=AckPolicy.REJECT_ON_ERROR, **group)
    async def sell(offer: Order) -> None:
        attempt(offer)
        tell("sold", offer.id)

    def wait_for_the_end() -> None:
        sys.stdin.read()
        app.exit()

    @app.after_startup
    async def started() -> None:
        threading.Thread(target=wait_for_the_end, daemon=True).start()
        tell("started")

    return app


def _main() -> None:
    parser = argparse.ArgumentParser(description="a FastStream application")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--session-timeout-ms", type=int, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    asyncio.run(application(arguments.bootstrap, arguments.session_timeout_ms).run())


if __name__ == "__main__":
    _main()
