"""10,000 mutated requests of every served API against a live broker; a client beside them must notice nothing.

Seeded: what fails once fails again. Requests are Kafka's own golden ones, changed in a few bytes.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compat_tests.harness import Broker
from compat_tests.raw import NONE, RawConnection, blob, count_records, one_batch, produce_request
from ottla.broker.handlers import handlers
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import KafkaError
from ottla.wire.schema import Message, Struct
from tests.live.conftest import connect, status_kib

pytestmark = pytest.mark.long

GOLDEN = Path(__file__).parent.parent / "wire" / "data" / "golden_messages.jsonl.gz"
FRAMES = 10_000
PEERS = 32
PATIENCE_S = 0.1  # a peer whose request waits for something leaves after that
EXTREMES = [struct.pack(">i", value) for value in (-1, 0, 1, 0x7F, 0xFFFF, 0x7FFFFFFF, -0x80000000)]
EXTREMES += [struct.pack(">h", value) for value in (-1, 0, 0x7FFF, -0x8000)]
EXTREMES += [struct.pack(">q", value) for value in (-1, -2, 0x7FFFFFFFFFFFFFFF, -0x8000000000000000)]
EXTREMES += [b"\x00", b"\x01", b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x08"]


def golden_requests() -> list[tuple[bytes, bytes, type[Message], int]]:
    """Header, body, class and version of each golden request that an Ottla handler serves."""
    with gzip.open(GOLDEN, "rt") as lines:
        found = [json.loads(line) for line in lines]
    return [
        (bytes.fromhex(case["header"]), bytes.fromhex(case["body"]), API[ApiKey(case["key"])].request, case["version"])
        for case in found
        if case["direction"] == "request" and case["key"] in handlers
    ]


def mutations(seed: int) -> Iterator[bytes]:
    """Frames without end: golden requests, half of them with other bytes and half with other values."""
    rng = random.Random(seed)
    requests = golden_requests()
    while True:
        header, body, cls, version = rng.choice(requests)
        if rng.random() < 0.5:
            frame = with_other_bytes(rng, header + body)
        else:
            frame = header + with_other_values(rng, cls.decode(body, version), version)
        if frame:
            yield blob(frame)


def with_other_bytes(rng: random.Random, request: bytes) -> bytes:
    """A few bytes changed, put in, taken out, or cut off; mostly past api key, version and correlation id."""
    frame = bytearray(request)
    first = 8 if rng.random() < 0.9 else 0
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        position = rng.randrange(min(first, len(frame)), len(frame) + 1)
        kind = rng.randrange(5)
        if kind == 0 and position < len(frame):
            frame[position] = rng.randrange(256)
        elif kind == 1 and position < len(frame):
            frame[position] ^= 1 << rng.randrange(8)
        elif kind == 2:
            value = rng.choice(EXTREMES)
            frame[position : position + len(value)] = value
        elif kind == 3:
            frame[position:position] = rng.randbytes(rng.choice((1, 4, 30)))
        elif kind == 4:
            del frame[position : position + rng.choice((1, 2, 4, 1000))]
    return bytes(frame)


def with_other_values(rng: random.Random, message: Message, version: int) -> bytes:
    """A well-formed request with a few extreme, empty, null, repeated or random values in it."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        owner: Struct = message
        while True:
            name = rng.choice(list(type(owner).FIELDS) or [""])
            if not name:
                break
            value = getattr(owner, name)
            inner = value[0] if isinstance(value, list) and value else value
            if isinstance(inner, Struct) and rng.random() < 0.7:
                owner = inner
                continue
            before = value
            setattr(owner, name, other_value(rng, value))
            try:
                message.encode(version)
            except (KafkaError, ValueError):  # what this version cannot say
                setattr(owner, name, before)
            break
    return message.encode(version)


def other_value(rng: random.Random, value: Any) -> Any:
    """Another value of the same type, or None."""
    if rng.random() < 0.1:
        return None
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((-1, 0, 1, 2, value + 1, 127, -128, 32767, -32768, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)))
    if isinstance(value, float):
        return rng.choice((0.0, -1.5, float("nan"), float("inf")))
    if isinstance(value, str):
        return rng.choice(("", "x", "name-6", "a/b", "..", "__consumer_offsets", "\n", "é水", "y" * 249, "z" * 30_000))
    if isinstance(value, list):
        return rng.choice(([], value * 2, (value * 300)[:300]))
    if isinstance(value, bytes | memoryview):
        return rng.choice((b"", rng.randbytes(16), bytes(value)[:-1] + b"\x00", bytes(value) * 2, rng.randbytes(200)))
    return value


class Canary(threading.Thread):
    """Produces, fetches and asks for metadata all the time; remembers the worst answer."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.failure: BaseException | None = None
        self.rounds = 0
        self.slowest_s = 0.0
        self._stop_now = threading.Event()

    def run(self) -> None:
        try:
            with RawConnection(self.port) as connection:
                connection.make_topic("canary")
                while not self._stop_now.is_set():
                    began_s = time.monotonic()
                    produced = connection.produce(produce_request("canary", one_batch([b"sings"])))
                    assert produced == (NONE, self.rounds)
                    assert count_records(connection.fetch("canary", self.rounds)) == 1
                    assert connection.metadata("canary") == (NONE, [NONE])
                    self.rounds += 1
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
                    self._stop_now.wait(0.002)
        except BaseException as error:
            self.failure = error

    def __enter__(self) -> Canary:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_now.set()
        self.join(60)


def attack(port: int, frames: Iterator[bytes], count: int) -> Counter[str]:
    """Send so many frames, one after another on each of PEERS connections. What became of them."""
    fates: Counter[str] = Counter()
    with selectors.DefaultSelector() as selector:
        since_s: dict[socket.socket, float] = {}

        def send(peer: socket.socket) -> None:
            with contextlib.suppress(OSError):
                peer.sendall(next(frames))
            since_s[peer] = time.monotonic()

        def renew(peer: socket.socket | None) -> None:
            if peer is not None:
                selector.unregister(peer)
                del since_s[peer]
                peer.close()
            fresh = connect(port)
            selector.register(fresh, selectors.EVENT_READ)
            send(fresh)

        for _ in range(PEERS):
            renew(None)
        while fates.total() < count:
            for key, _ in selector.select(PATIENCE_S):
                peer = key.fileobj
                assert isinstance(peer, socket.socket)
                try:
                    answer = peer.recv(1 << 20)
                except OSError:
                    answer = b""
                fates["answered" if answer else "closed"] += 1
                if answer:
                    send(peer)
                else:
                    renew(peer)
            late_s = time.monotonic() - PATIENCE_S
            for peer in [peer for peer, when_s in since_s.items() if when_s < late_s]:
                fates["waiting"] += 1
                renew(peer)
        for peer in since_s:
            peer.close()
    return fates


@pytest.mark.parametrize("seed", [1])
def test_mutated_requests(broker: Broker, figure: Callable[[str, object], None], seed: int) -> None:
    began_s = time.monotonic()
    with Canary(broker.port) as canary:
        fates = attack(broker.port, mutations(seed), FRAMES)
    figure(f"{FRAMES} mutated frames in s", round(time.monotonic() - began_s, 1))
    figure("what became of them", dict(fates))
    figure("rounds of the canary", canary.rounds)
    figure("its slowest round in ms", round(canary.slowest_s * 1000))
    peak = status_kib(broker.pid, "VmHWM")
    figure("KiB resident at the peak", peak)
    log = broker.log
    assert "Traceback" not in log, log[max(0, log.index("Traceback") - 300) :][:6000]
    assert canary.failure is None
    assert canary.rounds > 10
    assert peak < 100 * 1024
    broker.restart()  # and what they left on disk can be read
    with RawConnection(broker.port) as later:
        assert later.end_offset("canary") == canary.rounds
