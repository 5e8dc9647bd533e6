"""Snapshots of this broker, as broker/snapshots.py saves them. Where they are kept is the broker's to say, not whoever
asks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import trio

from ottla.broker.control.routes import Call, Refused, Route, object_of
from ottla.log.snapshot import SnapshotError, SnapshotExistsError, find, folder_of, place_of, read_manifest

T = TypeVar("T")
_EXAMPLE = '{"name": "seed"}'
_TAKES = object_of({"name": {"type": "string"}, "replace": {"type": "boolean"}}, required=("name",))


async def _save(call: Call) -> Any:
    from ottla.broker import snapshots

    name = call.field("name", str, _EXAMPLE)
    replace = call.field("replace", bool, '{"name": "seed", "replace": true}') if "replace" in call.body() else False
    try:
        path, manifest = await snapshots.save(call.broker, name, replace=replace)
        return snapshots.described(name, path, manifest)
    except SnapshotExistsError as error:
        raise Refused(str(error), 409) from None
    except SnapshotError as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise _unusable(error) from None


async def _list(call: Call) -> Any:
    from ottla.broker import snapshots

    found = await _in_a_thread(snapshots.saved)
    return {"folder": os.path.abspath(folder_of()), "snapshots": found}


async def _show(call: Call) -> Any:
    from ottla.broker import snapshots

    name, path = _named(call)
    manifest = await _in_a_thread(lambda: read_manifest(path))
    return snapshots.described(name, path, manifest)


async def _remove(call: Call) -> Any:
    name, path = _named(call)
    await _in_a_thread(lambda: os.unlink(path))
    return {"removed": name}


def _named(call: Call) -> tuple[str, str]:
    """A snapshot that is there, by the name in the path, which is no path."""
    name = call.params["name"]
    try:
        place_of(name)
    except SnapshotError as error:
        raise Refused(str(error)) from None
    try:
        return name, find(name)
    except SnapshotError as error:
        raise Refused(str(error), 404) from None


async def _in_a_thread(what: Callable[[], T]) -> T:
    try:
        return await trio.to_thread.run_sync(what)
    except SnapshotError as error:
        raise Refused(str(error), 409) from None
    except OSError as error:
        raise _unusable(error) from None


def _unusable(error: OSError) -> Refused:
    return Refused(
        f"{error.filename or folder_of()}: {error.strerror}; start the broker with a folder that it may write to in"
        " OTTLA_SNAPSHOTS",
        409,
    )


ROUTES = (
    Route("GET", "/snapshots", _list, "All snapshots where this broker keeps them: topics, records, groups, size."),
    Route(
        "POST",
        "/snapshots",
        _save,
        f'Save all that the broker has now: {_EXAMPLE}; "replace": true to replace one of that name.',
        takes=_TAKES,
    ),
    Route("GET", "/snapshots/{name}", _show, "One snapshot: each topic with the offsets of its partitions, groups."),
    Route("DELETE", "/snapshots/{name}", _remove, "Remove a snapshot."),
)
