"""`ottla consume`: records of a topic, from anywhere, alone or as a member of a group."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ottla.broker.errors import UsageError
from ottla.commands import connect, record_view
from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.output import Output
from ottla.commands.places import Place, parse_partitions, parse_place
from ottla.commands.record_view import RecordView
from ottla.log.clock import SystemClock

_EPILOG = """\
Values are printed a line each, with control characters escaped and 0x and hex where they are no text; --raw prints them
as they are, --json tells all of a record.

examples:
  ottla consume orders --from earliest --exit          all that is there now
  ottla consume orders -n 1 --json                     the first record, as JSON
  ottla consume orders:0,2 --from 15m                  of two partitions, since 15 minutes ago, and what comes
  ottla consume orders --group billing                 as a member of a group, which remembers how far it is
  ottla consume orders --key-separator : -e | ottla produce copy --key-separator :
"""


def define(parser: Parser) -> None:
    """The flags of `ottla consume`."""
    parser.description = "Read the records of a topic, until Ctrl-C or as far as --exit or -n say."
    parser.epilog = _EPILOG
    parser.set_defaults(run=_run)
    parser.add_argument("topic", metavar="TOPIC[:PARTITION,...]", help="a topic, or some of its partitions")
    parser.add_argument(
        "--from",
        dest="place",
        metavar="PLACE",
        default="earliest",
        help="earliest (the default), latest, an offset, a time as 2026-11-23T10:00 or @MILLISECONDS, a time ago as"
        " 15m; with --group for partitions of which the group has committed nothing",
    )
    parser.add_argument("-g", "--group", metavar="GROUP", help="read as a member of this group, and commit for it")
    parser.add_argument("-n", "--count", metavar="COUNT", help="stop after so many records")
    parser.add_argument("-e", "--exit", action="store_true", help="stop at what was the end at the start")
    parser.add_argument("--key-separator", metavar="TEXT", help="print keys too, and this between key and value")
    parser.add_argument("--raw", action="store_true", help="print keys and values byte by byte as they are")
    record_view.add_flags(parser)
    connect.add_flags(parser, json="print a JSON object for each record, a line each")


def parse_count(text: str, flag: str) -> int:
    """A number of records. Raises UsageError."""
    if not text.isascii() or not text.isdecimal() or not int(text[:19]) > 0:
        raise UsageError(f"{flag} {text}: give a number of records, from 1")
    return int(text[:19])


def _run(flags: argparse.Namespace) -> int:
    from ottla.commands.reading import isolation, read

    topic, numbers = parse_partitions(flags.topic)
    place = parse_place(flags.place, SystemClock().wall_ms())
    count = None if flags.count is None else parse_count(flags.count, "-n")
    if flags.group is not None and numbers is not None:
        raise UsageError("a group shares out partitions by itself; leave out the partitions, or --group")
    if flags.group is not None and place.kind not in ("earliest", "latest"):
        raise UsageError(
            f"--from {flags.place}: with --group it is earliest or latest; `ottla offsets reset` moves a group"
        )
    if flags.raw and flags.json:
        raise UsageError("--raw and --json are two ways to print a record; choose one")
    out = Output.of(flags)
    printer = _Printer(flags, out)
    starts, ends = _bounds(flags, topic, numbers, place)
    options = {"isolation_level": isolation(flags), "auto_offset_reset": "earliest"}
    if flags.group is not None:
        options |= {"group_id": flags.group, "auto_offset_reset": place.kind}
    with connect.consumer(flags, **options) as consumer:
        if flags.group is not None:
            consumer.partitions_for_topic(topic)  # metadata that came after the join would make it join again
            consumer.subscribe([topic])
        else:
            from kafka.structs import TopicPartition

            consumer.assign([TopicPartition(*at) for at in starts])
            for at, offset in starts.items():
                consumer.seek(TopicPartition(*at), offset)
        idle_ms = connect.parse_timeout_ms(flags.timeout)
        for batch in read(consumer, ends=ends if flags.exit else None, count=count, idle_ms=idle_ms):
            for record in batch:
                printer.show(record)
            out.flush()
            if flags.group is not None and batch:
                consumer.commit()  # what is printed is done with
    return EXIT_OK


def _bounds(
    flags: argparse.Namespace, topic: str, numbers: list[int] | None, place: Place
) -> tuple[dict[tuple[str, int], int], dict[tuple[str, int], int]]:
    """By partition, where to begin, and where its end is now."""
    from ottla.commands.group_facts import ends_of, offsets_at, partitions_of
    from ottla.commands.offsets import target_offset

    with connect.admin(flags) as client:
        from kafka.admin import OffsetSpec

        partitions = partitions_of(client, topic, numbers)
        starts = offsets_at(client, dict.fromkeys(partitions, OffsetSpec.EARLIEST))
        ends = ends_of(client, partitions, committed=flags.committed)
        times = offsets_at(client, dict.fromkeys(partitions, place.number)) if place.kind == "time" else {}
    begin = {
        at: target_offset(place, starts[at], ends[at], None, times.get(at), f"{at[0]}:{at[1]}")
        for at in partitions
        if at in starts and at in ends
    }
    return begin, ends


class _Printer:
    """Prints one record, as the flags want it."""

    def __init__(self, flags: argparse.Namespace, out: Output) -> None:
        self._flags = flags
        self._out = out
        self._view = RecordView.of(flags, out)

    def show(self, record: Any) -> None:
        separator = self._flags.key_separator
        if self._out.json:
            self._out.json_line(self._view.json_object(record))
        elif self._flags.raw:
            key = b"" if separator is None else (record.key or b"") + separator.encode()
            sys.stdout.buffer.write(key + (record.value or b"") + b"\n")
        else:
            key_text = "" if separator is None else self._view.key_text(record) + separator
            self._out.line(key_text + self._view.value_text(record).lstrip("\n"))
