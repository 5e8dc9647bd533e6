"""Snapshots of data folders: of one that a broker serves just now, and of one that nobody uses; and what is in them.

The file is log/snapshot.py's, the copy that shares files with a live broker's folder log/fork.py's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ottla import __version__
from ottla.broker.cluster import INTERNAL_TOPICS
from ottla.broker.state_log import OFFSETS_TOPIC
from ottla.log.check import UnreadableTopicsError, read_topics
from ottla.log.checkpoint import TopicPartition, parse_offsets, parse_properties
from ottla.log.data_folder import CLEAN_FILE, HIGH_WATERMARKS, LOG_STARTS, META_FILE
from ottla.log.dump import open_to_read
from ottla.log.filesystem import FileSystem
from ottla.log.folder import folder_name, parse_folder_name
from ottla.log.ids import uuid_text
from ottla.log.lock import FolderLock, FolderLockedError
from ottla.log.scan import DamagedBatchError, StoredBatch, scan
from ottla.log.snapshot import Manifest, SnapshotError, SnapshotExistsError, names, pack, place_of, read_manifest
from ottla.wire.errors import KafkaError, ProtocolError
from ottla.wire.records import CONTROL_BIT, RecordBatch
from ottla.wire.state_records import CONSUMER_OFFSETS

if TYPE_CHECKING:
    from ottla.broker.broker import Broker

_STEM: Final = 20  # digits of a file's name
_UNPACKED_BYTES: Final = 1 << 28  # of one batch


async def save(broker: Broker, name: str, *, folder: str | None = None, replace: bool = False) -> tuple[str, Manifest]:
    """The snapshot `name` of all that the broker has now: where it is, and what it says of itself. The cut is one turn
    of the loop; the file is written in a thread. Raises SnapshotError, KafkaError KAFKA_STORAGE_ERROR, OSError.
    """
    import trio  # the command line, which saves folders, does without

    target = _free_place(name, folder, replace=replace)
    store = broker.store
    staging = tempfile.mkdtemp(prefix=".snapshot-", suffix="-delete", dir=store.path)  # a start removes what is left
    try:
        store.fork(staging)
        return target, await trio.to_thread.run_sync(_pack, staging, target, broker.clock.wall_ms())
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(shutil.rmtree, staging, True)


def save_folder(
    path: str, name: str, saved_ms: int, *, folder: str | None = None, replace: bool = False
) -> tuple[str, Manifest]:
    """As `save`, of a data folder that nobody uses, which is locked meanwhile. Raises SnapshotError, OSError."""
    target = _free_place(name, folder, replace=replace)
    if not os.path.exists(os.path.join(path, META_FILE)):
        raise SnapshotError(
            f"{path} is no data folder: there is no {META_FILE} in it; name the one that a broker wrote"
        )
    try:
        lock = FolderLock(path)
    except FolderLockedError as error:
        holder = f"process {error.pid}" if error.pid is not None else "another process"
        raise SnapshotError(
            f"data folder {path} is in use by {holder}; stop it, or have the broker save it: `ottla snapshot save"
            f" {name} --control PORT`"
        ) from None
    try:
        return target, _pack(path, target, saved_ms)
    finally:
        lock.release()


def saved(folder: str | None = None) -> list[dict[str, Any]]:
    """Every snapshot in a folder, by name, in short; one that cannot be read says why under "error". Raises OSError."""
    found: list[dict[str, Any]] = []
    for name in names(folder):
        path = place_of(name, folder)
        try:
            found.append(in_short(described(name, path, read_manifest(path))))
        except SnapshotError as error:
            found.append({"name": name, "path": os.path.abspath(path), "error": str(error)})
    return found


def described(name: str, path: str, manifest: Manifest) -> dict[str, Any]:
    """All that a snapshot says of itself but its files, as JSON."""
    return {
        **manifest.facts,
        "name": name,
        "path": os.path.abspath(path),
        "size": os.path.getsize(path),
        "bytes": manifest.size_bytes,
        "ottla": manifest.ottla,
        "saved_ms": manifest.saved_ms,
    }


def in_short(told: dict[str, Any]) -> dict[str, Any]:
    """The same with topics by name only, Kafka's own left out, and how many records there are. Raises SnapshotError."""
    try:
        topics = {name: facts["partitions"] for name, facts in told["topics"].items() if name not in INTERNAL_TOPICS}
        records = sum(one["end"] - one["start"] for partitions in topics.values() for one in partitions)
        return {
            **told,
            "topics": sorted(topics),
            "records": records,
            "groups": [str(group) for group in told["groups"]],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise SnapshotError(f"snapshot {told['path']} does not say what is in it ({error!r}); save it anew") from None


def _free_place(name: str, folder: str | None, *, replace: bool) -> str:
    target = place_of(name, folder)
    if os.path.exists(target) and not replace:
        raise SnapshotExistsError(
            f"snapshot {name} is there already, at {target}; give another name, or ask to replace it"
        )
    return target


def _pack(folder: str, target: str, saved_ms: int) -> Manifest:
    return pack(folder, target, ottla=__version__, saved_ms=saved_ms, facts=facts_of(folder))


# --- what is in a data folder


def facts_of(path: str) -> dict[str, Any]:
    """Cluster id, node id, topics with the start and the end of each partition, and groups; nobody writes to the folder
    meanwhile. Raises SnapshotError, OSError.
    """
    fs = FileSystem()
    try:
        found = parse_properties(fs.read_file(os.path.join(path, META_FILE)))
        cluster_id, node_id = found["cluster.id"], int(found.get("node.id", found.get("broker.id", "1")))
    except (ValueError, KeyError) as error:
        raise SnapshotError(f"{path}/{META_FILE} is damaged ({error}); restore it first") from None
    topics = {}
    offsets = _Offsets(fs, path)
    with suppress(UnreadableTopicsError):  # no topic was ever made; or a start will say what is wrong with it
        known = read_topics(path, fs)
        for name, topic_id in sorted(known.by_name.items()):
            indexes = sorted(index for owner, index in known.partitions if owner == topic_id)
            partitions = [offsets.of(name, index) for index in indexes]
            topics[name] = {"id": uuid_text(topic_id), "partitions": partitions}
    return {"cluster_id": cluster_id, "node_id": node_id, "topics": topics, "groups": sorted(_groups(fs, path))}


class _Offsets:
    """Where partitions begin and end, by the checkpoints of a clean stop, else by their files."""

    def __init__(self, fs: FileSystem, path: str) -> None:
        self._fs = fs
        self._path = path
        names = fs.list_folder(path)
        self._ends = self._checkpoint(HIGH_WATERMARKS) if CLEAN_FILE in names else {}
        self._starts = self._checkpoint(LOG_STARTS)

    def _checkpoint(self, name: str) -> dict[TopicPartition, int]:
        try:
            return parse_offsets(self._fs.read_file(os.path.join(self._path, name)))
        except (OSError, ValueError, IndexError):
            return {}

    def of(self, topic: str, index: int) -> dict[str, int]:
        """Of one partition: "start", and "end", one past its last record."""
        folder = os.path.join(self._path, folder_name(topic, index))
        files = _log_files(self._fs, folder)
        start = self._starts.get((topic, index), 0)
        if not files:
            return {"start": start, "end": start}
        end = self._ends.get((topic, index))
        if end is None:
            end = int(files[-1][:20])
            for batch, _ in _batches(self._fs, os.path.join(folder, files[-1])):
                end = batch.last_offset + 1
        return {"start": max(start, int(files[0][:_STEM])), "end": end}


def _groups(fs: FileSystem, path: str) -> set[str]:
    """Those of which something is stored, and not taken back."""
    there: dict[bytes, str] = {}
    for name in fs.list_folder(path):
        found = parse_folder_name(name)
        if found is None or found[0] != OFFSETS_TOPIC:
            continue
        folder = os.path.join(path, name)
        for file in _log_files(fs, folder):
            for batch, fd in _batches(fs, os.path.join(folder, file)):
                if not batch.attributes & CONTROL_BIT:
                    _note_groups(there, fs.pread(fd, batch.size, batch.position))
    return set(there.values())


def _note_groups(there: dict[bytes, str], data: bytes) -> None:
    """`there`: the group of each key that has a value, so far."""
    try:
        for record in RecordBatch(data).records(_UNPACKED_BYTES):
            if record.key is None:
                continue
            if record.value is None:
                there.pop(bytes(record.key), None)
                continue
            key, _ = CONSUMER_OFFSETS.decode(record.key, None)
            group = getattr(key, "group", None) or getattr(key, "group_id", None)
            if group is not None:
                there[bytes(record.key)] = group
    except (KafkaError, ProtocolError):  # nothing that a coordinator wrote
        return


def _log_files(fs: FileSystem, folder: str) -> list[str]:
    """Names of the log files of a partition in order; none if it has no folder."""
    try:
        found = fs.list_folder(folder)
    except FileNotFoundError:
        return []
    return sorted(name for name in found if name.endswith(".log") and name[:_STEM].isdecimal())


def _batches(fs: FileSystem, path: str) -> Iterator[tuple[StoredBatch, int]]:
    """Where the batches of a log file are, and its descriptor; those behind damage are left out."""
    fd = open_to_read(path)
    try:
        with suppress(DamagedBatchError):
            for batch in scan(fs, fd, 0, os.fstat(fd).st_size, verify=False):
                yield batch, fd
    finally:
        os.close(fd)
