"""`ottla nodes`: who is in the cluster."""

from __future__ import annotations

import argparse

from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.connect import add_flags, admin
from ottla.commands.output import Output

_EPILOG = """\
examples:
  ottla nodes
  ottla nodes --json -b kafka.example.org:9092
"""


def define(parser: Parser) -> None:
    """The flags of `ottla nodes`."""
    parser.description = "List the nodes of a cluster: where clients reach them, and which one is the controller."
    parser.epilog = _EPILOG
    parser.set_defaults(run=_run)
    add_flags(parser)


def _run(flags: argparse.Namespace) -> int:
    out = Output.of(flags)
    with admin(flags) as client:
        cluster = client.describe_cluster()
    nodes = [
        {
            "id": node["broker_id"],
            "host": node["host"],
            "port": node["port"],
            "rack": node["rack"],
            "controller": node["broker_id"] == cluster["controller_id"],
            "fenced": bool(node.get("is_fenced", False)),
        }
        for node in sorted(cluster["brokers"], key=lambda node: int(node["broker_id"]))
    ]
    if out.json:
        out.document({"cluster": cluster["cluster_id"], "nodes": nodes})
        return EXIT_OK
    columns = ["id", "host", "port", "rack", "controller"]
    if any(node["fenced"] for node in nodes):
        columns.append("fenced")
    marks = {"controller": "*", "fenced": "fenced"}
    rows = []
    for node in nodes:
        rows.append([(marks[name] if node[name] else "") if name in marks else node[name] for name in columns])
    out.table(columns, rows)
    return EXIT_OK
