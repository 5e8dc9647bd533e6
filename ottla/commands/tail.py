"""`ottla tail`: the last records of topics, and with -f those that come."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from ottla.commands import connect, record_view
from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.consume import parse_count
from ottla.commands.output import Output
from ottla.commands.places import parse_partitions
from ottla.commands.record_view import RecordView

if TYPE_CHECKING:
    from kafka import KafkaConsumer

    from ottla.commands.group_facts import Partition

_WIDER: Final = 8  # times as far back, if offsets without records were in between

_EPILOG = """\
Shown are topic:partition:offset, the timestamp, the key, the headers and the value; on a terminal JSON is laid out.

examples:
  ottla tail orders                      the last 10 records
  ottla tail -f orders audit             and all that come, of two topics, until Ctrl-C
  ottla tail -n 1 orders:0 --json        the last record of partition 0
  ottla tail orders --avro order.avsc    values decoded by an Avro schema
"""


def define(parser: Parser) -> None:
    """The flags of `ottla tail`."""
    parser.description = "Show the last records of topics, and follow them."
    parser.epilog = _EPILOG
    parser.set_defaults(run=_run)
    parser.add_argument("topics", metavar="TOPIC[:PARTITION,...]", nargs="+", help="a topic, or some of its partitions")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    parser.add_argument("-n", "--count", metavar="COUNT", default="10", help="how many records at first (default: 10)")
    record_view.add_flags(parser)
    connect.add_flags(parser, json="print a JSON object for each record, a line each")


def _run(flags: argparse.Namespace) -> int:
    from ottla.commands.group_facts import ends_of, offsets_at, partitions_of
    from ottla.commands.reading import isolation, read

    topics = [parse_partitions(text) for text in flags.topics]
    count = 0 if flags.count == "0" else parse_count(flags.count, "-n")
    out = Output.of(flags)
    view = RecordView.of(flags, out)
    with connect.admin(flags) as client:
        from kafka.admin import OffsetSpec

        partitions = sorted({at for topic, numbers in topics for at in partitions_of(client, topic, numbers)})
        starts = offsets_at(client, dict.fromkeys(partitions, OffsetSpec.EARLIEST))
        ends = ends_of(client, partitions, committed=flags.committed)
    starts = {at: offset for at, offset in starts.items() if at in ends}

    def show(records: list[Any]) -> None:
        for record in records:
            if out.json:
                out.json_line(view.json_object(record))
            else:
                out.line(view.line(record))
        out.flush()

    options = {"isolation_level": isolation(flags), "auto_offset_reset": "earliest"}
    with connect.consumer(flags, **options) as consumer:
        show(last_records(consumer, starts, ends, count, connect.parse_timeout_ms(flags.timeout)))
        if flags.follow:
            _begin(consumer, ends)
            for batch in read(consumer):
                show(sorted(batch, key=lambda record: int(record.timestamp)))
    return EXIT_OK


def last_records(
    consumer: KafkaConsumer, starts: dict[Partition, int], ends: dict[Partition, int], count: int, idle_ms: int
) -> list[Any]:
    """The last `count` records over all partitions, by timestamp, and by offset within a partition."""
    from ottla.commands.reading import read

    window = count
    while count:
        begin = {at: max(starts[at], ends[at] - window) for at in starts}
        wanted = {at: offset for at, offset in begin.items() if offset < ends[at]}
        records: list[Any] = []
        if wanted:
            _begin(consumer, wanted)
            for batch in read(consumer, ends=ends, idle_ms=idle_ms):
                records += batch
        if len(records) >= count or all(begin[at] == starts[at] for at in starts):
            return latest(records, count)
        window *= _WIDER
    return []


def latest(records: list[Any], count: int) -> list[Any]:
    """The last `count` of these records. In a partition timestamps may go back, its offsets must not."""
    when: dict[tuple[str, int], int] = {}
    keyed = []
    for record in sorted(records, key=lambda record: (record.topic, record.partition, record.offset)):
        at = (record.topic, record.partition)
        when[at] = max(when.get(at, record.timestamp), record.timestamp)
        keyed.append((when[at], record.topic, record.partition, record.offset, record))
    keyed.sort(key=lambda item: item[:4])
    return [item[4] for item in keyed[-count:]]


def _begin(consumer: KafkaConsumer, offsets: dict[Partition, int]) -> None:
    from kafka.structs import TopicPartition

    consumer.assign([TopicPartition(*at) for at in offsets])
    for at, offset in offsets.items():
        consumer.seek(TopicPartition(*at), offset)
