"""`ottla clock`: the clock of a broker, shown, moved, stopped and set going, by the control surface."""

from __future__ import annotations

import argparse
from typing import Any

from ottla.broker.durations import parse_ms
from ottla.broker.errors import UsageError
from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.control import Control
from ottla.commands.node import add_verb
from ottla.commands.output import Output

_EPILOG = """\
examples:
  ottla serve --control 9990     a broker that can be steered
  export OTTLA_CONTROL=9990
  ottla clock advance 7d         a week passes: retention, sessions, transactions, offsets fall due, in order
  ottla clock freeze             time stands still until it is moved
  ottla clock resume             it goes on from there
"""


def define(parser: Parser) -> None:
    """The verbs of `ottla clock`."""
    parser.description = "Move the clock of an Ottla broker. What falls due on the way is done before the answer comes."
    parser.epilog = _EPILOG
    parser.default_verb = "show"
    add_verb(parser, "show", _show, "what time it is for the broker")
    advance = add_verb(parser, "advance", _advance, "move the clock forward")
    advance.add_argument("by", metavar="LENGTH", type=_length, help="as 7d, 1h30m or 500ms")
    add_verb(parser, "freeze", _freeze, "let the clock stand still until it is moved")
    add_verb(parser, "resume", _resume, "let the clock go on")


def _show(flags: argparse.Namespace) -> int:
    return _told(flags, Control(flags).get("clock"))


def _advance(flags: argparse.Namespace) -> int:
    return _told(flags, Control(flags).post("clock", "advance", body={"by": flags.by}))


def _freeze(flags: argparse.Namespace) -> int:
    return _told(flags, Control(flags).post("clock", "freeze"))


def _resume(flags: argparse.Namespace) -> int:
    return _told(flags, Control(flags).post("clock", "resume"))


def _told(flags: argparse.Namespace, answer: dict[str, Any]) -> int:
    out = Output.of(flags)
    if out.json:
        out.document(answer)
    else:
        out.table(["now", "clock"], [[answer["now"], "frozen" if answer["frozen"] else "running"]])
    return EXIT_OK


def _length(text: str) -> int:
    try:
        return parse_ms(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
