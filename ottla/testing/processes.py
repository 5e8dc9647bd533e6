"""The brokers that run in this process: none is forgotten when it ends, and no child that was forked from it takes them
for its own.
"""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.testing.broker import Broker

_running: set[Broker] = set()
_elsewhere: set[Broker] = set()  # of the process that this one was forked from


def register(broker: Broker) -> None:
    """It runs."""
    _running.add(broker)


def forget(broker: Broker) -> bool:
    """It is about to end; False if it is not this process's to end."""
    ours = broker in _running
    _running.discard(broker)
    return ours


def check(broker: Broker) -> None:
    """Raises RuntimeError: it is of another process."""
    if broker in _elsewhere:
        raise RuntimeError(
            "this broker is of the process that this one was forked from: reach it at its bootstrap_servers, or start "
            "one here"
        )


def _stop_all() -> None:
    """Whatever nobody stopped, so that no folder stays."""
    for broker in list(_running):
        with suppress(Exception):
            broker.stop()


def _forked() -> None:
    """Threads do not come along. What the parent serves is the parent's: here are copies of its sockets."""
    for broker in _running:
        broker._instance.forget_sockets()
    _elsewhere.update(_running)
    _running.clear()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
