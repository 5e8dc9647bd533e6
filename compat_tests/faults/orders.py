"""Faults ordered of a running broker over HTTP, as a test in any language orders them: POST /v1/faults and more.

What a fault does is in docs/testing.md; no client and no story belongs here.
"""

import json
import urllib.error
import urllib.request
from typing import Any

from compat_tests.harness import DEADLINE_S, Broker

_NEVER = (1 << 31) - 1


class OrderError(AssertionError):
    """The broker refused a call; the text is its own."""


class Order:
    """A fault that was ordered."""

    def __init__(self, orders: "Orders", number: int) -> None:
        self._orders = orders
        self._path = f"/faults/{number}"

    @property
    def fired(self) -> int:
        """How often, so far."""
        return int(self.now()["fired"])

    @property
    def seen(self) -> int:
        """Requests that it was about, whether it fired or not."""
        return int(self.now()["seen"])

    @property
    def log(self) -> list[dict[str, Any]]:
        """Each firing: n, seen, time_ms, api, version, node, connection, client_id, partitions, did."""
        return list(self.now()["log"])

    @property
    def did(self) -> list[str]:
        """What each firing did, in words."""
        return [str(firing["did"]) for firing in self.log]

    def now(self) -> dict[str, Any]:
        """All that the broker tells of it."""
        return self._orders.call("GET", self._path)

    def wait_fired(self, count: int = 1) -> None:
        """Until it has fired so often."""
        self._orders.call("GET", f"{self._path}?wait_fired={count}&timeout={DEADLINE_S:.0f}s")

    def wait_held(self, count: int = 1) -> None:
        """Until so many requests wait at it."""
        self._orders.call("GET", f"{self._path}?wait_held={count}&timeout={DEADLINE_S:.0f}s")

    def release(self, *, keep: bool = False) -> None:
        """Lets go what it holds; with keep it goes on holding what comes."""
        self._orders.call("POST", f"{self._path}/release", {"keep": keep})

    def remove(self) -> None:
        """It is no more."""
        self._orders.call("DELETE", self._path)


class Orders:
    """The control surface of a broker that was started with --control."""

    def __init__(self, broker: Broker) -> None:
        self.url = broker.ready_line.split("control=")[1].split()[0] + "/v1"

    def order(self, **rule: Any) -> Order:
        """A fault: matchers, and exactly one action."""
        return Order(self, self.call("POST", "/faults", rule)["id"])

    def count(self, **matchers: Any) -> Order:
        """A fault that never fires and sees everything: `seen` counts requests."""
        return self.order(**matchers, delay="1ms", nth=_NEVER)

    def tell(self, **matchers: Any) -> Order:
        """A fault that delays by a millisecond: its log has each request that no other fault took first."""
        return self.order(**matchers, delay="1ms")

    def clear(self) -> None:
        """Takes all back."""
        self.call("DELETE", "/faults")

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Any call of the surface. Raises OrderError."""
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=2 * DEADLINE_S) as answer:
                said: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise OrderError(f"{method} {path}: {error.code} {error.read().decode()}") from None
        return said
