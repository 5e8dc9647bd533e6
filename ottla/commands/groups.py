"""`ottla groups`: list, describe, members, delete."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ottla.commands.base import Parser
from ottla.commands.connect import add_flags, admin, code_sentence, report
from ottla.commands.output import NOTHING, Output

_EPILOG = """\
Without a verb: list. What a group has committed is moved by `ottla offsets reset`.

examples:
  ottla groups
  ottla groups describe billing        how far it is in each partition, and who reads that
  ottla groups members billing
  ottla groups delete billing
  ottla groups list --state Empty --json
"""


def define(parser: Parser) -> None:
    """The verbs of `ottla groups`."""
    parser.description = "See and delete the consumer groups of a cluster."
    parser.epilog = _EPILOG
    parser.default_verb = "list"
    verb = parser.add_command("list", help="list groups, with state and type", run=_list)
    verb.add_argument("--state", metavar="STATE", help="only those in this state, as Stable or Empty")
    verb.add_argument("--type", metavar="TYPE", help="only those of this type, as classic or consumer")
    add_flags(verb)
    verb = parser.add_command("describe", help="show how far groups are, their lag, and who reads what", run=_describe)
    verb.add_argument("names", metavar="GROUP", nargs="+", help="a group")
    add_flags(verb)
    verb = parser.add_command("members", help="show the members of groups", run=_members)
    verb.add_argument("names", metavar="GROUP", nargs="+", help="a group")
    add_flags(verb)
    verb = parser.add_command("delete", help="delete groups that have no members", run=_delete)
    verb.add_argument("names", metavar="GROUP", nargs="+", help="a group")
    add_flags(verb)


def _list(flags: argparse.Namespace) -> int:
    from ottla.commands.group_facts import listed

    out = Output.of(flags)
    with admin(flags) as client:
        groups = list(listed(client).values())
    for name in ("state", "type"):
        wanted = getattr(flags, name)
        if wanted is not None:
            groups = [group for group in groups if str(group[name]).lower() == wanted.lower()]
    if out.json:
        out.document(groups)
    elif groups:
        out.table(["group", "state", "type", "protocol"], [list(group.values()) for group in groups])
    return 0


def _describe(flags: argparse.Namespace) -> int:
    from ottla.commands.group_facts import described, positions

    out = Output.of(flags)
    documents: list[dict[str, Any]] = []
    with admin(flags) as client:
        groups, failures = described(client, list(dict.fromkeys(flags.names)))
        for group in groups:
            readers = {partition: member for member in group.members for partition in member.partitions}
            parts = []
            for at in positions(client, group.id, set(readers)):
                reader = readers.get((at.topic, at.partition))
                parts.append(
                    {
                        "topic": at.topic,
                        "partition": at.partition,
                        "committed": at.committed,
                        "end": at.end,
                        "lag": at.lag,
                        "member": reader.id if reader else None,
                        "client": reader.client_id if reader else None,
                        "host": reader.host if reader else None,
                    }
                )
            documents.append(
                {
                    "group": group.id,
                    "state": group.state,
                    "type": group.type,
                    "assignor": group.assignor or None,
                    "coordinator": group.coordinator,
                    "members": len(group.members),
                    "lag": sum(part["lag"] or 0 for part in parts),
                    "partitions": parts,
                }
            )
    if out.json:
        out.document(documents)
        return report(failures, sys.stderr.write)
    for number, document in enumerate(documents):
        if number:
            out.line()
        names = ("state", "type", "assignor", "coordinator", "members", "lag")
        facts = "  ".join(f"{name} {document[name] if document[name] is not None else NOTHING}" for name in names)
        out.line(f"{out.paint(document['group'], 'bold')}  {facts}")
        if document["partitions"]:
            columns = ["topic", "partition", "committed", "end", "lag", "client", "host", "member"]
            if not document["members"]:
                columns = columns[:5]
            out.table(columns, [[part[column] for column in columns] for part in document["partitions"]])
    return report(failures, sys.stderr.write)


def _members(flags: argparse.Namespace) -> int:
    from ottla.commands.group_facts import described

    out = Output.of(flags)
    with admin(flags) as client:
        groups, failures = described(client, list(dict.fromkeys(flags.names)))
    members: list[dict[str, Any]] = [
        {
            "group": group.id,
            "client": member.client_id,
            "host": member.host,
            "instance": member.instance_id,
            "partitions": by_topic(member.partitions),
            "member": member.id,
        }
        for group in groups
        for member in sorted(group.members, key=lambda member: (member.client_id, member.id))
    ]
    if out.json:
        out.document(members)
    elif members:
        columns = ["group", "client", "host", "instance", "partitions", "member"]
        rows = []
        for member in members:
            read = "  ".join(f"{topic}:{','.join(map(str, parts))}" for topic, parts in member["partitions"].items())
            rows.append([read if column == "partitions" else member[column] for column in columns])
        out.table(columns, rows)
    return report(failures, sys.stderr.write)


def by_topic(partitions: list[tuple[str, int]]) -> dict[str, list[int]]:
    """Partitions as topic -> numbers, in order."""
    found: dict[str, list[int]] = {}
    for topic, number in sorted(partitions):
        found.setdefault(topic, []).append(number)
    return found


def _delete(flags: argparse.Namespace) -> int:
    from kafka import errors

    out = Output.of(flags)
    with admin(flags) as client:
        answer = client.delete_groups(list(dict.fromkeys(flags.names)))
    failures = []
    deleted = []
    for group, result in answer.items():
        if result == "OK":
            deleted.append({"group": group, "deleted": True})
        else:
            error = getattr(errors, result)
            failures.append(code_sentence(str(error.message), None, f"group {group}", str(error.description or "")))
    if out.json:
        out.document(deleted)
    for item in deleted if not out.json else ():
        out.line(f"deleted {out.paint(str(item['group']), 'bold')}")
    return report(failures, sys.stderr.write)
