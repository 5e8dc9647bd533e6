"""Many connections, and peers that take without giving: what each costs a live broker, and that others are served."""

from __future__ import annotations

import resource
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from compat_tests.harness import DEADLINE_S, JUDGED_BY_KAFKA, Broker
from compat_tests.raw import API_VERSIONS, METADATA, NONE, RawConnection, one_batch, produce_request, text
from tests.live.conftest import connect, forget_peak, open_descriptors, status_kib

pytestmark = pytest.mark.long

MIB = 1 << 20


def settle(port: int) -> None:
    """Some requests of each kind, so that what is loaded at first use is there before memory is measured."""
    with RawConnection(port) as connection:
        connection.make_topic("settled")
        for _ in range(20):
            assert connection.produce(produce_request("settled", one_batch([b"x" * 100])))[0] == NONE
            assert connection.ask(API_VERSIONS, 0, b"").number("h") == NONE
        assert connection.fetch("settled")
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(connect(port))


def answered(connection: RawConnection, count: int = 50) -> int:
    """How many of so many produce requests are answered as they should before one is not."""
    for done in range(count):
        try:
            if connection.produce(produce_request("settled", one_batch([b"y" * 1000])))[0] != NONE:
                return done
        except OSError:
            return done
    return count


def test_idle_connections(broker: Broker, figure: Callable[[str, object], None]) -> None:
    count = 2000
    settle(broker.port)
    before = status_kib(broker.pid, "VmRSS")
    with ExitStack() as stack:
        peers = [stack.enter_context(RawConnection(broker.port)) for _ in range(count)]
        assert peers[-1].ask(API_VERSIONS, 0, b"").number("h") == NONE
        silent = (status_kib(broker.pid, "VmRSS") - before) * 1024 // count
        for peer in peers:
            assert peer.ask(API_VERSIONS, 0, b"").number("h") == NONE
        asked = (status_kib(broker.pid, "VmRSS") - before) * 1024 // count
        figure("bytes an idle connection that never sent", silent)
        figure("bytes an idle connection that asked once", asked)
        assert JUDGED_BY_KAFKA or max(silent, asked) <= 8192


def test_announcers(broker: Broker, figure: Callable[[str, object], None]) -> None:
    settle(broker.port)
    forget_peak(broker.pid)
    before = status_kib(broker.pid, "VmRSS")
    with ExitStack() as stack, RawConnection(broker.port) as honest:
        for _ in range(20):
            peer = stack.enter_context(connect(broker.port))
            peer.sendall(struct.pack(">i", 100 * MIB) + bytes(96))
        served = answered(honest)
        grown = status_kib(broker.pid, "VmHWM") - before
    figure("KiB at the peak for 20 peers that announce 100 MiB", grown)
    figure("requests of 50 of an honest client answered beside them", served)
    assert JUDGED_BY_KAFKA or (grown < 10 * 1024 and served == 50)


def test_descriptors_used_up(broker: Broker, figure: Callable[[str, object], None]) -> None:
    settle(broker.port)
    with RawConnection(broker.port) as early:
        early.make_topic("settled")
        used = open_descriptors(broker.pid)
        resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (used + 60, used + 60))
        crowd = [connect(broker.port) for _ in range(300)]
        served = answered(early)
        figure("requests of 50 of an early client answered meanwhile", served)
        for peer in crowd:
            peer.close()
    left_s = time.monotonic()
    served_late = 0
    with suppress(OSError), RawConnection(broker.port) as late:
        served_late = answered(late, 1)
    figure("ms until a new client is served when they left", round((time.monotonic() - left_s) * 1000))
    figure("it was served", bool(served_late))
    assert JUDGED_BY_KAFKA or (served == 50 and served_late and broker.log.count("accept paused") == 1)


def test_descriptors_used_up_and_a_file_needed(broker: Broker) -> None:
    """A connection must not take the descriptor that the log needs: a topic is made and written while peers crowd."""
    with RawConnection(broker.port) as early:
        assert early.ask(API_VERSIONS, 0, b"").number("h") == NONE
        limit = open_descriptors(broker.pid) + 60
        resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (limit, limit))
        crowd = [connect(broker.port) for _ in range(200)]
        deadline_s = time.monotonic() + DEADLINE_S
        while "accept paused" not in broker.log:
            assert time.monotonic() < deadline_s, "the crowd was let in"
            time.sleep(0.05)
        early.make_topic("made-in-a-crowd")
        assert early.produce(produce_request("made-in-a-crowd", one_batch([b"z"])))[0] == NONE
        for peer in crowd:
            peer.close()
    broker.restart()
    with RawConnection(broker.port) as later:
        assert later.end_offset("made-in-a-crowd") == 1


def test_peers_that_read_nothing(broker: Broker, figure: Callable[[str, object], None]) -> None:
    count = 50
    settle(broker.port)
    forget_peak(broker.pid)
    before = status_kib(broker.pid, "VmRSS")
    frame = struct.pack(">hhih", METADATA, 4, 1, -1) + struct.pack(">i", 1) + text("settled") + b"\x00"
    frame = struct.pack(">i", len(frame)) + frame
    with ExitStack() as stack, RawConnection(broker.port) as honest:
        for _ in range(count):
            peer = stack.enter_context(connect(broker.port))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)
            try:
                while True:
                    peer.send(frame * 1000)
            except BlockingIOError:
                pass
        served = answered(honest)
        kib = (status_kib(broker.pid, "VmHWM") - before) // count
        figure("KiB a peer that asks without end and reads nothing", kib)
        assert JUDGED_BY_KAFKA or (kib <= 1200 and served == 50)
