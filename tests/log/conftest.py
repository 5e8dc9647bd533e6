"""Fixtures of the log's tests: a clock that stands still, seeded ids, stores in temporary folders, and batches to
append."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ottla.log import partition
from ottla.log.clock import ManualClock
from ottla.log.filesystem import FileSystem
from ottla.log.ids import Ids
from ottla.log.partition import Partition
from ottla.log.store import Store
from ottla.wire.records import Record, RecordBatch, batches, build_batch

DATA = Path(__file__).parent / "data"


class Lab:
    """Opens stores on one folder with one clock, keeps the warnings, and closes what is left open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.ids = Ids(seed=7)
        self.warnings: list[str] = []
        self.stores: list[Store] = []

    def open(self, folder: Path | None = None, defaults: dict[str, str] | None = None, **options: Any) -> Store:
        store = Store.open(
            str(folder or self.folder),
            clock=self.clock,
            ids=self.ids,
            node_id=options.pop("node_id", 1),
            broker_defaults=defaults or {},
            warn=self.warnings.append,
            **options,
        )
        self.stores.append(store)
        return store

    def log(self, store: Store, topic: str = "t", **overrides: str) -> Partition:
        """Partition 0 of `topic`; `segment_bytes="1000"` sets segment.bytes."""
        properties = {name.replace("_", "."): value for name, value in overrides.items()}
        topic_id = store.topic_id(topic, 0)
        return store.create(topic, 0, topic_id if any(topic_id) else self.ids.uuid(), properties, lazy=True)

    def close(self) -> None:
        for store in self.stores:
            store.abandon()

    @staticmethod
    def batch(
        *values: bytes | None, timestamp_ms: int = 1_700_000_000_000, key: bytes | None = b"k", **options: Any
    ) -> bytearray:
        """A batch as a producer sends it, one record a value."""
        records = [Record(index, timestamp_ms, key, value) for index, value in enumerate(values or (b"v",))]
        return build_batch(records, **options)

    @staticmethod
    def append(log: Partition, *values: bytes | None, **options: Any) -> int:
        """Append a batch; returns its base offset."""
        outcome = log.append(Lab.batch(*values, **options), leader_epoch=0)
        return outcome.value.base_offset  # type: ignore[union-attr]

    @staticmethod
    def read_batches(
        log: Partition, offset: int, max_bytes: int = 1 << 20, *, min_one_batch: bool = True
    ) -> list[RecordBatch]:
        """The whole batches of one read."""
        return list(batches(log.read(offset, max_bytes, min_one_batch=min_one_batch).value.take()))  # type: ignore[union-attr]

    @staticmethod
    def read_all(log: Partition) -> list[tuple[int, bytes | None]]:
        """(offset, value) of every record, read as a consumer does."""
        found: list[tuple[int, bytes | None]] = []
        offset = log.log_start_offset
        while offset < log.high_watermark:
            got = Lab.read_batches(log, offset)
            if not got:
                break
            for one in got:
                found += [(r.offset, r.value) for r in one.records(1 << 30) if r.offset >= offset]
                offset = one.next_offset
        return found


class BadDisk(FileSystem):
    """Fails when told to: writes of log files store `room` bytes and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.room: int | None = None
        self.truncates = True
        self.syncs = True
        self.synced: list[int] = []
        real_write, real_truncate, real_sync = self.pwrite, self.truncate, self.datasync

        def pwrite(fd: int, data: Any, position: int) -> int:
            if self.room is None:
                return real_write(fd, data, position)
            if self.room == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = real_write(fd, memoryview(data)[: self.room], position)
            self.room -= written
            return written

        def truncate(fd: int, size: int) -> None:
            if not self.truncates:
                raise OSError(errno.EIO, "Input/output error")
            real_truncate(fd, size)

        def datasync(fd: int) -> None:
            if not self.syncs:
                raise OSError(errno.EIO, "Input/output error")
            self.synced.append(fd)
            real_sync(fd)

        self.pwrite, self.truncate, self.datasync = pwrite, truncate, datasync

    def write_file(self, path: str, data: Any, *, sync: bool, append: bool = False) -> None:
        if self.room is not None:
            with open(path, "ab" if append else "wb") as file:
                file.write(memoryview(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_file(path, data, sync=sync, append=append)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def only_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small reads are slices, too."""
    monkeypatch.setattr(partition, "SMALL_READ_BYTES", 0)
