"""Snapshot files: what goes in comes out, byte by byte; what is damaged, newer, or leaves its folder does not."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.log.lock import FolderLock
from ottla.log.snapshot import (
    Manifest,
    SnapshotError,
    _Packed,
    _Unpacked,
    find,
    folder_of,
    names,
    pack,
    place_of,
    read_manifest,
    unpack,
)
from tests.log.conftest import Lab

FACTS = {"cluster_id": "c", "topics": {}, "groups": []}


def fill(folder: Path) -> Path:
    for name, content in {
        "meta.properties": b"version=1\n",
        ".kafka_cleanshutdown": b"",
        ".lock": b"1\n",
        "t-0/00000000000000000000.log": os.urandom(3_000_000),
        "t-0/00000000000000000000.index": b"",
        "t-0/00000000000000000007.log.deleted": b"gone",
        "u-0.0123-delete/00000000000000000000.log": b"gone",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def save(folder: Path, target: Path) -> Path:
    pack(str(folder), str(target), ottla="9.9", saved_ms=5, facts=FACTS)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(fill(tmp_path / "data"), tmp_path / "seed.tar.zst")


def test_a_folder_comes_back_as_it_was_without_what_was_to_be_removed(tmp_path: Path, saved: Path) -> None:
    os.utime(tmp_path / "data" / "t-0" / "00000000000000000000.log", (1_000, 1_000))
    save(tmp_path / "data", saved)
    unpack(str(saved), str(tmp_path / "again"))
    before, after = contents(tmp_path / "data"), contents(tmp_path / "again")
    assert {name: before[name] for name in after if name != ".lock"} == {
        name: content for name, content in after.items() if name != ".lock"
    }
    assert set(before) - set(after) == {
        "t-0/00000000000000000007.log.deleted",
        "u-0.0123-delete/00000000000000000000.log",
    }
    assert (tmp_path / "again" / "t-0" / "00000000000000000000.log").stat().st_mtime == 1_000


def test_it_says_what_is_in_it_without_being_unpacked(saved: Path) -> None:
    manifest = read_manifest(str(saved))
    assert (manifest.ottla, manifest.saved_ms, manifest.facts) == ("9.9", 5, FACTS)
    assert manifest.size_bytes == 3_000_000 + len(b"version=1\n")


def test_any_tar_that_knows_zstd_reads_it(saved: Path) -> None:
    import cramjam

    with tarfile.open(fileobj=io.BytesIO(bytes(cramjam.zstd.decompress(saved.read_bytes())))) as tar:
        assert tar.getnames()[0] == "manifest.json"
        assert "data/t-0/00000000000000000000.log" in tar.getnames()


def test_a_store_is_the_same_again(lab: Lab, tmp_path: Path) -> None:
    store = lab.open()
    for number in range(50):
        lab.append(lab.log(store, segment_bytes="500"), b"%d" % number)
    store.close()
    save(lab.folder, tmp_path / "s.tar.zst")
    unpack(str(tmp_path / "s.tar.zst"), str(tmp_path / "again"))
    again = lab.open(tmp_path / "again")
    log = again.get("t", 0)
    assert again.was_clean
    assert log is not None
    assert [value for _, value in lab.read_all(log)] == [b"%d" % number for number in range(50)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=4_000).map(lambda part: part * 600), max_size=4), st.integers(1, 1 << 21))
def test_what_is_written_in_pieces_is_read_in_pieces(parts: list[bytes], step: int) -> None:
    file = io.BytesIO()
    with _Packed(file) as packed:
        for part in parts:
            packed.write(part)
    file.seek(0)
    reader = _Unpacked(file, "x")
    found = []
    while piece := reader.read(step):
        found.append(piece)
    assert b"".join(found) == b"".join(parts)


# --- refused, with nothing left behind


def refused(path: Path, folder: Path) -> str:
    with pytest.raises(SnapshotError) as caught:
        unpack(str(path), str(folder))
    text = str(caught.value)
    assert text.count("\n") == 0
    assert not folder.exists() or set(os.listdir(folder)) <= {".lock"}
    return text


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, saved: Path) -> None:
    folder = tmp_path / "used"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    with pytest.raises(SnapshotError, match="is not empty, and nothing in it is overwritten"):
        unpack(str(saved), str(folder))
    assert os.listdir(folder) == ["mine"]
    with pytest.raises(SnapshotError, match="is not a folder; give a folder that is empty"):
        unpack(str(saved), str(folder / "mine"))


def test_an_empty_folder_is_used_and_one_that_a_broker_holds_is_not(tmp_path: Path, saved: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    lock = FolderLock(str(folder))
    assert "is in use by a broker" in refused(saved, folder)
    lock.release()
    unpack(str(saved), str(folder))
    assert (folder / "meta.properties").exists()


@pytest.mark.parametrize("at", [0, 5, 14, 300, 100_000, 2_000_000, -1])
def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path, saved: Path, at: int) -> None:
    content = bytearray(saved.read_bytes())
    content[at] ^= 4
    saved.write_bytes(content)
    assert f"snapshot {saved} is damaged" in refused(saved, tmp_path / "again")


@pytest.mark.parametrize("length", [0, 3, 12, 200, 1_500_000, -1])
def test_a_file_that_is_cut_is_found(tmp_path: Path, saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    assert "is damaged" in refused(saved, tmp_path / "again")


def test_another_file_is_no_snapshot(tmp_path: Path) -> None:
    other = tmp_path / "other.tar.zst"
    other.write_bytes(b"PK\x03\x04" + bytes(100))
    assert "is no file that `ottla snapshot save` made" in refused(other, tmp_path / "again")


def rewritten(saved: Path, change: Callable[[dict[str, Any], list[tuple[tarfile.TarInfo, bytes]]], None]) -> Path:
    """The snapshot with another manifest, and other members, as somebody could have made it."""
    with saved.open("rb") as source, tarfile.open(fileobj=_Unpacked(source, str(saved)), mode="r|") as tar:
        members = []
        for member in tar:
            file = tar.extractfile(member)
            members.append((member, file.read() if file is not None else b""))
    manifest = json.loads(members[0][1])
    change(manifest, members)
    members[0] = (members[0][0], json.dumps(manifest).encode())
    with (
        saved.open("wb") as out,
        _Packed(out) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return saved


@pytest.mark.parametrize("what", ["snapshot", "data_format"])
def test_a_newer_format_asks_for_a_newer_ottla(tmp_path: Path, saved: Path, what: str) -> None:
    rewritten(saved, lambda manifest, _: manifest.update({what: 2}))
    assert "is of Ottla 9.9, in format 2; this one knows up to 1: use a newer Ottla" in refused(saved, tmp_path / "x")


@pytest.mark.parametrize(
    "path", ["../escaped", "/etc/escaped", "t-0/../../escaped", "c:escaped", "a\\..\\..\\escaped", "", "t-0//x", "."]
)
def test_a_path_that_leaves_its_folder_is_not_followed(tmp_path: Path, saved: Path, path: str) -> None:
    def change(manifest: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        manifest["files"][0]["path"] = path
        members[1][0].name = f"data/{path}"

    rewritten(saved, change)
    assert "names a file outside its folder" in refused(saved, tmp_path / "x")
    assert not (tmp_path / "escaped").exists()


def test_links_devices_and_what_nobody_named_are_not_made(tmp_path: Path, saved: Path) -> None:
    def link(_: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[1][0].type, members[1][0].linkname = tarfile.SYMTYPE, "/etc/passwd"

    def add(_: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members.append((tarfile.TarInfo("data/more"), b"more"))

    def drop(_: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        del members[-1]

    for change, text in ((link, "is not what its manifest names"), (add, "'data/more'"), (drop, "is missing")):
        copy = tmp_path / "copy.tar.zst"
        shutil.copy(saved, copy)
        assert text in refused(rewritten(copy, change), tmp_path / "x")


@pytest.mark.parametrize(
    ("field", "value"),
    [("files", None), ("files", [1]), ("snapshot", "new"), ("saved_ms", []), ("files", [{"path": "a", "size": "b"}])],
)
def test_a_manifest_that_makes_no_sense_is_a_damage(tmp_path: Path, saved: Path, field: str, value: object) -> None:
    rewritten(saved, lambda manifest, _: manifest.update({field: value}))
    assert "its manifest cannot be read" in refused(saved, tmp_path / "x")


@given(st.binary(max_size=200))
def test_any_bytes_for_a_manifest_are_a_damage(data: bytes) -> None:
    with pytest.raises(SnapshotError, match="damaged"):
        Manifest.decode(data, "x")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    import cramjam

    bomb = bytes(cramjam.zstd.compress(bytes(1 << 28), level=1))
    path = tmp_path / "bomb.tar.zst"
    path.write_bytes(struct.pack("<III", 0x184D2A50, 4, len(bomb)) + bomb)
    assert "is damaged" in refused(path, tmp_path / "x")


def test_a_save_that_fails_leaves_the_one_before(tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "data", saved)
    assert saved.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["data", "seed.tar.zst"]


# --- where they are


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTTLA_SNAPSHOTS", raising=False)
    assert folder_of() == "./ottla-snapshots"
    assert names() == []
    monkeypatch.setenv("OTTLA_SNAPSHOTS", str(tmp_path / "kept"))
    path = Path(place_of("seed-1.0_b"))
    assert path == tmp_path / "kept" / "seed-1.0_b.tar.zst"
    path.parent.mkdir()
    path.touch()
    (path.parent / "other.txt").touch()
    (path.parent / "..tar.zst").touch()
    assert names() == ["seed-1.0_b"]
    assert find("seed-1.0_b") == find(str(path)) == str(path)
    assert place_of("x", "here") == os.path.join("here", "x.tar.zst")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a b", "-x", "x" * 101, "ü", "a\n", ".hidden"])
def test_a_name_is_a_name(name: str) -> None:
    with pytest.raises(SnapshotError, match="is no name for a snapshot"):
        place_of(name)


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"there is no snapshot .*make it by `ottla snapshot save nope`"):
        find("nope", str(tmp_path))
    with pytest.raises(SnapshotError, match=r"there is no snapshot ./nope; give another path"):
        find("./nope")
