"""A broker process of its own for each test, the figures that tests measure on it, and what the system says of it.

With OTTLA_COMPAT_KAFKA (compat_tests/harness.py) the same peers meet an Apache Kafka: that is how figures are compared.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compat_tests.harness import DEADLINE_S, Broker, make_broker

DESCRIPTORS = 8192  # of this process: it holds the other end of every connection


@pytest.fixture(scope="session", autouse=True)
def _many_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running broker for this test alone."""
    with make_broker(tmp_path) as running:
        yield running


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, object], None]:
    """Notes a measured figure: shown by `pytest -s`, kept in a report."""

    def note(what: str, value: object) -> None:
        record_property(what, value)
        print(f"\n  {what}: {value}", end="")

    return note


def status_kib(pid: int, name: str) -> int:
    """A memory figure of /proc/PID/status: VmRSS, what is resident; VmHWM, the most that ever was."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {name} for {pid}")


def forget_peak(pid: int) -> None:
    """VmHWM counts from here."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def open_descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def connect(port: int) -> socket.socket:
    """A connection to the broker, with a timeout that no test should reach."""
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
