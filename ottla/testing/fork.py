"""A second broker that begins with all that another one has at this moment: the folder is forked, not the connections.

What of a folder's files is shared, and how nobody ever writes to them, is log/fork.py's.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import weakref
from typing import TYPE_CHECKING, TypeVar

import trio

from ottla.log.clock import Clock, ManualClock, SteeredClock
from ottla.log.lock import FolderLock
from ottla.testing.folders import PREFIX, make_folder, remove_folder, sweep
from ottla.testing.instance import Instance

if TYPE_CHECKING:
    from ottla.testing.broker import AsyncBroker, Broker

B = TypeVar("B", "Broker", "AsyncBroker")
_swept: set[str] = set()  # places, once a process


class ForkedInstance(Instance):
    """As `Instance`, with a folder that was made for it, and is removed when it ends, or was never begun."""

    def __init__(self, origin: Instance, folder: str, clock: Clock) -> None:
        super().__init__(
            dataclasses.replace(origin.setup, folder=None, snapshot=None, topics={}, specs=(), clock=clock)
        )
        self._folder = folder
        self._kept = FolderLock(folder)  # until it is opened: others may be looking for left-overs
        self._never_begun = weakref.finalize(self, _give_up, folder, self._kept, os.getpid())

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """As `Instance.serve`."""
        self._never_begun.detach()
        self._kept.release()
        try:
            await self._serve(self._folder, task_status)
        finally:
            remove_folder(self._folder)


def fork(origin: Instance) -> ForkedInstance:
    """All that the broker has now: one turn of its loop, so all partitions are of the same moment, and a request is in
    it as a whole or not at all. To be called in that loop. Raises KafkaError KAFKA_STORAGE_ERROR.
    """
    store = origin.broker.store
    folder = _folder_near(store.path)
    try:
        store.fork(folder)
        return ForkedInstance(origin, folder, _same_reading(origin.broker.clock))
    except BaseException:
        remove_folder(folder)
        raise


async def snapshot(origin: Instance, name: str, folder: str | None, replace: bool) -> str:
    """Save what the broker has now; the path of the file. Raises SnapshotError, KafkaError, OSError."""
    from ottla.broker import snapshots

    path, _ = await snapshots.save(origin.broker, name, folder=folder, replace=replace)
    return os.path.abspath(path)


def broker_of(kind: type[B], instance: ForkedInstance) -> B:
    """The broker of a fork, to be started as any other."""
    made = kind()
    made._instance = instance
    return made


def _folder_near(path: str) -> str:
    """A temporary folder on the same disk, where files can be shared; else where they are copied to. The first of a
    process also removes what killed processes left there."""
    place = os.path.dirname(path)
    if place not in _swept:
        _swept.add(place)
        sweep(place)
    try:
        return tempfile.mkdtemp(prefix=PREFIX, dir=place)
    except OSError:
        return make_folder()


def _same_reading(clock: Clock) -> Clock:
    """A clock that goes on from where this one is, moved by nobody but its own broker."""
    if isinstance(clock, ManualClock):
        return ManualClock(clock.wall_ms(), clock.mono_ms())
    return clock.twin() if isinstance(clock, SteeredClock) else clock


def _give_up(folder: str, kept: FolderLock, process: int) -> None:
    if process == os.getpid():  # not a child of it, which has the fork without having made it
        kept.release()
        remove_folder(folder)
