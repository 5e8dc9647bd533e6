"""One data folder: its lock, identity and checkpoints, and the partitions in it (implements `door.LogStore`).

Layout and files are Kafka's; `meta.properties` has one line more, `ottla.format.version`. Batches are not looked at
here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from typing import TYPE_CHECKING, Final

from ottla.log import recovery
from ottla.log.checkpoint import format_offsets, parse_offsets
from ottla.log.clock import Clock
from ottla.log.config import LogConfig
from ottla.log.data_folder import (
    CLEAN_FILE,
    CLEANED_OFFSETS,
    HIGH_WATERMARKS,
    LOG_STARTS,
    META_FILE,
    RECOVERY_POINTS,
    Identity,
    StoreError,
    load_identity,
)
from ottla.log.deletions import DELETED_SUFFIX, Deletions
from ottla.log.environment import Environment
from ottla.log.files import FilePool, storage_error
from ottla.log.filesystem import FileSystem
from ottla.log.flushing import FlushQueue
from ottla.log.folder import folder_name, parse_folder_name, read_topic_id
from ottla.log.ids import Ids, uuid_from_text, uuid_text
from ottla.log.lock import FolderLock, FolderLockedError, Locker
from ottla.log.partition import Partition
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.schema import ZERO_UUID

if TYPE_CHECKING:  # imported when first asked for
    from ottla.log.cleaner_manager import CleanerManager

_STRAY_SUFFIX: Final = "-stray"
_MAX_FOLDER_NAME: Final = 255
_DEFAULT_OPEN_FILES: Final = 1000
_PROGRESS_MS: Final = 1000
_NOBODY: Final[frozenset[tuple[str, int]]] = frozenset()
_CLEAN_MARK: Final = b'{"version":0,"brokerEpoch":-1}'


class Store:
    """All partitions of one data folder. Made by `open`."""

    __slots__ = (
        "_cleaning",
        "_clock",
        "_configs",
        "_defaults",
        "_env",
        "_fs",
        "_held",
        "_identity",
        "_ids",
        "_lock",
        "_partitions",
        "_pool",
        "_saved",
        "deletions",
        "log_starts_moved",
        "path",
        "was_clean",
    )

    def __init__(
        self,
        path: str,
        fs: FileSystem,
        clock: Clock,
        ids: Ids,
        defaults: LogConfig,
        lock: FolderLock,
        max_open_files: int,
        warn: Callable[[str], None],
    ) -> None:
        """Use `open`."""
        self.path = path
        self.was_clean = True
        self._fs = fs
        self._clock = clock
        self._ids = ids
        self._defaults = defaults
        self._lock = lock
        self._pool = FilePool(fs, max_open_files, warn)
        self._identity: Identity
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._held: Counter[str] = Counter()  # how many partitions of each topic
        self._configs: dict[str, tuple[dict[str, str], LogConfig]] = {}  # of the topics that were asked for
        self._cleaning: CleanerManager | None = None  # made when first asked for
        self.deletions = Deletions(fs, clock, warn)
        """What was deleted and waits to be unlinked: whoever owns the loop runs them."""
        self._saved: dict[str, Set[tuple[str, int]]] = {}  # of whom each checkpoint on disk may speak
        self._env: Environment
        self.log_starts_moved = 0  # how often, of any partition

    @classmethod
    def open(
        cls,
        path: str,
        *,
        clock: Clock,
        ids: Ids,
        node_id: int,
        broker_defaults: Mapping[str, str],
        cluster_id: str | None = None,
        warn: Callable[[str], None],
        fs: FileSystem | None = None,
        locker: Locker | None = None,
        max_open_files: int | None = None,
        scan_all: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Store:
        """Lock the folder (made if missing), recover every partition in it and remove the clean mark.

        `broker_defaults` are broker or topic properties; `cluster_id` is for a new folder (None: a random one), and
        must match in an old one. `warn` gets one sentence for each thing that was found damaged. `scan_all` trusts no
        recovery point (a repair). `progress` gets the number of partitions and bytes loaded so far, about once a second
        if it takes longer. Raises StoreError; KafkaError INVALID_CONFIG for the defaults.
        """
        defaults = LogConfig.from_broker(broker_defaults)
        path = os.path.abspath(path)
        fs = fs or FileSystem()
        if os.path.exists(path) and not os.path.isdir(path):
            raise StoreError(f"{path} is not a folder; give another data folder")
        try:
            os.makedirs(path, exist_ok=True)
            lock = FolderLock(path, locker)
        except FolderLockedError as error:
            holder = f"process {error.pid}" if error.pid is not None else "another process"
            raise StoreError(
                f"data folder {path} is in use by {holder}; stop it or give another data folder"
            ) from error
        except OSError as error:
            raise StoreError(
                f"data folder {path} cannot be written: {error.strerror or error}; fix its permissions or give another"
            ) from error
        store = cls(path, fs, clock, ids, defaults, lock, max_open_files or open_file_limit(), warn)
        store._env = Environment(
            fs, store._pool, clock, ids, warn, store.deletions.later, store._note_log_start, store._clear_checkpoints
        )
        try:
            store._identity = load_identity(fs, ids, path, node_id, cluster_id)
            store._load_partitions(scan_all=scan_all, progress=progress)
        except OSError as error:
            lock.release()
            raise StoreError(
                f"data folder {path} cannot be read or written: {error.strerror or error}"
                f"{f' ({error.filename})' if error.filename else ''}; fix that or give another data folder"
            ) from error
        except BaseException:
            lock.release()
            raise
        return store

    # --- opening

    def _load_partitions(self, *, scan_all: bool, progress: Callable[[int, int], None] | None) -> None:
        names = self._fs.list_folder(self.path)
        self.was_clean = CLEAN_FILE in names
        recovery_points = self._load_offsets(RECOVERY_POINTS, names)
        log_starts = self._load_offsets(LOG_STARTS, names)
        if progress is not None:
            self._env.progress = self._counter(progress)
        for name in sorted(names):
            folder = f"{self.path}/{name}"
            if name.endswith(DELETED_SUFFIX) and os.path.isdir(folder):
                self.deletions.remove_folder(folder)
                continue
            found = parse_folder_name(name)
            if found is None or not os.path.isdir(folder):
                continue
            topic, number = found
            self._partitions[found] = recovery.load(
                self._env,
                folder,
                topic,
                number,
                self._topic_id(folder),
                self._defaults,
                clean=self.was_clean,
                recovery_point=recovery_points.get(found, 0),
                log_start_offset=log_starts.get(found, 0),
                scan_all=scan_all,
            )
            self._held[topic] += 1
        cleaned = self._load_cleaned_offsets(names)
        for key, offset in (cleaned or {}).items():
            if key in self._partitions:
                self._partitions[key].cleaned_offset = offset
        if cleaned is None:
            self._save_cleaned_offsets()
        self._saved[RECOVERY_POINTS] = recovery_points.keys()
        self._saved[LOG_STARTS] = log_starts.keys()
        self._saved[CLEANED_OFFSETS] = (cleaned or {}).keys()
        if self.was_clean:
            self._fs.unlink(f"{self.path}/{CLEAN_FILE}")
            self._fs.sync_folder(self.path)  # a power cut must not bring it back

    def _counter(self, progress: Callable[[int, int], None]) -> Callable[[int], None]:
        """Adds up what is loaded and tells `progress` about once a second."""
        loaded = 0
        next_ms = self._clock.mono_ms() + _PROGRESS_MS

        def count(size: int) -> None:
            nonlocal loaded, next_ms
            loaded += size
            now_ms = self._clock.mono_ms()
            if now_ms >= next_ms:
                next_ms = now_ms + _PROGRESS_MS
                progress(len(self._partitions), loaded)

        return count

    def _topic_id(self, folder: str) -> bytes:
        text = read_topic_id(self._fs, folder)
        if text is not None:
            try:
                return uuid_from_text(text)
            except ValueError:
                self._env.warn(
                    f"{folder}: topic_id {text!r} of partition.metadata is no id; the folder is taken without one"
                )
        return ZERO_UUID

    def _load_offsets(self, name: str, names: list[str]) -> dict[tuple[str, int], int]:
        if name not in names:
            return {}
        try:
            return parse_offsets(self._fs.read_file(f"{self.path}/{name}"))
        except (ValueError, IndexError) as error:
            self._env.warn(f"{self.path}/{name} is left out and will be written anew: {error}")
            self.was_clean = False  # without it nothing says what is durable: scan
            return {}

    def _load_cleaned_offsets(self, names: list[str]) -> dict[tuple[str, int], int] | None:
        """None if the file is garbage."""
        if CLEANED_OFFSETS in names:
            try:
                return parse_offsets(self._fs.read_file(f"{self.path}/{CLEANED_OFFSETS}"))
            except (ValueError, IndexError) as error:  # costs compaction from the start
                self._env.warn(f"{self.path}/{CLEANED_OFFSETS} is left out and will be written anew: {error}")
                return None
        return {}

    # --- door.LogStore

    @property
    def cluster_id(self) -> str:
        """Base64 text, from meta.properties."""
        return self._identity.cluster_id

    @property
    def directory_id(self) -> str:
        """Base64 text, from meta.properties."""
        return self._identity.directory_id

    def disk_space(self) -> tuple[int, int]:
        """Bytes in all and bytes free of the disk that holds the folder; (-1, -1) if it does not say."""
        try:
            usage = shutil.disk_usage(self.path)
        except OSError:
            return -1, -1
        return usage.total, usage.free

    def create(
        self, topic: str, partition: int, topic_id: bytes, overrides: dict[str, str], *, lazy: bool
    ) -> Partition:
        """A new or existing partition's log. `lazy`: its folder appears at the first append.

        Raises KafkaError: INVALID_TOPIC_EXCEPTION (name too long for a folder), INCONSISTENT_TOPIC_ID (the folder
        belongs to another topic of that name), INVALID_CONFIG, KAFKA_STORAGE_ERROR.
        """
        key = (topic, partition)
        name = folder_name(topic, partition)
        if len(name) > _MAX_FOLDER_NAME:
            raise KafkaError(
                ErrorCode.INVALID_TOPIC_EXCEPTION, f"{name[:40]}... is longer than {_MAX_FOLDER_NAME} characters"
            )
        log = self._partitions.get(key)
        if log is not None and ZERO_UUID not in (topic_id, log.topic_id) and topic_id != log.topic_id:
            raise KafkaError(
                ErrorCode.INCONSISTENT_TOPIC_ID,
                f"{log.folder} belongs to topic id {uuid_text(log.topic_id)}, not {uuid_text(topic_id)}",
            )
        config = self._config(topic, overrides)
        if log is None:
            log = Partition(self._env, f"{self.path}/{name}", topic, partition, topic_id, config)
            self._partitions[key] = log
            self._held[topic] += 1
        log.configure(config)
        try:
            if log.topic_id == ZERO_UUID != topic_id:
                log.take_topic_id(topic_id)
            if not lazy:
                log.materialize()
        except OSError as error:
            raise self._env.health.write_failed(f"make {log.folder}", error) from error
        return log

    def _config(self, topic: str, overrides: dict[str, str]) -> LogConfig:
        """One config object for all partitions of a topic. Raises KafkaError INVALID_CONFIG."""
        held = self._configs.get(topic)
        if held is not None and held[0] == overrides:
            return held[1]
        config = LogConfig.from_properties(self._defaults, overrides) if overrides else self._defaults
        self._configs[topic] = (dict(overrides), config)
        return config

    def get(self, topic: str, partition: int) -> Partition | None:
        """The partition's log, None if there is none."""
        return self._partitions.get((topic, partition))

    def existing(self) -> Iterable[tuple[str, int]]:
        """(topic, partition) of each partition that has files."""
        return [key for key, log in self._partitions.items() if log.on_disk]

    def topic_id(self, topic: str, partition: int) -> bytes:
        """The topic id in the partition's `partition.metadata`, zero if there is none."""
        log = self._partitions.get((topic, partition))
        return log.topic_id if log is not None else ZERO_UUID

    def set_aside(self, topic: str, partition: int) -> None:
        """Rename the folder of a partition that no topic owns to `-stray`, as Kafka does.

        Raises KafkaError KAFKA_STORAGE_ERROR.
        """
        self._move_away(topic, partition, _STRAY_SUFFIX)

    def delete(self, topic: str, partition: int) -> None:
        """Rename the partition's folder out of the way now; its files go later. Open slices stay readable.

        Raises KafkaError KAFKA_STORAGE_ERROR.
        """
        log = self._partitions.get((topic, partition))
        target = self._move_away(topic, partition, DELETED_SUFFIX)
        if log is not None and target is not None:
            self.deletions.later([target], log.config.file_delete_delay_ms)

    def _move_away(self, topic: str, partition: int, suffix: str) -> str | None:
        """Forget a partition and rename its folder; returns the new path, None if it never had one."""
        log = self._partitions.pop((topic, partition), None)
        if log is None:
            return None
        log.mark_deleted()
        self._held[topic] -= 1
        if not self._held[topic]:
            del self._held[topic]
            self._configs.pop(topic, None)
        suffix = f".{self._ids.uuid().hex()}{suffix}"
        target = f"{self.path}/{folder_name(topic, partition)[: _MAX_FOLDER_NAME - len(suffix)]}{suffix}"
        try:
            self._fs.rename(log.folder, target)
        except FileNotFoundError:
            return None  # lazy: it never had files
        except OSError as error:
            raise self._env.health.write_failed(f"move {log.folder} away", error) from error
        return target

    def _clear_checkpoints(self, topic: str, partition: int) -> None:
        """A folder is about to be made: what checkpoints say of a deleted log of that name must not meet it.

        So late, since one checkpoint does for any number of deletions. Raises KafkaError KAFKA_STORAGE_ERROR, OSError.
        """
        key = (topic, partition)
        if any(key in saved for saved in self._saved.values()):
            self.checkpoint()

    def reconfigure(self, topic: str, overrides: dict[str, str]) -> None:
        """New topic configs for all partitions of `topic`. Raises KafkaError INVALID_CONFIG."""
        config = self._config(topic, overrides)
        for (held, _), log in self._partitions.items():
            if held == topic:
                log.configure(config)

    def set_defaults(self, broker_defaults: Mapping[str, str]) -> None:
        """New defaults for all topics, as in `open`. Raises KafkaError INVALID_CONFIG."""
        self._defaults = LogConfig.from_broker(broker_defaults)
        held, self._configs = self._configs, {}
        for (topic, _), log in self._partitions.items():
            log.configure(self._config(topic, held[topic][0] if topic in held else {}))

    def close(self) -> None:
        """Flush, write checkpoints and the clean-shutdown mark, unlock. Idempotent.

        If a partition cannot be written, the others are, no mark is left, and KafkaError KAFKA_STORAGE_ERROR is raised
        at the end.
        """
        if self._lock.released:
            return
        failure: KafkaError | None = None
        try:
            for log in self._partitions.values():
                try:
                    log.close()
                except KafkaError as error:
                    failure = failure or error
            self.checkpoint()
            if failure is None:
                self._fs.replace_file(f"{self.path}/{CLEAN_FILE}", _CLEAN_MARK)
        except OSError as error:
            raise storage_error(f"close {self.path}", error) from error
        finally:
            self._lock.release()
        if failure is not None:
            raise failure

    def abandon(self) -> None:
        """Unlock and give all files back without writing anything: as after kill -9 (tests), or when the disk is
        gone."""
        for log in self._partitions.values():
            log.give_up_files()
        self._lock.release()

    def fork(self, path: str) -> None:
        """Make the empty folder `path` a copy of this one as it is now, as after a clean stop, with the files of all
        segments shared; neither writes to a shared file from then on. The open Store goes on.

        Raises KafkaError KAFKA_STORAGE_ERROR; what was made at `path` is the caller's to remove then.
        """
        from ottla.log.fork import fork_partition

        fs = self._fs
        try:
            for log in self._partitions.values():
                if log.on_disk:
                    fork_partition(fs, log, f"{path}/{folder_name(log.topic, log.partition)}")
            for name, offsets in self._checkpoints().items():
                fs.write_file(f"{path}/{name}", format_offsets(offsets), sync=False)
            fs.link(f"{self.path}/{META_FILE}", f"{path}/{META_FILE}")
            fs.write_file(f"{path}/{CLEAN_FILE}", _CLEAN_MARK, sync=False)
        except OSError as error:
            raise storage_error(f"fork {self.path}", error) from error

    # --- housekeeping: the broker calls these now and then

    def checkpoint(self, *, sync: bool = True) -> None:
        """Write the offset checkpoints (about once a minute, and at close); unsynced they may be lost with the power,
        which costs the next start a longer scan. Raises KafkaError KAFKA_STORAGE_ERROR."""
        checkpoints = self._checkpoints()
        with_files = checkpoints[RECOVERY_POINTS].keys()
        stale = any(not saved <= with_files for saved in self._saved.values())
        sync = sync or stale  # no power cut may bring back what is said of deleted logs: their names may be taken again
        try:
            for name, offsets in checkpoints.items():
                if name != CLEANED_OFFSETS or stale:
                    self._save_offsets(name, offsets, sync=sync)
        except OSError as error:
            raise self._env.health.write_failed(f"write checkpoints in {self.path}", error) from error

    def _checkpoints(self) -> dict[str, dict[tuple[str, int], int]]:
        """What the checkpoints are to say, by file."""
        with_files = {key: log for key, log in self._partitions.items() if log.segments}
        return {
            RECOVERY_POINTS: {key: log.recovery_point for key, log in with_files.items()},
            HIGH_WATERMARKS: {key: log.high_watermark for key, log in with_files.items()},
            LOG_STARTS: self._log_starts(),
            CLEANED_OFFSETS: self._cleaned_offsets(),
        }

    def _save_offsets(self, name: str, offsets: dict[tuple[str, int], int], *, sync: bool) -> None:
        self._fs.replace_file(f"{self.path}/{name}", format_offsets(offsets), sync=sync)
        self._saved[name] = offsets.keys() if sync else self._saved.get(name, _NOBODY) | offsets.keys()

    def _log_starts(self) -> dict[tuple[str, int], int]:
        return {
            key: log.log_start_offset
            for key, log in self._partitions.items()
            if log.segments and log.log_start_offset > log.segments[0].base_offset
        }

    def _note_log_start(self) -> None:
        """A log start moved: on disk at once, so that deleted records stay deleted after kill -9."""
        self.log_starts_moved += 1
        try:
            self._save_offsets(LOG_STARTS, self._log_starts(), sync=False)
        except OSError as error:
            self._env.health.write_failed(f"write {self.path}/{LOG_STARTS}", error)

    def apply_retention(self) -> int:
        """Drop the segments that retention.ms, retention.bytes or the log start let go; returns how many. Every
        log.retention.check.interval.ms, and at once when asked. Raises KafkaError KAFKA_STORAGE_ERROR."""
        from ottla.log import upkeep

        now_ms = self._clock.wall_ms()
        dropped = 0
        failure: KafkaError | None = None
        for log in self._with_retention():
            try:
                dropped += upkeep.apply_retention(log, now_ms)
            except KafkaError as error:  # the others get theirs
                failure = failure or error
        if failure is not None:
            raise failure
        return dropped

    def lets_go(self, ahead_ms: int) -> bool:
        """Whether `apply_retention` would drop something `ahead_ms` from now, if nothing else happens until then."""
        from ottla.log import upkeep

        now_ms = self._clock.wall_ms() + ahead_ms
        return any(upkeep.retention_plan(log, now_ms).dropped for log in self._with_retention())

    def _with_retention(self) -> list[Partition]:
        """What is being cleaned comes next time."""
        return [log for log in self._served() if log.size_bytes() and not log.cleaning]

    def _served(self) -> list[Partition]:
        """A folder nobody asked for is not ours to empty or to compact."""
        return [log for log in self._partitions.values() if log.topic in self._configs]

    @property
    def cleaning(self) -> CleanerManager:
        """Compaction of these logs: what is due, and its begin and end."""
        if self._cleaning is None:
            from ottla.log.cleaner_manager import CleanerManager

            self._cleaning = CleanerManager(self._env, self._served, self._save_cleaned_offsets)
        return self._cleaning

    def _save_cleaned_offsets(self) -> None:
        """Lost with the power, it costs a pass."""
        try:
            self._save_offsets(CLEANED_OFFSETS, self._cleaned_offsets(), sync=False)
        except OSError as error:
            self._env.health.write_failed(f"write {self.path}/{CLEANED_OFFSETS}", error)

    def _cleaned_offsets(self) -> dict[tuple[str, int], int]:
        return {key: log.cleaned_offset for key, log in self._partitions.items() if log.cleaned_offset}

    @property
    def flushes(self) -> FlushQueue:
        """Logs whose appends are Pending until a flush: whoever owns the loop runs them (`FlushQueue.on_due`)."""
        return self._env.flushes

    def watch_health(self) -> None:
        """Once a second: after a disk that was full or failed, find out whether it can be written again."""
        health = self._env.health
        if health.wants_probe:
            with contextlib.suppress(KafkaError):  # which puts the next try off
                self.checkpoint(sync=False)
                if all(log.high_watermark == log.log_end_offset for log in self._partitions.values()):
                    health.recovered()

    def due_flushes(self, ahead_ms: int = 0) -> list[Partition]:
        """Partitions whose flush.ms is over, that rolled since their last flush, or whose last flush failed while
        somebody waited: call `begin_flush` on each. `ahead_ms`: as it will be then, if nothing else happens."""
        now_ms = self._clock.mono_ms() + ahead_ms
        return [
            log
            for log in self._partitions.values()
            if log.segments
            and log.recovery_point < log.log_end_offset
            and (
                log.recovery_point < log.segments[-1].base_offset
                or log.high_watermark < log.log_end_offset
                or now_ms - log.last_flush_mono_ms >= log.config.flush_ms
            )
        ]

    def expire_producers(self) -> int:
        """Forget producer ids idle for producer.id.expiration.ms; returns how many."""
        now_ms = self._clock.wall_ms()
        return sum(
            log.producers.expire(now_ms, log.config.producer_id_expiration_ms) for log in self._partitions.values()
        )

    def idle_producers(self, ahead_ms: int) -> int:
        """How many `expire_producers` would forget `ahead_ms` from now, if nothing else happens until then."""
        now_ms = self._clock.wall_ms() + ahead_ms
        return sum(
            len(log.producers.idle(now_ms, log.config.producer_id_expiration_ms)) for log in self._partitions.values()
        )


def open_file_limit() -> int:
    """How many log files may stay open: half of the soft limit of descriptors; the rest is for sockets."""
    if sys.platform == "win32":
        return _DEFAULT_OPEN_FILES
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(soft // 2, 100_000) if soft != resource.RLIM_INFINITY else 100_000)
