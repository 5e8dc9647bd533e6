"""The `ottla` command line: flags in, exit code out. What flags mean is decided in options.py.

Exit codes: 0 stopped as asked, 1 the broker could not start (or a log is damaged), 2 the command line or the config
file is wrong. Only argparse is imported up front; trio and the broker (app.py) are when they are needed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from ottla import __version__
from ottla.broker.errors import StartupError
from ottla.broker.logs import FORMATS, LEVELS, Log, one_line
from ottla.broker.options import UsageError, serve_options

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, what a shell reports

_DESCRIPTION = "A broker that speaks the real Kafka protocol, in one Python process."

_EPILOG = """\
examples:
  ottla serve                                 a broker on localhost:9092, records kept in ./ottla-data
  ottla serve --ephemeral --topic orders:6    a throw-away broker with a topic of 6 partitions
  ottla serve --help                          all that a broker can be told
  ottla log dump ottla-data/orders-0/*.log    what is in the files, batch by batch
  ottla log check ottla-data                  is the data folder sound?
"""

_SERVE_DESCRIPTION = """\
Start a broker and run it until Ctrl-C or SIGTERM. When clients may come it prints one line, the ready line, on
stdout; its log goes to stderr.
"""

_SERVE_EPILOG = """\
Flags win over --set, --set over the file of --config, the file over the defaults.

examples:
  ottla serve --ephemeral --listen 127.0.0.1:0 --port-file port.txt
      any free port, its number written to port.txt, nothing left behind at exit
  ottla serve --listen 0.0.0.0:9092 --topic orders:6:retention.ms=60000,cleanup.policy=compact,delete
      reachable from other machines, with a topic that has configs of its own
  ottla serve --config server.properties --data ./data --set num.partitions=3
      a configuration written for Kafka, two things of it changed

exit codes: 0 stopped as asked; 1 it could not start (a port that is taken, a data folder that is locked or not
writable); 2 the command line or the file of --config is wrong.
"""


_LOG_DESCRIPTION = """\
Look into the files of a data folder, Ottla's or Kafka's. A broker may be running, but not for a repair.
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage of everything."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help tells more)")


def parsers(argv: Sequence[str] = ()) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The command line of `ottla`, and that of each of its commands; those of `ottla log` if `argv` asks for it."""
    raw = argparse.RawDescriptionHelpFormatter
    root = _Parser(prog="ottla", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw, allow_abbrev=False)
    root.add_argument("--version", action="version", version=f"ottla {__version__}", help="show the version and exit")
    commands = root.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="start a broker",
        description=_SERVE_DESCRIPTION,
        epilog=_SERVE_EPILOG,
        formatter_class=raw,
        allow_abbrev=False,
        usage="ottla serve [option ...]",
    )
    where = serve.add_argument_group("where clients reach it")
    where.add_argument(
        "--listen",
        metavar="HOST:PORT",
        action="append",
        help="address to listen on, [::1]:9092 for IPv6; port 0 picks a free one; may be repeated; replaces listeners"
        " and advertised.listeners of the file (default: port 9092 of 127.0.0.1 and ::1)",
    )
    where.add_argument(
        "--advertise",
        metavar="HOST[:PORT]",
        help="address that clients are told to connect to (default: the one they came to)",
    )
    where.add_argument("--port-file", metavar="FILE", help="write the port listened on to FILE when ready")
    data = serve.add_argument_group("topics and records")
    data.add_argument(
        "--topic",
        metavar="NAME[:PARTITIONS[:key=value,...]]",
        action="append",
        help="a topic that exists before clients may come, with Kafka's topic configs; may be repeated",
    )
    data.add_argument("--data", metavar="DIR", help="folder that keeps the records (default: ./ottla-data)")
    data.add_argument(
        "--ephemeral", action="store_true", help="keep the records in a temporary folder, removed at exit"
    )
    settings = serve.add_argument_group("settings, by Kafka's names")
    settings.add_argument(
        "--config",
        metavar="FILE",
        help="a Kafka server.properties; what is unknown or without effect here is said once in the log",
    )
    settings.add_argument(
        "--set",
        metavar="key=value",
        action="append",
        help="one broker setting, as in num.partitions=3; may be repeated",
    )
    settings.add_argument(
        "--feature",
        metavar="NAME=LEVEL",
        action="append",
        help="level of a feature, as in transaction.version=1 for the older transaction protocol; may be repeated"
        " (default: the level it has, at first the highest)",
    )
    output = serve.add_argument_group("what it tells")
    output.add_argument(
        "--log-format", choices=FORMATS, default="text", help="ready line and log as text or as JSON (default: text)"
    )
    output.add_argument(
        "--log-level", choices=tuple(LEVELS), default="info", help="the least that is logged (default: info)"
    )
    log = commands.add_parser(
        "log",
        help="look into the files of a data folder: dump, check",
        description=_LOG_DESCRIPTION,
        formatter_class=raw,
        allow_abbrev=False,
    )
    known: dict[str, argparse.ArgumentParser] = {"serve": serve, "log": log}
    if argv[:1] == ["log"]:
        from ottla.broker.log_commands import add_commands

        known |= add_commands(log)
    return root, known


def run(argv: Sequence[str], *, started_ms: int) -> int:
    """Run the command line `argv` (without the program's name) and return the exit code.

    `started_ms`: the system clock's `mono_ms` when the process began, for the ready line.
    """
    try:
        return _run(argv, started_ms)
    except UsageError as error:
        return _say(str(error), EXIT_USAGE)
    except KeyboardInterrupt:  # before there was anything to stop
        return EXIT_INTERRUPTED
    except SystemExit as done:  # argparse after --help and --version
        return done.code if isinstance(done.code, int) else EXIT_OK


def _run(argv: Sequence[str], started_ms: int) -> int:
    root, commands = parsers(argv)
    flags, unknown = root.parse_known_args(argv)
    name = f"log {flags.log_command}" if flags.command == "log" and flags.log_command else flags.command
    command = commands.get(name, root)
    if unknown:
        raise UsageError(_describe_unknown(command, unknown[0]))
    if name in (None, "log"):
        command.print_help(sys.stderr)
        return EXIT_USAGE
    if flags.command == "log":
        from ottla.broker import log_commands

        try:
            return log_commands.run(flags)
        except StartupError as error:
            return _say(str(error), EXIT_FAILED)
    log = Log(sys.stderr, flags.log_format, level=flags.log_level)
    options = serve_options(flags, log)

    import trio

    from ottla.broker.app import serve
    from ottla.log.store import StoreError
    from ottla.wire.errors import KafkaError

    try:
        trio.run(partial(serve, options, started_ms=started_ms))
    except Exception as error:
        cause = error
        while isinstance(cause, ExceptionGroup) and len(cause.exceptions) == 1:  # it left a nursery
            cause = cause.exceptions[0]
        if isinstance(cause, KafkaError):  # of the log, at start or at the end
            return _say(f"{cause.message or cause}; see to that and start again", EXIT_FAILED)
        if not isinstance(cause, StartupError | StoreError):
            raise
        return _say(str(cause), EXIT_FAILED)
    return EXIT_OK


def _describe_unknown(command: argparse.ArgumentParser, argument: str) -> str:
    if not argument.startswith("-"):
        takes = "flags only" if command.prog == "ottla serve" else "one folder"
        return f"{argument}: {command.prog} takes {takes} ({command.prog} --help tells more)"
    import re

    from ottla.broker.config_types import nearest

    flag = argument.partition("=")[0]
    meant = nearest(flag, re.findall(r"--[a-z-]+", command.format_help()))
    hint = f"; did you mean {meant}?" if meant else ""
    return f"there is no flag {flag}{hint} ({command.prog} --help lists all)"


def _say(sentence: str, exit_code: int) -> int:
    sys.stderr.write(f"ottla: {one_line(sentence)}\n")
    return exit_code
