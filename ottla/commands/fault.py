"""`ottla fault`: faults of an Ottla broker, ordered, shown and taken back, by the control surface.

What a fault is and what is wrong with one the broker says (broker/faults/rules.py).
"""

from __future__ import annotations

import argparse
import re
from typing import Any, Final

from ottla.broker.errors import UsageError
from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.control import Control
from ottla.commands.node import add_verb
from ottla.commands.output import Output
from ottla.commands.places import time_text

_WHEN: Final = ("before", "after")
_EPILOG = """\
examples:
  ottla serve --control 9990                            a broker that can be steered
  export OTTLA_CONTROL=9990
  ottla fault add --api Produce --topic orders --error NOT_LEADER_OR_FOLLOWER --times 3
  ottla fault add --api Produce --drop after --nth 2    the second one is applied, and its answer is lost
  ottla fault add --api Fetch --cut 0.5 --probability 0.1 --seed 7
  ottla fault add --api JoinGroup --group billing --hold before
  ottla fault release 4                                 whom it holds goes on
  ottla fault show 1                                    what it did
  ottla fault rm --all
"""


def define(parser: Parser) -> None:
    """The verbs of `ottla fault`."""
    parser.description = "Order faults of an Ottla broker: wrong answers, late ones, lost ones, none at all."
    parser.epilog = _EPILOG
    parser.default_verb = "list"
    add_verb(parser, "list", _list, "show the faults that are ordered, and how often each fired")
    _define_add(add_verb(parser, "add", _add, "order a fault: which requests, and what becomes of them"))
    show = add_verb(parser, "show", _show, "show what a fault did, each time")
    show.add_argument("fault", metavar="ID", type=_number, help="its number")
    show.add_argument("--wait-fired", metavar="N", type=_number, help="wait until it has fired so often")
    show.add_argument("--wait-held", metavar="N", type=_number, help="wait until it holds so many requests at once")
    show.add_argument("--timeout", metavar="LENGTH", help="wait no longer than this, as 10s (default: 10s)")
    remove = add_verb(parser, "rm", _remove, "take faults back; whom they hold they let go")
    remove.add_argument("faults", metavar="ID", type=_number, nargs="*", help="their numbers")
    remove.add_argument("--all", action="store_true", help="all that there are")
    release = add_verb(parser, "release", _release, "let go whom a fault holds")
    release.add_argument("fault", metavar="ID", type=_number, help="its number")
    release.add_argument("--keep", action="store_true", help="hold those that come later (default: hold nobody more)")


def _define_add(add: Parser) -> None:
    which = add.add_argument_group("which requests: those that match all that is given")
    which.add_argument("--api", metavar="NAME", help="as Produce or JoinGroup")
    which.add_argument("--versions", metavar="RANGE", help="of the API, as 9, 9- or 3-7")
    which.add_argument("--topic", metavar="NAME", help="those that name this topic")
    which.add_argument("--partition", metavar="N", type=_number, help="those that name this partition")
    which.add_argument("--group", metavar="NAME", help="those that name this group")
    which.add_argument("--client-id", metavar="ID", help="those of clients of this id")
    which.add_argument("--connection", metavar="N", type=_number, help="those of the broker's Nth connection")
    which.add_argument("--node", metavar="ID", type=_number, help="those that come to this node")
    often = add.add_argument_group("when, and how often")
    often.add_argument("--nth", metavar="N", type=_number, help="the Nth that matches, or with --times from it on")
    often.add_argument("--times", metavar="N", type=_number, help="so often (default: until it is taken back)")
    often.add_argument("--probability", metavar="P", type=_share, help="each time with this probability, as 0.5")
    often.add_argument("--seed", metavar="N", type=_number, help="decides the chances: the same seed, the same faults")
    what = add.add_argument_group("what becomes of them: one of these")
    what.add_argument("--error", metavar="NAME", help="this error, for the partitions that match or as a whole")
    what.add_argument("--delay", metavar="LENGTH", help="a delay, as 500ms, by the broker's clock")
    what.add_argument("--when", choices=_WHEN, help="delay before (default) or after applying")
    what.add_argument("--drop", choices=_WHEN, help="the connection closes before, or after applying without answer")
    what.add_argument("--cut", metavar="BYTES", type=_much, help="so much of the answer, 10 bytes or 0.5, then close")
    what.add_argument("--corrupt", choices=("crc",), help="a batch in the answer of a Fetch has a wrong CRC")
    what.add_argument("--throttle", metavar="LENGTH", help="throttled for so long, as 1s")
    what.add_argument("--hold", choices=_WHEN, help="held until released, before or after applying")
    what.add_argument("--stale", action="store_true", default=None, help="metadata as it is now, whatever happens")
    what.add_argument("--fence", choices=("leader", "producer", "member"), help="an epoch really goes up before")


_FIELDS: Final = (
    *("api", "versions", "topic", "partition", "group", "client_id", "connection", "node"),
    *("nth", "times", "probability", "seed"),
    *("error", "delay", "when", "drop", "cut", "corrupt", "throttle", "hold", "stale", "fence"),
)
_COUNTS: Final = ("id", "seen", "fired", "held", "over", "log")


def _add(flags: argparse.Namespace) -> int:
    order = {name: value for name in _FIELDS if (value := getattr(flags, name)) is not None}
    return _told(flags, Control(flags).post("faults", body=order))


def _list(flags: argparse.Namespace) -> int:
    return _told_all(flags, Control(flags).get("faults"))


def _show(flags: argparse.Namespace) -> int:
    query = {
        name: str(value)
        for name in ("wait_fired", "wait_held", "timeout")
        if (value := getattr(flags, name)) is not None
    }
    answer = Control(flags).get("faults", flags.fault, query=query)
    out = Output.of(flags)
    if out.json:
        out.document(answer)
        return EXIT_OK
    _told(flags, answer)
    out.line()
    rows = [
        [each["n"], time_text(each["time_ms"]), each["api"], each["client_id"], each["partitions"], each["did"]]
        for each in answer["log"]
    ]
    out.table(["n", "time", "api", "client", "partitions", "what it did"], rows)
    return EXIT_OK


def _remove(flags: argparse.Namespace) -> int:
    if flags.all == bool(flags.faults):
        raise UsageError("ottla fault rm takes the numbers of faults, or --all (`ottla fault list` shows them)")
    control = Control(flags)
    if flags.all:
        return _told_all(flags, control.delete("faults"))
    for number in flags.faults:
        control.delete("faults", number)
    return _told_all(flags, control.get("faults"))


def _release(flags: argparse.Namespace) -> int:
    return _told(flags, Control(flags).post("faults", flags.fault, "release", body={"keep": flags.keep}))


def _told(flags: argparse.Namespace, fault: dict[str, Any]) -> int:
    out = Output.of(flags)
    if out.json:
        out.document(fault)
    else:
        _table(out, [fault])
    return EXIT_OK


def _told_all(flags: argparse.Namespace, answer: dict[str, Any]) -> int:
    out = Output.of(flags)
    if out.json:
        out.document(answer)
    else:
        _table(out, answer["faults"])
    return EXIT_OK


def _table(out: Output, faults: list[dict[str, Any]]) -> None:
    rows = [
        [
            fault["id"],
            ", ".join(f"{name} {value}" for name, value in fault.items() if name not in _COUNTS),
            fault["fired"],
            fault["held"],
            "over" if fault["over"] else "waiting",
        ]
        for fault in faults
    ]
    out.table(["id", "fault", "fired", "holds", "state"], rows)


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise UsageError(f"{text} is no number; give one as 3")
    return int(text)


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text} is no probability; give one above 0 and up to 1, as 0.5") from None


def _much(text: str) -> int | float:
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return int(text)
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text} is no part of an answer; give a number of bytes, or a share as 0.5") from None
