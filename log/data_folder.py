"""The data folder as a whole: what the files beside the partitions' folders are called, and `meta.properties`, which
says whose it is. Nothing of partitions; what the checkpoints say is the store's.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ottla.log.checkpoint import format_properties, parse_properties
from ottla.log.filesystem import FileSystem
from ottla.log.ids import Ids, uuid_text

FORMAT_VERSION: Final = 1
META_FILE: Final = "meta.properties"
CLEAN_FILE: Final = ".kafka_cleanshutdown"
RECOVERY_POINTS: Final = "recovery-point-offset-checkpoint"
LOG_STARTS: Final = "log-start-offset-checkpoint"
HIGH_WATERMARKS: Final = "replication-offset-checkpoint"
CLEANED_OFFSETS: Final = "cleaner-offset-checkpoint"


class StoreError(Exception):
    """The data folder cannot be used; the text is one sentence with the cause and the fix."""


class Identity(NamedTuple):
    """Whose a data folder is; both are base64 texts."""

    cluster_id: str
    directory_id: str


def load_identity(fs: FileSystem, ids: Ids, folder: str, node_id: int, cluster_id: str | None) -> Identity:
    """What `meta.properties` says; a new folder gets one, with a random cluster id if `cluster_id` is None.

    Raises StoreError if the folder belongs to another node or cluster (or one newer than we are); OSError.
    """
    path = f"{folder}/{META_FILE}"
    try:
        data = fs.read_file(path)
    except FileNotFoundError:
        identity = Identity(cluster_id or uuid_text(ids.uuid()), uuid_text(ids.uuid()))
        _save_identity(fs, folder, node_id, identity)
        return identity
    try:
        found = parse_properties(data)
        version = int(found.get("version", "0"))
        format_version = int(found.get("ottla.format.version", str(FORMAT_VERSION)))
        identity = Identity(found["cluster.id"], found.get("directory.id", ""))
        found_node = int(found.get("node.id", found.get("broker.id", str(node_id))))
    except (ValueError, KeyError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); restore it, or delete it to have it made anew with a new cluster id"
        ) from error
    if format_version > FORMAT_VERSION or version > 1:
        raise StoreError(
            f"data folder {folder} has format version {max(format_version, version)}, this Ottla knows up to "
            f"{FORMAT_VERSION}; use a newer Ottla or another data folder"
        )
    if cluster_id is not None and cluster_id != identity.cluster_id:
        raise StoreError(
            f"data folder {folder} belongs to cluster {identity.cluster_id}, not {cluster_id}; give another data folder"
        )
    if found_node != node_id:
        raise StoreError(
            f"data folder {folder} belongs to node {found_node}, not {node_id}; "
            f"set node.id={found_node} or give another data folder"
        )
    if not identity.directory_id or "ottla.format.version" not in found:
        identity = Identity(identity.cluster_id, identity.directory_id or uuid_text(ids.uuid()))
        _save_identity(fs, folder, node_id, identity)
    return identity


def _save_identity(fs: FileSystem, folder: str, node_id: int, identity: Identity) -> None:
    properties = {
        "version": "1",
        "cluster.id": identity.cluster_id,
        "node.id": str(node_id),
        "directory.id": identity.directory_id,
        "ottla.format.version": str(FORMAT_VERSION),
    }
    fs.replace_file(f"{folder}/{META_FILE}", format_properties(properties))
