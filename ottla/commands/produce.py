"""`ottla produce`: records from lines of stdin, or from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

from ottla.broker.errors import UsageError
from ottla.commands import connect
from ottla.commands.base import EXIT_OK, CommandError, Parser
from ottla.commands.output import Output

_ACKS: Final = {"0": 0, "1": 1, "all": -1}
_FLUSH_EVERY: Final = 10_000  # records that may be under way
_MAX_REQUEST_BYTES: Final = 1 << 30  # the broker decides what is too large

_EPILOG = """\
examples:
  ottla produce orders < orders.jsonl                    a record a line
  ottla produce orders --value hello --key k1 --header source=shell
  printf 'k1:one\\nk2:two\\n' | ottla produce orders --key-separator :
  ottla produce orders --key k1 --tombstone              a null value: compaction forgets the key
"""


def define(parser: Parser) -> None:
    """The flags of `ottla produce`."""
    parser.description = "Write records to a topic: each line of stdin, or what --value says."
    parser.epilog = _EPILOG
    parser.set_defaults(run=_run)
    parser.add_argument("topic", metavar="TOPIC", help="the topic, which must exist")
    parser.add_argument("--value", metavar="TEXT", action="append", help="a record with this value; may be repeated")
    parser.add_argument("--key", metavar="TEXT", help="the key of all records")
    parser.add_argument(
        "--key-separator", metavar="TEXT", help="what stands between key and value in each line or --value"
    )
    parser.add_argument(
        "--header", metavar="KEY=VALUE", action="append", help="a header of all records; may be repeated"
    )
    parser.add_argument("--tombstone", action="store_true", help="a record with a null value, for --key")
    parser.add_argument("--partition", metavar="N", help="write to this partition (default: by the hash of the key)")
    parser.add_argument(
        "--acks", choices=tuple(_ACKS), default="all", help="whose acknowledgement to wait for (default: all)"
    )
    parser.add_argument("--idempotent", action="store_true", help="let the broker drop what a retry sent twice")
    connect.add_flags(parser, json="print one JSON document about what was written")


def _run(flags: argparse.Namespace) -> int:
    from ottla.commands.group_facts import partitions_of

    if flags.tombstone and (flags.key is None or flags.value is not None):
        raise UsageError("--tombstone needs --key, and takes no --value: its value is null")
    if flags.key is not None and flags.key_separator is not None:
        raise UsageError("--key and --key-separator both say what the key is; give one of the two")
    if flags.key_separator == "":
        raise UsageError("--key-separator is empty; give what stands between key and value, as --key-separator :")
    if flags.idempotent and flags.acks != "all":
        raise UsageError(f"--idempotent waits for all acknowledgements; leave out --acks {flags.acks}")
    number = None
    if flags.partition is not None:
        if not flags.partition.isascii() or not flags.partition.isdecimal():
            raise UsageError(f"--partition {flags.partition}: give the number of a partition, from 0")
        number = int(flags.partition[:9])
    headers = [_header(text) for text in flags.header or ()]
    out = Output.of(flags)
    with connect.admin(flags) as client:
        partitions_of(client, flags.topic, None if number is None else [number])
    written = _Written()
    interactive = flags.value is None and not flags.tombstone and sys.stdin.isatty()
    options = {"acks": _ACKS[flags.acks], "enable_idempotence": flags.idempotent}
    if not interactive:
        options["linger_ms"] = 5
    with connect.producer(flags, max_request_size=_MAX_REQUEST_BYTES, **options) as producer:
        try:
            for key, value in _records(flags):
                sent = producer.send(flags.topic, value, key, headers, number)
                sent.add_callback(written.add).add_errback(written.fail)
                written.sent += 1
                if interactive or written.sent % _FLUSH_EVERY == 0:
                    producer.flush()
                if written.error is not None:
                    break
        finally:  # a line that is no record is no reason to lose those before it
            producer.flush()
        if written.error is not None:
            raise written.error
    documents = written.documents()
    if out.json:
        out.document({"topic": flags.topic, "records": written.sent, "partitions": documents})
    elif flags.acks == "0":
        out.line(f"sent {written.sent} record{'s'[: written.sent != 1]}, nobody has acknowledged them")
    else:
        for part in documents:
            first, last = part["first_offset"], part["last_offset"]
            where = f"offset {first}" if first == last else f"offsets {first} to {last}"
            records = f"{part['records']} record{'s'[: part['records'] != 1]}"
            out.line(f"{out.paint(flags.topic, 'bold')}:{part['partition']}  {where}  {records}")
    return EXIT_OK


class _Written:
    """What has become of the records; told from the client's thread."""

    def __init__(self) -> None:
        self.sent = 0
        self.error: Exception | None = None
        self._offsets: dict[int, tuple[int, int, int]] = {}

    def add(self, metadata: Any) -> None:
        first, last, count = self._offsets.get(metadata.partition, (metadata.offset, metadata.offset, 0))
        self._offsets[metadata.partition] = (min(first, metadata.offset), max(last, metadata.offset), count + 1)

    def fail(self, error: Exception) -> None:
        self.error = self.error or error

    def documents(self) -> list[dict[str, int]]:
        return [
            {"partition": number, "first_offset": first, "last_offset": last, "records": count}
            for number, (first, last, count) in sorted(self._offsets.items())
        ]


def _header(text: str) -> tuple[str, bytes]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--header {text}: not of the form KEY=VALUE")
    return key, value.encode(errors="surrogateescape")


def _records(flags: argparse.Namespace) -> Iterator[tuple[bytes | None, bytes | None]]:
    key = None if flags.key is None else flags.key.encode(errors="surrogateescape")
    separator = None if flags.key_separator is None else flags.key_separator.encode(errors="surrogateescape")
    if flags.tombstone:
        yield key, None
        return
    values: Iterable[bytes] = (
        lines(sys.stdin.buffer)
        if flags.value is None
        else (value.encode(errors="surrogateescape") for value in flags.value)
    )
    for number, value in enumerate(values, 1):
        if separator is None:
            yield key, value
        else:
            yield split_key(value, separator, number)


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines without what ends them."""
    for line in stream:
        yield line.removesuffix(b"\n").removesuffix(b"\r")


def split_key(line: bytes, separator: bytes, number: int) -> tuple[bytes, bytes]:
    """Key and value of line `number`. Raises CommandError if there is no separator in it."""
    key, found, value = line.partition(separator)
    if not found:
        raise CommandError(
            f"line {number} has no {separator.decode(errors='replace')} in it, so that it has no key; the lines before"
            " it are written"
        )
    return key, value
