"""`ottla offsets`: where topics begin and end, what groups have committed, and how to move a group."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from ottla.broker.errors import UsageError
from ottla.commands.base import EXIT_OK, CommandError, Parser
from ottla.commands.connect import add_flags, admin, error_of, report
from ottla.commands.output import Output
from ottla.commands.places import Place, parse_partitions, parse_place
from ottla.log.clock import SystemClock

if TYPE_CHECKING:
    from kafka.admin import KafkaAdminClient

    from ottla.commands.group_facts import Partition

_EPILOG = """\
Without a verb: topic.

examples:
  ottla offsets orders                                    where each partition begins and ends
  ottla offsets orders --at 15m                           and the first offset of the last 15 minutes
  ottla offsets show billing                              what a group has committed
  ottla offsets reset billing --topic orders --to earliest            what it would do
  ottla offsets reset billing --topic orders --to earliest --execute
  ottla offsets reset billing --topic orders:0,2 --to 2026-11-23T10:00 --execute
  ottla offsets delete billing orders                     forget what it has committed there
"""

_RESET_DESCRIPTION = """\
Move a group: commit other offsets for it. It must have no members. Without --execute nothing changes, and what would is
shown. Offsets beyond a partition's ends become its ends, as does a time after the last record.
"""


def define(parser: Parser) -> None:
    """The verbs of `ottla offsets`."""
    parser.description = "See offsets of topics and of groups, and move groups."
    parser.epilog = _EPILOG
    parser.default_verb = "topic"
    verb = parser.add_command("topic", help="show where the partitions of topics begin and end", run=_topic)
    verb.add_argument("topics", metavar="TOPIC[:PARTITION,...]", nargs="+", help="a topic, or some of its partitions")
    verb.add_argument("--at", metavar="TIME", help="the first offset since then too: 15m ago, or 2026-11-23T10:00")
    add_flags(verb)
    verb = parser.add_command("show", help="show what groups have committed", run=_show)
    verb.add_argument("names", metavar="GROUP", nargs="+", help="a group")
    add_flags(verb)
    verb = parser.add_command("reset", help="move a group", description=_RESET_DESCRIPTION, run=_reset)
    verb.add_argument("name", metavar="GROUP", help="the group; one that is new is made")
    verb.add_argument(
        "--topic", metavar="TOPIC[:PARTITION,...]", action="append", default=[], help="where; may be repeated"
    )
    verb.add_argument("--all-topics", action="store_true", help="in all topics that the group has committed")
    verb.add_argument(
        "--to",
        metavar="PLACE",
        required=True,
        help="earliest, latest, an offset, a time as 2026-11-23T10:00 or @MILLISECONDS, a time ago as 15m or 2h, or a"
        " shift from what is committed, as --to=-10 or --to +10",
    )
    verb.add_argument("--execute", action="store_true", help="do it")
    add_flags(verb)
    verb = parser.add_command("delete", help="forget what a group has committed in topics", run=_delete)
    verb.add_argument("name", metavar="GROUP", help="the group")
    verb.add_argument("topics", metavar="TOPIC[:PARTITION,...]", nargs="+", help="a topic, or some of its partitions")
    add_flags(verb)


def _topic(flags: argparse.Namespace) -> int:
    from kafka.admin import OffsetSpec

    from ottla.commands.group_facts import offsets_at

    since = None if flags.at is None else parse_place(flags.at, SystemClock().wall_ms())
    if since is not None and since.kind != "time":
        raise UsageError(f"--at {flags.at} is no time; give one as 15m (ago), 2026-11-23T10:00 or @MILLISECONDS")
    topics = [parse_partitions(text) for text in flags.topics]
    out = Output.of(flags)
    with admin(flags) as client:
        partitions = _partitions(client, topics)
        starts = offsets_at(client, dict.fromkeys(partitions, OffsetSpec.EARLIEST))
        ends = offsets_at(client, dict.fromkeys(partitions, OffsetSpec.LATEST))
        times = offsets_at(client, dict.fromkeys(partitions, since.number)) if since is not None else {}
    documents = []
    for at in partitions:
        start, end = starts.get(at), ends.get(at)
        document: dict[str, Any] = {"topic": at[0], "partition": at[1], "start": start, "end": end}
        if since is not None:
            found = times.get(at)
            document["at"] = end if found == -1 else found  # -1: no record since, so what comes next
        document["offsets"] = end - start if start is not None and end is not None else None
        documents.append(document)
    if out.json:
        out.document(documents)
    else:
        out.table(list(documents[0]), [list(document.values()) for document in documents])
    return EXIT_OK


def _partitions(client: KafkaAdminClient, topics: list[tuple[str, list[int] | None]]) -> list[Partition]:
    from ottla.commands.group_facts import partitions_of

    return sorted({at for topic, numbers in topics for at in partitions_of(client, topic, numbers)})


def _show(flags: argparse.Namespace) -> int:
    from ottla.commands.group_facts import listed, positions

    out = Output.of(flags)
    documents = []
    failures = []
    with admin(flags) as client:
        known = listed(client)
        for group in dict.fromkeys(flags.names):
            if group not in known:
                failures.append(f"there is no group {group}; `ottla groups` lists the groups there are")
                continue
            for at in positions(client, group):
                document = {"group": group, "topic": at.topic, "partition": at.partition}
                documents.append(document | {"committed": at.committed, "end": at.end, "lag": at.lag})
    if out.json:
        out.document(documents)
    elif documents:
        out.table(list(documents[0]), [list(document.values()) for document in documents])
    return report(failures, sys.stderr.write)


def _reset(flags: argparse.Namespace) -> int:
    from ottla.commands.group_facts import committed_offsets, described, listed

    place = parse_place(flags.to, SystemClock().wall_ms(), shift=True)
    if bool(flags.topic) == flags.all_topics:
        raise UsageError("say where: --topic TOPIC (or TOPIC:PARTITION,...), or --all-topics that the group has read")
    topics = [parse_partitions(text) for text in flags.topic]
    out = Output.of(flags)
    with admin(flags) as client:
        is_known = flags.name in listed(client)
        committed = committed_offsets(client, flags.name) if is_known else {}
        partitions = _partitions(client, topics) if topics else sorted(committed)
        if not partitions:
            raise CommandError(f"group {flags.name} has committed nothing; name topics with --topic")
        plan = _plan(client, partitions, committed, place)
        if flags.execute:
            groups, failures = described(client, [flags.name]) if is_known else ([], [])
            if failures:
                raise CommandError(failures[0])
            if groups and groups[0].members:
                raise CommandError(
                    f"group {flags.name} has {len(groups[0].members)} members, which would commit over it; stop them"
                    " first (`ottla groups members` shows who they are)"
                )
            _commit(client, flags.name, plan)
    documents = [
        {"group": flags.name, "topic": at[0], "partition": at[1], "from": committed.get(at), "to": offset}
        for at, offset in plan.items()
    ]
    if out.json:
        out.document({"executed": flags.execute, "offsets": documents})
        return EXIT_OK
    out.table(list(documents[0]), [list(document.values()) for document in documents])
    if not flags.execute:
        sys.stderr.write("nothing has changed yet; --execute does it\n")
    return EXIT_OK


def _plan(
    client: KafkaAdminClient, partitions: list[Partition], committed: dict[Partition, int], place: Place
) -> dict[Partition, int]:
    from kafka.admin import OffsetSpec

    from ottla.commands.group_facts import offsets_at

    starts = offsets_at(client, dict.fromkeys(partitions, OffsetSpec.EARLIEST))
    ends = offsets_at(client, dict.fromkeys(partitions, OffsetSpec.LATEST))
    times = offsets_at(client, dict.fromkeys(partitions, place.number)) if place.kind == "time" else {}
    for at in partitions:
        if at not in starts or at not in ends:
            raise CommandError(f"partition {at[1]} of topic {at[0]} has no leader just now; try again")
    return {
        at: target_offset(place, starts[at], ends[at], committed.get(at), times.get(at), f"{at[0]}:{at[1]}")
        for at in partitions
    }


def target_offset(
    place: Place, start: int, end: int, committed: int | None, at_time: int | None, partition: str
) -> int:
    """The offset that `place` means in a partition from `start` to `end`; `at_time` is that of its time, -1 for none.

    Raises CommandError for a shift from nothing.
    """
    if place.kind == "earliest":
        return start
    if place.kind == "latest":
        return end
    if place.kind == "shift":
        if committed is None:
            raise CommandError(f"nothing is committed for {partition}, so that there is nothing to shift from")
        wanted = committed + place.number
    elif place.kind == "time":
        wanted = end if at_time is None or at_time < 0 else at_time
    else:
        wanted = place.number
    return min(max(wanted, start), end)


def _commit(client: KafkaAdminClient, group: str, plan: dict[Partition, int]) -> None:
    from kafka.errors import NoError
    from kafka.structs import OffsetAndMetadata, TopicPartition

    offsets = {TopicPartition(*at): OffsetAndMetadata(offset, "", -1) for at, offset in plan.items()}
    for at, error in client.alter_group_offsets(group, offsets).items():
        if error is not NoError:
            raise CommandError(error_of(error.errno, None, f"group {group}, partition {at.partition} of {at.topic}"))


def _delete(flags: argparse.Namespace) -> int:
    from kafka.errors import NoError
    from kafka.structs import TopicPartition

    from ottla.commands.group_facts import committed_offsets, listed

    topics = [parse_partitions(text) for text in flags.topics]
    out = Output.of(flags)
    with admin(flags) as client:
        if flags.name not in listed(client):
            raise CommandError(f"there is no group {flags.name}; `ottla groups` lists the groups there are")
        committed = committed_offsets(client, flags.name)
        wanted = [
            TopicPartition(*at)
            for at in sorted(committed)
            if any(at[0] == topic and (numbers is None or at[1] in numbers) for topic, numbers in topics)
        ]
        if not wanted:
            raise CommandError(f"group {flags.name} has committed nothing there; `ottla offsets show` tells where")
        results = client.delete_group_offsets(flags.name, wanted)
    failures = []
    deleted = []
    for at, error in sorted(results.items()):
        if error is NoError:
            deleted.append({"group": flags.name, "topic": at.topic, "partition": at.partition})
        else:
            failures.append(error_of(error.errno, None, f"topic {at.topic}"))
    if out.json:
        out.document(deleted)
    for item in deleted if not out.json else ():
        out.line(f"{flags.name} has forgotten {item['topic']}:{item['partition']}")
    return report(failures, sys.stderr.write)
