"""`ottla metrics`: what clients pushed of their own metrics (KIP-714). Talks to the control surface.

Which metrics they are asked for is a config of the cluster: `ottla configs`, or kafka-client-metrics.sh.
"""

from __future__ import annotations

import argparse
from typing import Any

from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.control import Control, add_flag
from ottla.commands.output import Output
from ottla.commands.places import time_text

_EPILOG = """\
examples:
  ottla metrics                              the client instances that pushed
  ottla metrics u6pmCrV2Rpq3AUbCpC10yQ       the metrics that this one pushed last
  ottla metrics --json u6pmCrV2Rpq3AUbCpC10yQ
"""


def define(parser: Parser) -> None:
    """The flags of `ottla metrics`."""
    parser.description = (
        "Show the metrics that clients push to the broker, once a client-metrics subscription asks them to."
    )
    parser.epilog = _EPILOG
    parser.add_argument("instance", metavar="INSTANCE", nargs="?", help="id of a client instance (default: list them)")
    add_flag(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=_run)


def _run(flags: argparse.Namespace) -> int:
    control, out = Control(flags), Output.of(flags)
    path = ("client-metrics",) if flags.instance is None else ("client-metrics", flags.instance)
    answer = control.get(*path)
    if out.json:
        out.document(answer)
    elif flags.instance is None:
        _show_instances(out, answer["instances"])
    else:
        _show_metrics(out, answer)
    return EXIT_OK


def _show_instances(out: Output, instances: list[dict[str, Any]]) -> None:
    rows = [
        [
            one["client_instance_id"],
            one["client_id"],
            f"{one['client_software_name']} {one['client_software_version']}",
            f"{one['client_source_address']}:{one['client_source_port']}",
            one["pushes"],
            time_text(one["last_push_ms"]),
            one["terminating"],
        ]
        for one in instances
    ]
    out.table(["instance", "client", "software", "address", "pushes", "last push", "ended"], rows)


def _show_metrics(out: Output, payload: dict[str, Any]) -> None:
    rows = [
        [
            metric["name"],
            metric["kind"],
            point["value"],
            metric["unit"],
            " ".join(f"{name}={value}" for name, value in point["attributes"].items()),
        ]
        for metric in payload["metrics"]
        for point in metric["points"]
    ]
    out.table(["metric", "kind", "value", "unit", "labels"], rows)
