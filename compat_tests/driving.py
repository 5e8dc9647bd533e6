"""A driver process behind the face that the scenarios use: each call is one line there and one line back.

`driven` makes the class of one client; drivers.py has the language. No knowledge of any library belongs here.
"""

import itertools
import json
import os
import queue
import subprocess
import tempfile
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from compat_tests.client import (
    Client,
    Emit,
    MemberConfig,
    Outgoing,
    Reader,
    Received,
    RefusedError,
    Sender,
    Sent,
)
from compat_tests.drivers import driver
from compat_tests.errors import error_name
from compat_tests.harness import DEADLINE_S, ROOT

_RECORDS_A_LINE = 5_000  # of a send or take: lines stay below a megabyte, apart from large records
_STDERR_SHOWN = 4_000  # bytes of what a driver complained of before it ended


def driven(client: str, lacks: Mapping[str, str] | None = None) -> type[Client]:
    """The client of that folder. lacks: see `Client`."""
    return type(f"Driven_{client}", (_Driven,), {"name": client, "lacks": dict(lacks or {})})


class _Line:
    """The two pipes of one driver process in mode client."""

    def __init__(self, client: str, bootstrap: str) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*driver(client), "client", "--bootstrap", bootstrap],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        self._answers: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self._asking = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def call(self, do: str, **values: Any) -> Any:
        """Does it, gives its value. RefusedError for what it answers with error."""
        assert self._process.stdin is not None
        with self._asking:
            try:
                self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
                self._process.stdin.flush()
                _, name, value = self._answers.get(timeout=2 * DEADLINE_S)
            except (OSError, queue.Empty) as error:
                self._fail(f"no answer to {do}: {error!r}")
        if name == "error":
            raise RefusedError(error_name(value) if isinstance(value, int) else str(value))
        if name != "done":
            self._fail(f"{do} was answered by {name} {value}")
        return value

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            self._fail("it did not end when its input did")
        self._thread.join()
        self._stderr.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put([0.0, "ended", None])
        self._process.stdout.close()

    def _fail(self, why: str) -> NoReturn:
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _STDERR_SHOWN))
        raise AssertionError(f"{why}\n{self._stderr.read().decode(errors='replace')}")


class _Handle:
    """What the driver has opened."""

    def __init__(self, line: _Line, do: str, **values: Any) -> None:
        self._line = line
        self._number = line.call(do, **values)

    def _call(self, do: str, **values: Any) -> Any:
        return self._line.call(do, handle=self._number, **values)

    def __exit__(self, *_: object) -> None:
        self._call("close")


class _Sender(_Handle, Sender):
    def send(self, topic: str, records: Iterable[Outgoing]) -> list[Sent]:
        return [place for some in _some(records) for place in self._send(topic, some)]

    def _send(self, topic: str, records: Iterable[Outgoing]) -> list[Sent]:
        lines = [
            (_text(r.value), _text(r.key), [(n, _text(v)) for n, v in r.headers], r.partition, r.timestamp_ms)
            for r in records
        ]
        return [Sent(*place) for place in self._call("send", topic=topic, records=lines)]

    def begin(self) -> None:
        self._call("begin")

    def commit(self) -> None:
        self._call("commit")

    def abort(self) -> None:
        self._call("abort")

    def send_offsets(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        self._call("send_offsets", group=group, topic=topic, offsets=offsets)


class _Reader(_Handle, Reader):
    def seek_beginning(self) -> None:
        self._call("seek_beginning")

    def seek_end(self) -> None:
        self._call("seek_end")

    def seek(self, offsets: Mapping[int, int]) -> None:
        self._call("seek", offsets=offsets)

    def seek_time(self, timestamp_ms: int) -> dict[int, int | None]:
        return _by_partition(self._call("seek_time", timestamp_ms=timestamp_ms))

    def take(self, count: int) -> list[Received]:
        taken: list[Received] = []
        while len(taken) < count:
            asked = min(count - len(taken), _RECORDS_A_LINE)
            taken += (some := self._take(asked))
            if len(some) < asked:
                break
        return taken

    def _take(self, count: int) -> list[Received]:
        return [
            Received(
                partition,
                offset,
                timestamp_ms,
                _bytes(key),
                _bytes(value),
                tuple((name, _bytes(one) or b"") for name, one in headers),
            )
            for partition, offset, timestamp_ms, key, value, headers in self._call("take", count=count)
        ]

    def pause(self, partitions: Sequence[int]) -> None:
        self._call("pause", partitions=[*partitions])

    def resume(self, partitions: Sequence[int]) -> None:
        self._call("resume", partitions=[*partitions])


class _Driven(Client):
    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap)
        self._line = _Line(self.name, bootstrap)

    def version(self) -> str:
        return str(self._line.call("version"))

    def create_topic(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        self._line.call("create_topic", topic=topic, partitions=partitions, configs=dict(configs or {}))

    def sender(
        self,
        *,
        compression: str | None = None,
        partitioner: str | None = None,
        idempotent: bool = True,
        transactional_id: str | None = None,
        request_timeout_ms: int | None = None,
    ) -> Sender:
        options = {"partitioner": partitioner, "idempotent": idempotent, "transactional_id": transactional_id}
        patience = {} if request_timeout_ms is None else {"request_timeout_ms": request_timeout_ms}
        return _Sender(self._line, "sender", compression=compression, **options, **patience)

    def reader(self, topic: str, partitions: Sequence[int], *, isolation: str = "read_uncommitted") -> Reader:
        return _Reader(self._line, "reader", topic=topic, partitions=[*partitions], isolation=isolation)

    def committed(self, group: str, topic: str, partitions: Sequence[int]) -> dict[int, int | None]:
        return _by_partition(self._line.call("committed", group=group, topic=topic, partitions=[*partitions]))

    def run_member(self, config: MemberConfig, emit: Emit, stop: threading.Event) -> None:
        raise NotImplementedError("a driver has a mode of its own for it")

    def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        return {int(p): end for p, end in self._line.call("ends", topic=topic, partitions=[*partitions]).items()}

    def topics(self) -> dict[str, int]:
        return dict(self._line.call("topics"))

    def add_partitions(self, topic: str, total: int) -> None:
        self._line.call("add_partitions", topic=topic, total=total)

    def delete_topic(self, topic: str) -> None:
        self._line.call("delete_topic", topic=topic)

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        self._line.call("delete_records", topic=topic, before=before)

    def config(self, topic: str) -> dict[str, str]:
        return dict(self._line.call("config", topic=topic))

    def set_config(self, topic: str, name: str, value: str) -> None:
        self._line.call("set_config", topic=topic, name=name, value=value)

    def groups(self) -> list[str]:
        return list(self._line.call("groups"))

    def group(self, group: str) -> tuple[str, int]:
        state, members = self._line.call("group", group=group)
        return state, members

    def delete_group(self, group: str) -> None:
        self._line.call("delete_group", group=group)

    def close(self) -> None:
        self._line.close()


def _some(records: Iterable[Outgoing]) -> Iterator[tuple[Outgoing, ...]]:
    left = iter(records)
    while some := tuple(itertools.islice(left, _RECORDS_A_LINE)):
        yield some


def _text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


def _by_partition(answer: Mapping[str, int | None]) -> dict[int, int | None]:
    return {int(partition): offset for partition, offset in answer.items()}
