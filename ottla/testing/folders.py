"""Folders of brokers that keep nothing: in memory where the platform has a file system there with room in it, and none
of them left behind, also by processes that were killed. The variable OTTLA_TESTING_FOLDER names another place.

Whether a folder is still somebody's is asked of its lock, which ends with the process; not of process ids, which mean
nothing in another container. Knows nothing of what is in a folder but its lock.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from functools import cache
from typing import Final

from ottla.log.lock import LOCK_FILE, FolderLock, FolderLockedError

PREFIX: Final = "ottla-test-"
YOUNG_S: Final = 60.0  # one without a lock may belong to a broker that is just starting
VARIABLE: Final = "OTTLA_TESTING_FOLDER"
_IN_MEMORY: Final = "/dev/shm"
_ROOM_BYTES: Final = 256 << 20  # free there: containers often have 64 MiB, which a few tests fill

_swept: set[str] = set()  # places, once a process


def make_folder() -> str:
    """A new folder for one broker. The first of a process also removes what killed processes left."""
    where = place()
    if where not in _swept:
        _swept.add(where)
        sweep(where)
    return tempfile.mkdtemp(prefix=PREFIX, dir=where)


def place() -> str:
    """Where folders are made."""
    return os.environ.get(VARIABLE) or (_IN_MEMORY if _has_memory() else tempfile.gettempdir())


@cache
def _has_memory() -> bool:
    try:
        free = os.statvfs(_IN_MEMORY)
    except (OSError, AttributeError):
        return False
    return free.f_bavail * free.f_frsize >= _ROOM_BYTES and os.access(_IN_MEMORY, os.W_OK | os.X_OK)


def remove_folder(path: str) -> None:
    """All of it; what cannot be removed stays, for a later sweep."""
    shutil.rmtree(path, ignore_errors=True)


def sweep(where: str, *, young_s: float = YOUNG_S) -> list[str]:
    """Remove the folders of brokers below `where` that nobody holds any more and that are older than `young_s`; those
    that were removed. Never raises: what is there may be others'.
    """
    try:
        with os.scandir(where) as entries:
            found = [entry.path for entry in entries if entry.name.startswith(PREFIX) and _is_ours(entry)]
    except OSError:
        return []
    return [path for path in found if _is_old(path, young_s) and _remove_if_left(path)]


def _is_ours(entry: os.DirEntry[str]) -> bool:
    try:
        mine = not hasattr(os, "getuid") or entry.stat(follow_symlinks=False).st_uid == os.getuid()
        return mine and entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_old(path: str, young_s: float) -> bool:
    try:
        return time.time() - os.stat(path).st_mtime >= young_s
    except OSError:
        return False


def _remove_if_left(path: str) -> bool:
    """Under its lock, so that of several who sweep one does."""
    try:
        lock = FolderLock(path) if os.path.exists(os.path.join(path, LOCK_FILE)) else None
    except (FolderLockedError, OSError):
        return False
    remove_folder(path)
    if lock is not None:
        lock.release()
    return not os.path.exists(path)
