"""`ottla log`: the flags and the work are in broker/log_commands.py; here it joins the other commands."""

from __future__ import annotations

import argparse

from ottla.broker import log_commands
from ottla.commands.base import Parser

_DESCRIPTION = """\
Look into the files of a data folder, Ottla's or Kafka's. A broker may be running, but not for a repair.
"""


def define(parser: Parser) -> None:
    """The commands below `ottla log`."""
    parser.description = _DESCRIPTION
    for name, command in log_commands.add_commands(parser).items():
        assert isinstance(command, Parser)
        command.set_defaults(run=_run)
        parser.commands[name.removeprefix("log ")] = command


def _run(flags: argparse.Namespace) -> int:
    return log_commands.run(flags)
