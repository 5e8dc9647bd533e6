"""A shop: orders are placed, a kitchen serves them. Plain kafka-python, as in production."""

from __future__ import annotations

import json
from typing import Self

from kafka import KafkaConsumer, KafkaProducer

Order = dict[str, object]


class Counter:
    """Takes orders."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._producer = KafkaProducer(bootstrap_servers=bootstrap_servers, client_id="counter")

    def place(self, guest: str, drink: str) -> None:
        """What a guest orders stays in order: the guest is the key."""
        order = {"guest": guest, "drink": drink}
        self._producer.send("orders", json.dumps(order).encode(), key=guest.encode())

    def close(self) -> None:
        """Once it returns all orders are placed."""
        self._producer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Kitchen:
    """Serves what was ordered, each order once, also after it was closed for a while."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._producer = KafkaProducer(bootstrap_servers=bootstrap_servers, client_id="kitchen")
        self._consumer = KafkaConsumer(
            "orders",
            bootstrap_servers=bootstrap_servers,
            client_id="kitchen",
            group_id="kitchen",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )

    def serve(self, count: int) -> list[Order]:
        """The next orders."""
        served = [json.loads(next(self._consumer).value) for _ in range(count)]
        for order in served:
            self._producer.send("served", str(order["drink"]).encode(), key=str(order["guest"]).encode())
        self._producer.flush()
        self._consumer.commit()
        return served

    def close(self) -> None:
        """What was served is not served again."""
        self._consumer.close()
        self._producer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
