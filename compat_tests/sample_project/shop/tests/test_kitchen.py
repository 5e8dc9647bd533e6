"""What becomes of orders. The group is called the same in every test: none finds the offsets of another."""

from __future__ import annotations

import pytest
from shop import Counter, Kitchen

from ottla.testing import Broker


@pytest.mark.parametrize("number", range(300))
def test_what_was_ordered_is_served(ottla: Broker, counter: Counter, number: int) -> None:
    counter.place("Ada", f"tea {number}")
    counter.place("Grace", f"milk {number}")
    with Kitchen(ottla.bootstrap_servers) as kitchen:
        kitchen.serve(2)
    served = {(record.key, record.value) for record in ottla.wait_for("served", 2)}
    assert served == {(b"Ada", b"tea %d" % number), (b"Grace", b"milk %d" % number)}
    assert ottla.groups["kitchen"].lag == 0


@pytest.mark.parametrize("number", range(100))
def test_a_kitchen_goes_on_where_the_last_one_closed(ottla: Broker, counter: Counter, number: int) -> None:
    ottla.produce("orders", f'{{"guest": "Ada", "drink": "tea {number}"}}', key="Ada")
    with Kitchen(ottla.bootstrap_servers) as kitchen:
        assert kitchen.serve(1)[0]["drink"] == f"tea {number}"
    counter.place("Ada", "more tea")
    with Kitchen(ottla.bootstrap_servers) as kitchen:
        assert kitchen.serve(1)[0]["drink"] == "more tea"
    ottla.expect_no_more("served", 2)
