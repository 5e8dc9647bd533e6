"""`ottla wait`: returns when a broker is ready, for scripts and CI."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Final

from ottla.commands.base import EXIT_OK, CommandError, Parser
from ottla.commands.connect import Target, add_flags, admin_of, error_of, prepare_library, probe, target
from ottla.commands.output import Output
from ottla.log.clock import SystemClock

_PAUSE_S: Final = 0.1
_UNKNOWN_TOPIC_OR_PARTITION: Final = 3
_TRY_MS: Final = 1000
_PROBE_MS: Final = 2000  # for one try; a broker that starts may accept before it answers

_EPILOG = """\
--timeout says for how long to wait at most.

examples:
  ottla wait && ottla topics create orders:6
  ottla wait --topic orders --topic audit --timeout 60 -b kafka:9092

exit codes: 0 ready, 1 not ready in time (the sentence says why), 2 wrong flags.
"""


def define(parser: Parser) -> None:
    """The flags of `ottla wait`."""
    parser.description = (
        "Wait until a broker answers and, if topics are named, until all their partitions have leaders."
    )
    parser.epilog = _EPILOG
    parser.set_defaults(run=_run)
    parser.add_argument(
        "--topic", metavar="NAME", action="append", default=[], help="wait for this topic too; may be repeated"
    )
    add_flags(parser)


def _run(flags: argparse.Namespace) -> int:
    out = Output.of(flags)
    cluster = target(flags)
    clock = SystemClock()
    began = clock.mono_ms()
    until = began + cluster.timeout_ms
    _until_it_works(lambda left: probe(cluster, min(left, _PROBE_MS)), until, clock)
    prepare_library(verbose=flags.verbose)
    _until_it_works(lambda left: _check(cluster, flags.topic, left), until, clock)
    if out.json:
        out.document({"ready": True, "bootstrap": str(cluster), "waited_ms": clock.mono_ms() - began})
    return EXIT_OK


def _until_it_works(attempt: Callable[[int], None], until_ms: int, clock: SystemClock) -> None:
    """Calls `attempt` with the ms that it has until it raises no CommandError; raises the last when time is up.

    Each attempt has a second, even at the end, so that it can find out what is amiss.
    """
    while True:
        try:
            return attempt(max(_TRY_MS, until_ms - clock.mono_ms()))
        except CommandError as error:
            if clock.mono_ms() >= until_ms:
                raise CommandError(f"not ready in time: {error}") from error
        time.sleep(_PAUSE_S)


def _check(cluster: Target, topics: list[str], left_ms: int) -> None:
    with admin_of(Target(cluster.bootstrap, cluster.options, left_ms)) as client:
        found = {topic["name"]: topic for topic in client.describe_topics(topics)}
        nodes = client.describe_cluster()["brokers"]
    if not nodes:
        raise CommandError(f"{cluster} answers, but knows of no nodes yet; look into the broker's log")
    for name in topics:
        topic = found.get(name)
        if topic is None or topic["error_code"] == _UNKNOWN_TOPIC_OR_PARTITION:
            raise CommandError(f"there is no topic {name}; create it with `ottla topics create {name}`")
        if topic["error_code"]:
            raise CommandError(error_of(topic["error_code"], None, f"topic {name}"))
        without = [str(part["partition_index"]) for part in topic["partitions"] if part["leader_id"] < 0]
        if without or not topic["partitions"]:
            raise CommandError(f"topic {name} has no leader for partition {','.join(without)}; are all nodes up?")
