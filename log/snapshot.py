"""A data folder as one file that can be carried about: a tar, compressed, which says first what is in it.

The file is a sequence of zstd frames of 1 MiB each, with the length of each in a skippable frame before it, so that
any tar that knows zstd reads it too, and a reader here needs little memory, whatever the file says. The first member
is `manifest.json`: versions, what the folder holds, and each file with its size and SHA-256. What a folder's files
mean is known elsewhere (broker/snapshots.py tells it); nobody may write to the folder meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import struct
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final, NamedTuple

from ottla.log.data_folder import CLEAN_FILE, FORMAT_VERSION, META_FILE
from ottla.log.lock import LOCK_FILE, FolderLock, FolderLockedError
from ottla.wire.compression import Codec, compress, decompress
from ottla.wire.errors import KafkaError

FORMAT: Final = 1  # of the file; that of the folder in it is Store's
SUFFIX: Final = ".tar.zst"
VARIABLE: Final = "OTTLA_SNAPSHOTS"
DEFAULT_FOLDER: Final = "./ottla-snapshots"
_MANIFEST: Final = "manifest.json"
_MOST_MANIFEST_BYTES: Final = 256 << 20  # a million files
_CHUNK: Final = 1 << 20
_FRAME: Final = struct.Struct("<III")  # magic of a skippable frame, its length, which is 4, length of the next frame
_SKIPPABLE: Final = 0x184D2A50
_LEVEL: Final = 1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_PART: Final = re.compile(r"[^/\\:\0]{1,255}")
_UNPACKING: Final = ".unpacking-delete"  # a start removes it
_EMPTY: Final = frozenset((LOCK_FILE, "lost+found", _UNPACKING))


class SnapshotError(ValueError):
    """It cannot be saved or loaded; the text is one sentence with the cause and the fix."""


class SnapshotExistsError(SnapshotError):
    """There is one of that name already."""


class Entry(NamedTuple):
    """A file of the folder: its path in it, with slashes."""

    path: str
    size: int
    sha256: str


class Manifest:
    """What a snapshot says of itself. `facts`: what is in the folder, as told when it was saved."""

    __slots__ = ("facts", "files", "ottla", "saved_ms")

    def __init__(self, ottla: str, saved_ms: int, facts: Mapping[str, Any], files: list[Entry]) -> None:
        self.ottla = ottla
        self.saved_ms = saved_ms
        self.facts = facts
        self.files = files

    @property
    def size_bytes(self) -> int:
        """Of all files, unpacked."""
        return sum(file.size for file in self.files)

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(
            {
                "snapshot": FORMAT,
                "data_format": FORMAT_VERSION,
                "ottla": self.ottla,
                "saved_ms": self.saved_ms,
                **self.facts,
                "files": [file._asdict() for file in self.files],
            },
            indent=1,
        ).encode()

    @classmethod
    def decode(cls, data: bytes, path: str) -> Manifest:
        """Raises SnapshotError."""
        try:
            told: dict[str, Any] = json.loads(data)
            made_by = str(told.pop("ottla"))
            for what, known in (("snapshot", FORMAT), ("data_format", FORMAT_VERSION)):
                version = int(told.pop(what))
                if version > known:
                    raise SnapshotError(
                        f"snapshot {path} is of Ottla {made_by}, in format {version}; this one knows up to {known}: use"
                        " a newer Ottla"
                    )
            files = [Entry(str(one["path"]), int(one["size"]), str(one["sha256"])) for one in told.pop("files")]
            saved_ms = int(told.pop("saved_ms"))
        except SnapshotError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, f"its manifest cannot be read: {error}") from error
        for file in files:
            parts = file.path.split("/")
            if not all(_PART.fullmatch(part) and part not in (".", "..") for part in parts):
                raise SnapshotError(
                    f"snapshot {path} names a file outside its folder, {file.path!r}; it is not loaded: use one that"
                    " `ottla snapshot save` made"
                )
            if file.size < 0 or file.path == LOCK_FILE:
                raise _damaged(path, f"its manifest names {file.path!r} of {file.size} bytes")
        if len({file.path for file in files}) < len(files):
            raise _damaged(path, "its manifest names a file twice")
        return cls(made_by, saved_ms, told, files)


def _damaged(path: str, how: str) -> SnapshotError:
    return SnapshotError(f"snapshot {path} is damaged ({how}); save it anew, or use another copy of the file")


# --- where snapshots are


def folder_of(folder: str | None = None) -> str:
    """The folder of snapshots: as given, else as $OTTLA_SNAPSHOTS says, else `./ottla-snapshots`."""
    return folder or os.environ.get(VARIABLE) or DEFAULT_FOLDER


def place_of(name: str, folder: str | None = None) -> str:
    """The file of a snapshot that is named so. Raises SnapshotError."""
    if not _NAME.fullmatch(name):
        raise SnapshotError(
            f"{name!r} is no name for a snapshot; use letters, digits, '.', '_' and '-', not more than 100, with a"
            " letter or digit first"
        )
    return os.path.join(folder_of(folder), name + SUFFIX)


def find(name: str | os.PathLike[str], folder: str | None = None) -> str:
    """The file of a snapshot, named or given by its path. Raises SnapshotError: there is none."""
    name = os.fspath(name)
    is_path = name.endswith(SUFFIX) or os.path.basename(name) != name
    path = name if is_path else place_of(name, folder)
    if not os.path.isfile(path):
        hint = (
            "give another path, or a name" if is_path else f"make it by `ottla snapshot save {name}`, or name another"
        )
        raise SnapshotError(f"there is no snapshot {path}; {hint} (`ottla snapshot list` shows those that are there)")
    return path


def names(folder: str | None = None) -> list[str]:
    """Of all snapshots in the folder, which need not be there. Raises OSError."""
    try:
        found = os.listdir(folder_of(folder))
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))
    return sorted(stem for stem in stems if _NAME.fullmatch(stem))


# --- writing


def pack(folder: str, target: str, *, ottla: str, saved_ms: int, facts: Mapping[str, Any]) -> Manifest:
    """Write the snapshot of a data folder, which nobody writes to meanwhile, to the file `target`: whole or not at all.

    Raises SnapshotError if a file of the folder changes all the same, OSError.
    """
    files = [_entry(folder, path) for path in sorted(_files(folder))]
    manifest = Manifest(ottla, saved_ms, facts, files)
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    partial = f"{target}.{os.getpid()}.tmp"
    try:
        with open(partial, "wb") as out:
            with _Packed(out) as packed, tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar:
                _add(tar, _MANIFEST, io.BytesIO(content := manifest.encode()), len(content), saved_ms // 1000)
                for file in files:
                    path = os.path.join(folder, *file.path.split("/"))
                    with open(path, "rb") as taken:
                        status = os.fstat(taken.fileno())
                        if status.st_size != file.size:
                            raise SnapshotError(f"{path} changed while it was saved; stop who writes to it, then save")
                        _add(tar, f"data/{file.path}", taken, file.size, int(status.st_mtime))
            out.flush()
            os.fsync(out.fileno())
        os.replace(partial, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
    return manifest


def _add(tar: tarfile.TarFile, name: str, content: BinaryIO, size: int, changed_s: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, changed_s, 0o644
    tar.addfile(member, content)


def _files(folder: str, below: str = "") -> Iterator[str]:
    """What a start needs of a data folder, by paths with slashes: not its lock, not what is only waiting to be
    removed."""
    with os.scandir(os.path.join(folder, below)) as entries:
        found = list(entries)
    for entry in found:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.endswith("-delete"):
                yield from _files(folder, path)
        elif entry.is_file() and path != LOCK_FILE and not entry.name.endswith((".deleted", ".tmp")):
            yield path


def _entry(folder: str, path: str) -> Entry:
    with open(os.path.join(folder, *path.split("/")), "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Entry(path, file.tell(), digest.hexdigest())


class _Packed(io.RawIOBase):
    """What is written to it goes to `out` compressed."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._waiting = bytearray()

    def write(self, data: Any) -> int:
        self._waiting += data
        while len(self._waiting) >= _CHUNK:
            self._flush_frame(_CHUNK)
        return len(data)

    def _flush_frame(self, size: int) -> None:
        frame = compress(Codec.ZSTD, bytes(self._waiting[:size]), _LEVEL)
        del self._waiting[:size]
        self._out.write(_FRAME.pack(_SKIPPABLE, 4, len(frame)))
        self._out.write(frame)

    def close(self) -> None:
        if not self.closed and self._waiting:
            self._flush_frame(len(self._waiting))
        super().close()


# --- reading


class _Unpacked(io.RawIOBase):
    """What `_Packed` wrote, frame by frame. Reading raises SnapshotError."""

    def __init__(self, source: BinaryIO, path: str) -> None:
        self._source = source
        self._path = path
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts: list[memoryview] = []
        while size and (self._left or self._next_frame()):
            part = self._left if size < 0 else self._left[:size]
            self._left = self._left[len(part) :]
            size -= len(part) if size > 0 else 0
            parts.append(part)
        return b"".join(parts)

    def _next_frame(self) -> bool:
        head = self._source.read(_FRAME.size)
        if not head:
            return False
        if len(head) < _FRAME.size:
            raise _damaged(self._path, "it is cut")
        magic, length, size = _FRAME.unpack(head)
        if magic != _SKIPPABLE or length != 4 or size > 2 * _CHUNK:
            raise _damaged(self._path, "it is no file that `ottla snapshot save` made")
        frame = self._source.read(size)
        if len(frame) < size:
            raise _damaged(self._path, "it is cut")
        try:
            self._left = memoryview(decompress(Codec.ZSTD, frame, _CHUNK))
        except KafkaError as error:
            raise _damaged(self._path, error.message or "it cannot be decompressed") from None
        return True


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple[tarfile.TarFile, Manifest]]:
    """The tar behind its manifest. Raises SnapshotError, OSError."""
    try:
        with (
            open(path, "rb") as source,
            tarfile.open(fileobj=_Unpacked(source, path), mode="r|", bufsize=_CHUNK) as tar,
        ):
            first = tar.next()
            if first is None or first.name != _MANIFEST or not first.isreg() or first.size > _MOST_MANIFEST_BYTES:
                raise _damaged(path, "it does not begin with its manifest")
            yield tar, Manifest.decode(_content(tar, first).read(), path)
    except tarfile.TarError as error:
        raise _damaged(path, str(error)) from None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    return tar.extractfile(member)


def read_manifest(path: str) -> Manifest:
    """What a snapshot says of itself; its files are not looked at. Raises SnapshotError, OSError."""
    with _opened(path) as (_, manifest):
        return manifest


def unpack(path: str, folder: str, *, durable: bool = True) -> Manifest:
    """Make `folder`, which is empty or not there, the data folder of a snapshot. If that fails, it stays empty.

    `durable`: no power cut takes it back. Raises SnapshotError, OSError.
    """
    with _opened(path) as (tar, manifest):
        made = not os.path.exists(folder)
        try:
            with _claimed(folder):
                staging = os.path.join(folder, _UNPACKING)
                try:
                    _remove_tree(staging)
                    os.mkdir(staging)
                    _extract(tar, manifest, path, staging, durable)
                    _move_in(staging, folder, durable)
                except BaseException:
                    _remove_tree(staging)
                    raise
        except BaseException:
            if made:
                _remove_tree(folder)
            raise
        return manifest


def begin_with(name: str | os.PathLike[str], folder: str, durable: bool) -> None:
    """`unpack` of a snapshot by its name or path. Raises SnapshotError, also where the file system refuses."""
    try:
        unpack(find(name), folder, durable=durable)
    except OSError as error:
        raise SnapshotError(
            f"snapshot {name}: {error.strerror} ({error.filename or folder}); give a snapshot that can be read, and a"
            " data folder that can be written"
        ) from None


@contextlib.contextmanager
def _claimed(folder: str) -> Iterator[None]:
    """A folder with nothing in it, locked. Raises SnapshotError, OSError."""
    advice = "give a folder that is empty or not there yet"
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise SnapshotError(f"{folder} is not a folder; {advice}")
    os.makedirs(folder, exist_ok=True)
    if set(os.listdir(folder)) - _EMPTY:
        raise SnapshotError(f"{folder} is not empty, and nothing in it is overwritten; {advice}")
    try:
        lock = FolderLock(folder)
    except FolderLockedError:
        raise SnapshotError(f"{folder} is in use by a broker; {advice}") from None
    try:
        yield
    finally:
        lock.release()


def _extract(tar: tarfile.TarFile, manifest: Manifest, path: str, folder: str, durable: bool) -> None:
    wanted = {f"data/{file.path}": file for file in manifest.files}
    while (member := tar.next()) is not None:
        file = wanted.pop(member.name, None)
        if file is None or not member.isreg():
            raise _damaged(path, f"{member.name!r} is not what its manifest names")
        if member.size != file.size:
            raise _damaged(path, f"{file.path} has {member.size} bytes, {file.size} were saved")
        target = os.path.join(folder, *file.path.split("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        digest = hashlib.sha256()
        source = _content(tar, member)
        with open(target, "xb") as out:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
            if durable:
                out.flush()
                os.fsync(out.fileno())
        os.utime(target, (member.mtime, member.mtime))
        if digest.hexdigest() != file.sha256:
            raise _damaged(path, f"{file.path} has another checksum than when it was saved")
    if wanted:
        raise _damaged(path, f"{next(iter(wanted.values())).path} is missing")


def _move_in(staging: str, folder: str, durable: bool) -> None:
    """What makes it a data folder comes last: after a crash in between, there is none."""
    last = (META_FILE, CLEAN_FILE)
    for name in sorted(os.listdir(staging), key=lambda name: (name in last, name)):
        os.rename(os.path.join(staging, name), os.path.join(folder, name))
    os.rmdir(staging)
    if durable:
        sync_tree(folder)


def sync_tree(folder: str) -> None:
    """Make the names below a folder, and its own, durable. Raises OSError."""
    from ottla.log.filesystem import FileSystem

    fs = FileSystem()
    for at, _, _ in os.walk(folder):
        fs.sync_folder(at)
    fs.sync_folder(os.path.dirname(os.path.abspath(folder)))


def _remove_tree(path: str) -> None:
    import shutil

    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
