"""A Python adapter as a driver process: `python -m compat_tests.serving CLIENT client|member --flag value ...`.

For a client whose version cannot live beside the one that the tests themselves have. drivers.py has the language.
"""

import argparse
import itertools
import json
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from compat_tests.client import Client, MemberConfig, Outgoing, Reader, RefusedError, Sender, load_client
from compat_tests.member import serve_member


class _Serving:
    """The commands of mode client, each a method; what is not here is a method of the client of the same name."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._handles: dict[int, Sender | Reader] = {}
        self._numbers = itertools.count(1)

    def answer(self, do: str, values: dict[str, Any]) -> Any:
        """The value of `done`. Raises RefusedError."""
        own: Callable[..., Any] | None = getattr(self, f"_{do}", None)
        if own is not None:
            return own(**values)
        if "handle" in values:
            return getattr(self._handles[values.pop("handle")], do)(**_with_numbers(values))
        return getattr(self._client, do)(**_with_numbers(values))

    def _sender(self, **options: Any) -> int:
        return self._open(self._client.sender(**options))

    def _reader(self, **options: Any) -> int:
        return self._open(self._client.reader(**options))

    def _open(self, one: Sender | Reader) -> int:
        number = next(self._numbers)
        self._handles[number] = one
        return number

    def _close(self, handle: int) -> None:
        self._handles.pop(handle).__exit__(None, None, None)

    def _send(self, handle: int, topic: str, records: list[list[Any]]) -> Any:
        sender = self._handles[handle]
        assert isinstance(sender, Sender)
        outgoing = [
            Outgoing(_bytes(value), _bytes(key), tuple((n, _bytes(v) or b"") for n, v in headers), partition, stamp)
            for value, key, headers, partition, stamp in records
        ]
        return sender.send(topic, outgoing)

    def _take(self, handle: int, count: int) -> Any:
        reader = self._handles[handle]
        assert isinstance(reader, Reader)
        return [
            [r.partition, r.offset, r.timestamp_ms, _text(r.key), _text(r.value), [[n, _text(v)] for n, v in r.headers]]
            for r in reader.take(count)
        ]


def _with_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Offsets by partition have partitions that are numbers; configs have names."""
    keyed = {"offsets", "before"}
    return {name: {int(p): o for p, o in value.items()} if name in keyed else value for name, value in values.items()}


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


def _text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def _serve(client: Client) -> None:
    serving = _Serving(client)
    for line in sys.stdin:
        values = json.loads(line)
        try:
            name, value = "done", serving.answer(values.pop("do"), values)
        except RefusedError as error:
            name, value = "error", error.name
        print(json.dumps([time.monotonic(), name, value]), flush=True)


def _main() -> None:
    parser = argparse.ArgumentParser(description="a Python client as a driver process")
    parser.add_argument("client")
    parser.add_argument("mode", choices=("client", "member"))
    parser.add_argument("--bootstrap", required=True)
    for field in fields(MemberConfig):
        kind = int if isinstance(field.default, int) else str
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    flags = vars(parser.parse_args())
    client, mode = load_client(flags.pop("client"))(flags.pop("bootstrap")), flags.pop("mode")
    if mode == "client":
        _serve(client)
    else:
        serve_member(client, MemberConfig(**flags))


if __name__ == "__main__":
    _main()
