"""`ottla rebalance`: the rebalances of a consumer group on a string, by the control surface of an Ottla broker.

What any Kafka can tell about groups is groups.py's.
"""

from __future__ import annotations

import argparse
import re
from typing import Any

from ottla.broker.errors import UsageError
from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.control import Control
from ottla.commands.node import add_verb
from ottla.commands.output import Output

_EPILOG = """\
examples:
  ottla serve --control 9990                    a broker that can be steered
  export OTTLA_CONTROL=9990
  ottla rebalance show kitchen                  members, and what each has
  ottla rebalance force kitchen                 all join again
  ottla rebalance kick kitchen cook-1           that member is out, and hears so
  ottla rebalance fence kitchen cook-1          what it says next is of an old generation or epoch
  ottla rebalance pin kitchen cook-1=orders:0,1 cook-2=orders:2    who has what, whatever assignors say
  ottla rebalance unpin kitchen
  ottla rebalance move kitchen                  the coordinator goes away and comes back; --to 2: to node 2
  ottla fault add --api JoinGroup --group kitchen --hold before    who joins waits until it is released
"""
_MEMBER = "a member id, instance id or client id"


def define(parser: Parser) -> None:
    """The verbs of `ottla rebalance`."""
    parser.description = "Steer the rebalances of a consumer group, as tests of rebalance listeners need it."
    parser.epilog = _EPILOG
    _verb(parser, "show", _show, "show a group: its members, and what each has")
    _verb(parser, "force", _force, "let the group rebalance")
    for name, run, line in (("kick", _kick, "remove a member"), ("fence", _fence, "make a member's words outdated")):
        _verb(parser, name, run, line).add_argument("member", metavar="MEMBER", help=_MEMBER)
    pin = _verb(parser, "pin", _pin, "say who has what, whatever assignors say")
    pin.add_argument(
        "pins", metavar="MEMBER=TOPIC:P,P,...", nargs="+", type=_pinned, help=f"{_MEMBER}, and its partitions"
    )
    _verb(parser, "unpin", _unpin, "let assignors decide again")
    move = _verb(parser, "move", _move, "move the group's coordinator: away and back, or to a node")
    move.add_argument("--to", metavar="ID", type=int, help="id of the node")


def _verb(parser: Parser, name: str, run: Any, line: str) -> Parser:
    verb = add_verb(parser, name, run, line)
    verb.add_argument("group", metavar="GROUP", help="the group id")
    return verb


def _show(flags: argparse.Namespace) -> int:
    return _group(flags, Control(flags).get("groups", flags.group))


def _force(flags: argparse.Namespace) -> int:
    return _group(flags, Control(flags).post("groups", flags.group, "rebalance"))


def _kick(flags: argparse.Namespace) -> int:
    return _row(flags, Control(flags).post("groups", flags.group, "members", flags.member, "kick"))


def _fence(flags: argparse.Namespace) -> int:
    return _row(flags, Control(flags).post("groups", flags.group, "members", flags.member, "fence"))


def _pin(flags: argparse.Namespace) -> int:
    assignment: dict[str, dict[str, list[int]]] = {}
    for member, topic, partitions in flags.pins:
        assignment.setdefault(member, {}).setdefault(topic, []).extend(partitions)
    return _pins(flags, Control(flags).post("groups", flags.group, "pin", body={"assignment": assignment}))


def _unpin(flags: argparse.Namespace) -> int:
    return _pins(flags, Control(flags).delete("groups", flags.group, "pin"))


def _move(flags: argparse.Namespace) -> int:
    body = {} if flags.to is None else {"node": flags.to}
    return _row(flags, Control(flags).post("groups", flags.group, "coordinator", body=body))


def _group(flags: argparse.Namespace, answer: dict[str, Any]) -> int:
    out = Output.of(flags)
    if out.json:
        out.document(answer)
        return EXIT_OK
    rows = [
        [
            answer["id"],
            answer["state"],
            member["id"],
            member["client_id"],
            member["instance_id"],
            [f"{topic}:{','.join(map(str, indexes))}" for topic, indexes in member["assigned"].items()],
        ]
        for member in answer["members"]
    ]
    out.table(
        ["group", "state", "member", "client id", "instance id", "has"],
        rows or [[answer["id"], answer["state"], None, None, None, None]],
    )
    return EXIT_OK


def _pins(flags: argparse.Namespace, answer: dict[str, Any]) -> int:
    out = Output.of(flags)
    if out.json:
        out.document(answer)
    else:
        rows = [
            [answer["group"], who, topic, ",".join(map(str, indexes))]
            for who, topics in answer["pinned"].items()
            for topic, indexes in topics.items()
        ]
        out.table(["group", "member", "topic", "partitions"], rows)
    return EXIT_OK


def _row(flags: argparse.Namespace, answer: dict[str, Any]) -> int:
    out = Output.of(flags)
    if out.json:
        out.document(answer)
    else:
        out.table(list(answer), [list(answer.values())])
    return EXIT_OK


def _pinned(text: str) -> tuple[str, str, list[int]]:
    found = re.fullmatch(r"(.+)=([^=:]+):(\d+(?:,\d+)*)", text, re.ASCII)
    if found is None:
        raise UsageError(f"{text} is not of the form MEMBER=TOPIC:PARTITION,PARTITION, as in cook-1=orders:0,1")
    return found[1], found[2], [int(index) for index in found[3].split(",")]
