"""Three nodes in one `ottla serve`, steered from outside by its control surface: as a test of failures would do it."""

import json
import random
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from compat_tests.harness import DEADLINE_S, Broker

NODES = (1, 2, 3)
KINDS = ("leader", "leader", "group", "group", "transaction", "transaction", "isr", "node")
Settings = dict[str, str]


class Cluster(Broker):
    """One process, three nodes. `bootstrap` names all of them."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        super().__init__(folder, settings=settings, args=["--nodes", str(len(NODES)), "--control", "0"])

    @property
    def bootstrap(self) -> str:
        """HOST:PORT of every node."""
        return ",".join(f"127.0.0.1:{port}" for port in self._port_file.read_text().split())

    @property
    def control(self) -> str:
        """The URL of the control surface, from the ready line."""
        return self.ready_line.split("control=")[1].split()[0]

    def get(self, *path: object) -> Any:
        """What the control surface answers to GET /v1/path."""
        return self._ask("GET", path, None)

    def post(self, *path: object, **body: object) -> Any:
        """What the control surface answers to POST /v1/path."""
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: tuple[object, ...], body: object) -> Any:
        request = urllib.request.Request(
            f"{self.control}/v1/" + "/".join(quote(str(part), safe="") for part in path),
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)


class Mover:
    """Random moves over a cluster: at most one node is down, and only who is in sync gets a lead."""

    def __init__(
        self,
        cluster: Cluster,
        seed: int,
        *,
        logs: list[tuple[str, int]],
        group: str,
        transaction: str,
        kinds: Sequence[str] = KINDS,
    ) -> None:
        self.moves: list[str] = []
        self._kinds = kinds
        self._cluster = cluster
        self._random = random.Random(seed)
        self._logs = logs
        self._group_id = group
        self._transactional_id = transaction
        self._down: set[int] = set()

    def move(self) -> None:
        """One move of any kind, if it can be made now."""
        getattr(self, f"_{self._random.choice(self._kinds)}")()

    def settle(self) -> None:
        """All nodes are up."""
        for node in sorted(self._down):
            self._start(node)

    def _leader(self) -> None:
        topic, index = self._random.choice(self._logs)
        now = self._cluster.get("partitions", topic, index)
        others = [node for node in now["isr"] if node != now["leader"] and node not in self._down]
        if others:
            node = self._random.choice(others)
            self._cluster.post("partitions", topic, index, "leader", node=node)
            self.moves.append(f"{topic}-{index} led by {node}")

    def _isr(self) -> None:
        topic, index = self._random.choice(self._logs)
        now = self._cluster.get("partitions", topic, index)
        able = [node for node in now["replicas"] if node not in self._down]
        isr = [node for node in able if node == now["leader"] or self._random.random() < 0.5]
        self._cluster.post("partitions", topic, index, "isr", isr=isr)
        self.moves.append(f"{topic}-{index} in sync on {isr}")

    def _group(self) -> None:
        self._coordinator("groups", self._group_id)

    def _transaction(self) -> None:
        self._coordinator("transactions", self._transactional_id)

    def _coordinator(self, kind: str, key: str) -> None:
        node = self._random.choice([node for node in NODES if node not in self._down])
        self._cluster.post(kind, key, "coordinator", node=node)
        self.moves.append(f"{kind} {key} coordinated by {node}")

    def _node(self) -> None:
        if self._down:
            self._start(self._random.choice(sorted(self._down)))
        else:
            node = self._random.choice(NODES)
            for topic, index in self._logs:  # no partition is to be without leader: nobody could get on
                if set(self._cluster.get("partitions", topic, index)["isr"]) <= {node}:
                    self._cluster.post("partitions", topic, index, "isr", isr=list(NODES))
            self._cluster.post("nodes", node, "stop")
            self._down.add(node)
            self.moves.append(f"{node} down")

    def _start(self, node: int) -> None:
        self._cluster.post("nodes", node, "start")
        self._down.discard(node)
        self.moves.append(f"{node} up")
