"""Snapshots of a live broker, of a folder that nobody uses, and over the control surface."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from ottla.broker import snapshots
from ottla.broker.control.snapshots import ROUTES
from ottla.broker.control.surface import serve
from ottla.broker.server import bind
from ottla.log.data_folder import CLEAN_FILE
from ottla.log.snapshot import SnapshotError, SnapshotExistsError, read_manifest, unpack
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.records import Record, build_batch
from tests.broker.conftest import Launcher, Running
from tests.broker.test_control import Surface


def create(running: Running, name: str, partitions: int = 1) -> None:
    running.broker.metadata.create_topic(running.broker.metadata.plan_topic(name, partitions))


def append(running: Running, topic: str, *values: bytes, partition: int = 0) -> None:
    found = running.broker.cluster.partition(topic, partition)
    assert found is not None
    now_ms = running.broker.clock.wall_ms()
    batch = build_batch([Record(at, now_ms, None, value) for at, value in enumerate(values)])
    found.log.append(bytes(batch), leader_epoch=0)
    found.grew()


async def commit(running: Running, group: str, topic: str, offset: int) -> None:
    client = await running.client()
    await client.ask(FindCoordinatorRequest(coordinator_keys=[group]), 4)
    partition = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
    topics = [OffsetCommitRequest.OffsetCommitRequestTopic(name=topic, partitions=[partition])]
    answer = await client.ask(OffsetCommitRequest(group_id=group, topics=topics), 8)
    assert answer.topics[0].partitions[0].error_code == 0


def ends(told: dict[str, Any], topic: str) -> list[tuple[int, int]]:
    return [(one["start"], one["end"]) for one in told["topics"][topic]["partitions"]]


async def test_a_live_broker_goes_on_while_it_is_saved(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await launcher.start()
    create(running, "orders", 2)
    append(running, "orders", b"one", b"two")
    await commit(running, "billing", "orders", 1)
    packing, go_on = trio.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()
    pack = snapshots._pack

    def slow(*rest: Any) -> Any:
        trio.from_thread.run_sync(packing.set, trio_token=token)
        trio.from_thread.run(go_on.wait, trio_token=token)
        return pack(*rest)

    monkeypatch.setattr(snapshots, "_pack", slow)
    monkeypatch.setenv("OTTLA_SNAPSHOTS", str(tmp_path / "kept"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(snapshots.save, running.broker, "seed")
        await packing.wait()
        append(running, "orders", b"three")
        go_on.set()
    manifest = read_manifest(str(tmp_path / "kept" / "seed.tar.zst"))
    assert ends(dict(manifest.facts), "orders") == [(0, 2), (0, 0)]
    assert manifest.facts["groups"] == ["billing"]
    assert manifest.facts["cluster_id"] == running.broker.cluster.cluster_id
    assert not [name for name in os.listdir(launcher.folder) if name.endswith("-delete")]
    assert running.broker.cluster.topics["orders"].partitions[0].log.log_end_offset == 3


async def test_what_was_saved_is_what_another_broker_begins_with(launcher: Launcher, tmp_path: Path) -> None:
    running = await launcher.start()
    create(running, "orders")
    append(running, "orders", b"one", b"two")
    path, _ = await snapshots.save(running.broker, "seed", folder=str(tmp_path))
    cluster_id = running.broker.cluster.cluster_id
    await launcher.stop()
    unpack(path, str(tmp_path / "again"))
    launcher.folder = tmp_path / "again"
    again = await launcher.start()
    assert again.broker.cluster.cluster_id == cluster_id
    assert again.broker.cluster.topics["orders"].partitions[0].log.log_end_offset == 2
    assert "warning" not in again.log_text


async def test_a_name_that_is_taken_is_replaced_only_if_asked(launcher: Launcher, tmp_path: Path) -> None:
    running = await launcher.start()
    create(running, "orders")
    await snapshots.save(running.broker, "seed", folder=str(tmp_path))
    with pytest.raises(SnapshotExistsError, match="snapshot seed is there already"):
        await snapshots.save(running.broker, "seed", folder=str(tmp_path))
    append(running, "orders", b"one")
    await snapshots.save(running.broker, "seed", folder=str(tmp_path), replace=True)
    (told,) = snapshots.saved(str(tmp_path))
    assert (told["name"], told["topics"], told["records"], told["groups"]) == ("seed", ["orders"], 1, [])


async def test_a_save_that_a_crash_cut_short_is_removed_by_the_next_start(launcher: Launcher) -> None:
    running = await launcher.start()
    create(running, "orders")
    append(running, "orders", b"one")
    left = launcher.folder / ".snapshot-x-delete"
    left.mkdir()
    running.broker.store.fork(str(left))
    assert (left / "orders-0").is_dir()
    await launcher.stop()
    running = await launcher.start()
    assert not left.exists()
    assert running.broker.cluster.topics["orders"].partitions[0].log.log_end_offset == 1


@pytest.mark.parametrize("clean", [True, False])
async def test_a_folder_is_saved_when_its_broker_has_stopped(launcher: Launcher, tmp_path: Path, clean: bool) -> None:
    running = await launcher.start()
    create(running, "orders", 2)
    append(running, "orders", b"one", b"two", partition=1)
    await commit(running, "billing", "orders", 1)
    with pytest.raises(SnapshotError, match=r"is in use by process .* --control PORT"):
        snapshots.save_folder(str(launcher.folder), "seed", 7, folder=str(tmp_path))
    await launcher.stop()
    if not clean:
        (launcher.folder / CLEAN_FILE).unlink()
    path, manifest = snapshots.save_folder(str(launcher.folder), "seed", 7, folder=str(tmp_path))
    told = snapshots.described("seed", path, manifest)
    assert (ends(told, "orders"), told["groups"], told["saved_ms"]) == ([(0, 0), (0, 2)], ["billing"], 7)
    with pytest.raises(SnapshotError, match=r"is no data folder: there is no meta\.properties in it"):
        snapshots.save_folder(str(tmp_path), "other", 7, folder=str(tmp_path))


async def test_groups_and_topics_that_are_gone_are_not_told_of(launcher: Launcher, tmp_path: Path) -> None:
    running = await launcher.start()
    for topic in ("orders", "bills"):
        create(running, topic)
        append(running, topic, b"one")
        await commit(running, f"group of {topic}", topic, 1)
    running.broker.delete_topics([running.broker.cluster.topics["bills"]])
    path, manifest = await snapshots.save(running.broker, "seed", folder=str(tmp_path))
    told = snapshots.in_short(snapshots.described("seed", path, manifest))
    assert (told["topics"], told["records"], told["groups"]) == (["orders"], 1, ["group of orders"])


# --- over HTTP


@pytest.fixture
async def surface(running: Running, nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surface:
    monkeypatch.setenv("OTTLA_SNAPSHOTS", str(tmp_path / "kept"))
    (sock,) = bind([("127.0.0.1", 0)])
    port = sock.getsockname()[1]
    await nursery.start(lambda task_status: serve(running.broker, [sock], routes=ROUTES, task_status=task_status))
    return Surface(port)


async def test_any_language_saves_lists_and_removes(surface: Surface, running: Running, tmp_path: Path) -> None:
    assert await surface.ask("GET", "/v1/snapshots") == (200, {"folder": str(tmp_path / "kept"), "snapshots": []})
    create(running, "orders")
    append(running, "orders", b"one", b"two")
    status, told = await surface.ask("POST", "/v1/snapshots", {"name": "seed"})
    assert (status, told["name"], ends(told, "orders")) == (200, "seed", [(0, 2)])
    assert os.path.getsize(told["path"]) == told["size"]
    assert await surface.ask("GET", "/v1/snapshots/seed") == (200, told)
    status, listed = await surface.ask("GET", "/v1/snapshots")
    assert (status, [(one["name"], one["topics"], one["records"]) for one in listed["snapshots"]]) == (
        200,
        [("seed", ["orders"], 2)],
    )
    assert await surface.ask("DELETE", "/v1/snapshots/seed") == (200, {"removed": "seed"})
    status, answer = await surface.ask("GET", "/v1/snapshots/seed")
    assert status == 404
    assert "there is no snapshot" in answer["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "", {"name": "../seed"}, 400, "is no name for a snapshot"),
        ("POST", "", {"name": 5}, 400, "the body must be a JSON object with 'name'"),
        ("POST", "", {"name": "seed", "replace": 1}, 400, "the body must be a JSON object with 'replace'"),
        ("POST", "", {"name": "taken"}, 409, "snapshot taken is there already"),
        ("GET", "/%2e%2e%2fetc", None, 400, "is no name for a snapshot"),
        ("GET", "/nope", None, 404, "there is no snapshot"),
        ("DELETE", "/nope", None, 404, "there is no snapshot"),
        ("GET", "/broken", None, 409, "is damaged"),
    ],
)
async def test_what_cannot_be_is_a_sentence(
    surface: Surface, tmp_path: Path, method: str, path: str, body: Any, status: int, text: str
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "taken.tar.zst").touch()
    (tmp_path / "kept" / "broken.tar.zst").write_bytes(b"no")
    got, answer = await surface.ask(method, f"/v1/snapshots{path}", body)
    assert got == status
    assert text in answer["error"]


async def test_one_that_cannot_be_read_does_not_hide_the_others(surface: Surface, tmp_path: Path) -> None:
    await surface.ask("POST", "/v1/snapshots", {"name": "good"})
    (tmp_path / "kept" / "broken.tar.zst").write_bytes(b"no")
    _, listed = await surface.ask("GET", "/v1/snapshots")
    assert [(one["name"], "error" in one) for one in listed["snapshots"]] == [("broken", True), ("good", False)]


async def test_a_folder_that_cannot_be_made_is_a_sentence(surface: Surface, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    status, answer = await surface.ask("POST", "/v1/snapshots", {"name": "seed"})
    assert status == 409
    assert "OTTLA_SNAPSHOTS" in answer["error"]
