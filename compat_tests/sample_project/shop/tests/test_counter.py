"""Orders as they are placed. Every test has the same topics, and a broker of its own: it finds its own orders only."""

from __future__ import annotations

import json

import pytest
from kafka import KafkaConsumer
from shop import Counter

from ottla.testing import Broker


@pytest.mark.parametrize("number", range(400))
def test_an_order_is_placed(ottla: Broker, counter: Counter, number: int) -> None:
    counter.place("Ada", f"tea {number}")
    counter.close()
    (record,) = ottla.expect_no_more("orders", 1)
    assert (record.offset, record.key) == (0, b"Ada")
    assert json.loads(record.value or b"") == {"guest": "Ada", "drink": f"tea {number}"}


@pytest.mark.parametrize("number", range(200))
def test_orders_of_a_guest_are_read_in_the_order_in_which_they_were_placed(
    ottla: Broker, counter: Counter, number: int
) -> None:
    drinks = [f"{drink} {number}" for drink in ("tea", "milk", "soup")]
    for drink in drinks:
        counter.place("Grace", drink)
    consumer = KafkaConsumer("orders", bootstrap_servers=ottla.bootstrap_servers, auto_offset_reset="earliest")
    assert [json.loads(next(consumer).value)["drink"] for _ in drinks] == drinks
    consumer.close()
