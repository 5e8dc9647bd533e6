"""A copy of a log's folder that shares its files: hard links, since nothing writes to a file that has two names.

Sealed segments never change; `Partition.seal` makes one of what is active. Small files are replaced as a whole, or
parted from the other's before they are written (filesystem.py, files.py). Where no link can be made, the file is
copied. What is shared of a whole data folder is store.py's.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from ottla.log.filesystem import CREATE, FileSystem
from ottla.log.folder import EPOCHS_FILE, METADATA_FILE
from ottla.log.segment import file_stem

if TYPE_CHECKING:
    from ottla.log.partition import Partition

_INDEXES: Final = (".index", ".timeindex")


def fork_partition(fs: FileSystem, log: Partition, folder: str) -> None:
    """Make `folder` hold what `log` holds now. Files are found by the log's own list, not by their names: a compaction
    may be about to swap some. Raises OSError.
    """
    log.seal()
    share = fs.copy_file if log.must_rewrite else fs.link  # what a flush writes again must not be shared
    fs.make_folder(folder)
    for segment in log.segments:
        stem = f"{folder}/{file_stem(segment.base_offset)}"
        if not segment.size:
            if segment.has_file:  # it says where the log ends
                os.close(fs.open(f"{stem}.log", CREATE))
            continue
        if segment.has_unsaved_indexes:
            segment.save_indexes(final=True)
        share(segment.handle.path, f"{stem}.log")
        for suffix in _INDEXES:  # one that is missing is made anew at its first use
            with contextlib.suppress(FileNotFoundError):
                fs.link(segment.stem + suffix, stem + suffix)
        if segment.aborted is not None:
            fs.link(f"{segment.stem}.txnindex", f"{stem}.txnindex")
        if segment is not log.segments[0]:
            with contextlib.suppress(FileNotFoundError):
                fs.link(f"{segment.stem}.snapshot", f"{stem}.snapshot")
    if log.segments:
        _fork_snapshot(fs, log, f"{folder}/{file_stem(log.log_end_offset)}.snapshot")
    for name in (METADATA_FILE, EPOCHS_FILE):
        with contextlib.suppress(FileNotFoundError):
            fs.link(f"{log.folder}/{name}", f"{folder}/{name}")


def _fork_snapshot(fs: FileSystem, log: Partition, target: str) -> None:
    """The producers at the log end: without it a start would read records to find them."""
    try:
        fs.link(f"{log.folder}/{os.path.basename(target)}", target)
    except FileNotFoundError:
        fs.write_file(target, log.producers.encode(), sync=False)
