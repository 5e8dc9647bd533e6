"""`ottla serve`: its flags, and a broker that runs until it is told to stop. What flags mean is decided in
broker/options.py.

Only argparse is imported up front; trio and the broker (broker/app.py) are when the flags are right.
"""

from __future__ import annotations

import argparse
import gc
import sys
from functools import partial

from ottla.broker.errors import StartupError
from ottla.broker.logs import FORMATS, LEVELS, Log
from ottla.broker.options import serve_options
from ottla.commands.base import EXIT_OK, Parser

_DESCRIPTION = """\
Start a broker and run it until Ctrl-C or SIGTERM. When clients may come it prints one line, the ready line, on
stdout; its log goes to stderr.
"""

_EPILOG = """\
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


def define(parser: Parser) -> None:
    """The flags of `ottla serve`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.usage = "ottla serve [option ...]"
    parser.set_defaults(run=run)
    where = parser.add_argument_group("where clients reach it")
    where.add_argument(
        "--listen",
        metavar="[NAME://]HOST:PORT",
        action="append",
        help="address to listen on, [::1]:9092 for IPv6; port 0 picks a free one; may be repeated, with a NAME for"
        " listeners that advertise different addresses; replaces listeners and advertised.listeners of the file"
        " (default: port 9092 of 127.0.0.1 and ::1)",
    )
    where.add_argument(
        "--advertise",
        metavar="[NAME://]HOST[:PORT]",
        action="append",
        help="address that clients of the listener NAME, or of all, are told to connect to (default: the one they came"
        " to); may be repeated",
    )
    where.add_argument(
        "--nodes",
        metavar="N|PORT,PORT,...",
        help="be a cluster of N nodes in one process, on ports after each other or on the given ones (default: 1)",
    )
    where.add_argument("--racks", metavar="RACK,RACK,...", help="the rack of each node")
    where.add_argument(
        "--port-file", metavar="FILE", help="write the port listened on to FILE when ready, a line a node"
    )
    where.add_argument(
        "--control",
        metavar="[HOST:]PORT",
        help="serve the control surface there: nodes, faults and more over HTTP, see `ottla node` (default: nowhere)",
    )
    where.add_argument(
        "--faults",
        metavar="FILE",
        help="order the faults of a YAML file, a list of rules, from the first request on (see `ottla fault add`)",
    )
    data = parser.add_argument_group("topics and records")
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
    data.add_argument(
        "--snapshot",
        metavar="NAME|FILE",
        help="begin with all that a snapshot holds, in a data folder that is empty or temporary (see `ottla snapshot`)",
    )
    settings = parser.add_argument_group("settings, by Kafka's names")
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
    output = parser.add_argument_group("what it tells")
    output.add_argument(
        "--log-format", choices=FORMATS, default="text", help="ready line and log as text or as JSON (default: text)"
    )
    output.add_argument(
        "--log-level", choices=tuple(LEVELS), default="info", help="the least that is logged (default: info)"
    )
    output.add_argument(
        "--record",
        metavar="FILE",
        help="write every request and response to FILE, decoded, as JSON lines; a file that is there is replaced"
        " (see `ottla replay`, and `ottla trace` to look on)",
    )


def run(flags: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM. `flags.started_ms`: the system clock's `mono_ms` when the process began, for
    the ready line. Raises UsageError, StartupError.
    """
    log = Log(sys.stderr, flags.log_format, level=flags.log_level)
    options = serve_options(flags, log)

    gc.disable()  # importing makes 300 modules and no garbage: looking for some is 15 of 165 ms of CPU
    import trio

    from ottla.broker.app import serve
    from ottla.log.data_folder import StoreError
    from ottla.wire.errors import KafkaError

    gc.freeze()  # else all of it is looked at now
    gc.enable()
    try:
        trio.run(partial(serve, options, started_ms=flags.started_ms))
    except Exception as error:
        cause = error
        while isinstance(cause, ExceptionGroup) and len(cause.exceptions) == 1:  # it left a nursery
            cause = cause.exceptions[0]
        if isinstance(cause, KafkaError):  # of the log, at start or at the end
            raise StartupError(f"{cause.message or cause}; see to that and start again") from error
        if isinstance(cause, StartupError | StoreError):
            raise StartupError(str(cause)) from error
        raise
    return EXIT_OK
