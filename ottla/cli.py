"""The root of the `ottla` command line: which commands there are, and what becomes of a mistake.

Exit codes: 0 done or stopped as asked, 1 it could not be done (or a log is damaged), 2 the command line or the config
file is wrong. A command's module (ottla/commands) is imported only when that command is asked for; up front it is
argparse and little else.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Final

from ottla import __version__
from ottla.broker.errors import StartupError, UsageError
from ottla.broker.logs import one_line
from ottla.commands.base import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    CommandError,
    Parser,
)

COMMANDS: Final = {  # name, as that of its module in ottla/commands -> its line in the help
    "serve": "start a broker",
    "topics": "list, describe, create, grow and delete topics",
    "configs": "show, set and unset settings of topics, brokers, groups",
    "groups": "list, describe and delete consumer groups",
    "offsets": "offsets of topics and of groups; reset a group",
    "produce": "write records, from stdin or from the command line",
    "consume": "read records as they come",
    "tail": "show the last records of topics, and follow them",
    "nodes": "list the nodes of a cluster",
    "metrics": "show the metrics that clients pushed",
    "trace": "show requests and answers as they pass a broker",
    "replay": "play a recording of a broker to another, and compare",
    "node": "take nodes of a broker down and up, move leaders and coordinators",
    "rebalance": "steer the rebalances of a consumer group",
    "clock": "show, move and stop the clock of a broker",
    "fault": "order faults of a broker: wrong answers, late ones, lost ones",
    "snapshot": "save all that a broker has to a file, and begin with it again",
    "wait": "wait until a broker is ready, and topics are there",
    "log": "look into the files of a data folder: dump, check",
    "completion": "completion of commands and flags for a shell",
}

_DESCRIPTION = "A broker that speaks the real Kafka protocol, in one Python process, and a client of any Kafka."

_EPILOG = """\
examples:
  ottla serve                                 a broker on localhost:9092, records kept in ./ottla-data
  ottla serve --ephemeral --topic orders:6    a throw-away broker with a topic of 6 partitions
  ottla serve --help                          all that a broker can be told
  ottla topics -b kafka.example.org:9092      the topics of that broker, Ottla or Kafka
  ottla tail -f orders                        the last records of a topic, and those that come
  ottla log dump ottla-data/orders-0/*.log    what is in the files, batch by batch
  ottla log check ottla-data                  is the data folder sound?
"""


def root_parser(*wanted: str) -> Parser:
    """The command line of `ottla`: all commands by name and help, those in `wanted` with their flags."""
    root = Parser(prog="ottla", description=_DESCRIPTION, epilog=_EPILOG)
    root.add_argument("--version", action="version", version=f"ottla {__version__}", help="show the version and exit")
    for name, line in COMMANDS.items():
        command = root.add_command(name, help=line)
        if name in wanted:
            import_module(f"ottla.commands.{name}").define(command)
    return root


def run(argv: Sequence[str], *, started_ms: int) -> int:
    """Run the command line `argv` (without the program's name) and return the exit code.

    `started_ms`: the system clock's `mono_ms` when the process began, for the ready line of a broker.
    """
    try:
        code = _run(argv, started_ms)
        sys.stdout.flush()
        return code
    except UsageError as error:
        return _say(str(error), EXIT_USAGE)
    except (CommandError, StartupError) as error:
        return _say(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered goes nowhere
        return EXIT_BROKEN_PIPE
    except SystemExit as done:  # argparse after --help and --version
        return done.code if isinstance(done.code, int) else EXIT_OK


def _run(argv: Sequence[str], started_ms: int) -> int:
    root = root_parser(*argv[:1])
    command = root.commands.get(argv[0]) if argv else None
    argv = list(argv)
    if command is not None and command.default_verb is not None:
        first = argv[1] if len(argv) > 1 else ""
        if first not in command.commands and first not in ("-h", "--help"):
            argv.insert(1, command.default_verb)
    flags, unknown = root.parse_known_args(argv, argparse.Namespace(started_ms=started_ms))
    if unknown:
        raise UsageError(_describe_unknown(flags.parser, unknown[0], command))
    if "run" not in flags:
        flags.parser.print_help(sys.stderr)
        return EXIT_USAGE
    try:
        code: int = flags.run(flags)
    except (CommandError, StartupError, UsageError, OSError):
        raise
    except Exception as error:
        if getattr(flags, "verbose", True):  # a broker's, or asked for: with all that is known
            raise
        text = f"{type(error).__name__}: {error}"
        raise CommandError(f"this should not happen ({text}); --verbose shows where, please report it") from error
    return code


def _describe_unknown(parser: Parser, argument: str, command: Parser | None) -> str:
    if not argument.startswith("-"):
        if command is not None and argument in command.commands:
            return f"{argument} comes before flags, as in {command.prog} {argument} ... ({command.prog} --help)"
        takes = f"{parser.arguments} and no more" if parser.arguments else "flags only"
        return f"{argument}: {parser.prog} takes {takes} ({parser.prog} --help tells more)"
    import re

    from ottla.broker.config_types import nearest

    flag = argument.partition("=")[0]
    meant = nearest(flag, re.findall(r"--[a-z-]+", parser.format_help()))
    hint = f"; did you mean {meant}?" if meant else ""
    return f"there is no flag {flag}{hint} ({parser.prog} --help lists all)"


def _say(sentence: str, exit_code: int) -> int:
    sys.stderr.write(f"ottla: {one_line(sentence)}\n")
    return exit_code
