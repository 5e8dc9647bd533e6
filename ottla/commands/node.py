"""`ottla node`: take nodes of an Ottla cluster down and up, move leaders and coordinators, by the control surface.

What any Kafka can tell about nodes is nodes.py's.
"""

from __future__ import annotations

import argparse
import re
from typing import Any

from ottla.broker.errors import UsageError
from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.control import Control, add_flag
from ottla.commands.output import Output

_EPILOG = """\
examples:
  ottla serve --nodes 3 --control 9990       a cluster of three nodes that can be steered
  export OTTLA_CONTROL=9990
  ottla node stop 2                          its clients are cut off, others lead its partitions
  ottla node start 2                         it is back, and in sync
  ottla node leader orders:0 3               node 3 leads partition 0 of orders
  ottla node isr orders:0 1,3                node 2 falls out of sync
  ottla node coordinator group billing 3     node 3 coordinates the group billing
"""


def define(parser: Parser) -> None:
    """The verbs of `ottla node`."""
    parser.description = "Steer the nodes of an Ottla cluster, as tests of failures need it."
    parser.epilog = _EPILOG
    parser.default_verb = "list"
    add_verb(parser, "list", _list, "show the nodes: up or down, what each leads and coordinates")
    for name, run, line in (
        ("stop", _stop, "take a node down: others lead its partitions, its clients are cut off"),
        ("start", _start, "bring a node up again: it catches up and is in sync"),
    ):
        add_verb(parser, name, run, line).add_argument("node", metavar="ID", type=_node, help="id of the node")
    leader = add_verb(parser, "leader", _leader, "give the lead of a partition to one of its replicas")
    leader.add_argument("partition", metavar="TOPIC:PARTITION", type=_partition, help="as in orders:0")
    leader.add_argument("node", metavar="ID", type=_node, help="id of the node")
    isr = add_verb(parser, "isr", _isr, "say which replicas of a partition are in sync")
    isr.add_argument("partition", metavar="TOPIC:PARTITION", type=_partition, help="as in orders:0")
    isr.add_argument("isr", metavar="ID,ID,...", type=_nodes, help="ids of the nodes, the leader among them")
    coordinator = add_verb(parser, "coordinator", _coordinator, "move the coordinator of a group or transactional id")
    coordinator.add_argument("kind", choices=("group", "transaction"), help="what is coordinated")
    coordinator.add_argument("key", metavar="NAME", help="the group id or transactional id")
    coordinator.add_argument("node", metavar="ID", type=_node, help="id of the node")


def add_verb(parser: Parser, name: str, run: Any, line: str) -> Parser:
    """A verb that talks to the control surface."""
    verb = parser.add_command(name, help=line, run=run)
    add_flag(verb)
    verb.add_argument("--json", action="store_true", help="print one JSON document")
    return verb


def _list(flags: argparse.Namespace) -> int:
    return _show_nodes(flags, Control(flags).get("nodes"))


def _stop(flags: argparse.Namespace) -> int:
    return _show_nodes(flags, Control(flags).post("nodes", flags.node, "stop"))


def _start(flags: argparse.Namespace) -> int:
    return _show_nodes(flags, Control(flags).post("nodes", flags.node, "start"))


def _leader(flags: argparse.Namespace) -> int:
    topic, index = flags.partition
    answer = Control(flags).post("partitions", topic, index, "leader", body={"node": flags.node})
    return _show_partition(flags, answer)


def _isr(flags: argparse.Namespace) -> int:
    topic, index = flags.partition
    return _show_partition(flags, Control(flags).post("partitions", topic, index, "isr", body={"isr": flags.isr}))


def _coordinator(flags: argparse.Namespace) -> int:
    answer = Control(flags).post(f"{flags.kind}s", flags.key, "coordinator", body={"node": flags.node})
    out = Output.of(flags)
    if out.json:
        out.document(answer)
    else:
        out.table([flags.kind, "coordinator"], [[answer[flags.kind], answer["coordinator"]]])
    return EXIT_OK


def _show_nodes(flags: argparse.Namespace, answer: dict[str, Any]) -> int:
    out = Output.of(flags)
    if out.json:
        out.document(answer)
        return EXIT_OK
    columns = ["id", "state", "rack", "listeners", "leads", "coordinates"]
    rows = [
        [
            node["id"],
            "up" if node["up"] else "down",
            node["rack"],
            [f"{listener['name']}://{listener['host']}:{listener['port']}" for listener in node["listeners"]],
            node["leads"],
            node["coordinates"],
        ]
        for node in answer["nodes"]
    ]
    out.table(columns, rows)
    return EXIT_OK


def _show_partition(flags: argparse.Namespace, answer: dict[str, Any]) -> int:
    out = Output.of(flags)
    if out.json:
        out.document(answer)
    else:
        columns = ["topic", "partition", "leader", "leader_epoch", "replicas", "isr"]
        out.table([name.replace("_", " ") for name in columns], [[answer[name] for name in columns]])
    return EXIT_OK


def _node(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise UsageError(f"{text} is no id of a node; give a number (`ottla node list` shows them)")
    return int(text)


def _nodes(text: str) -> list[int]:
    return [_node(part.strip()) for part in text.split(",")]


def _partition(text: str) -> tuple[str, int]:
    topic, _, index = text.rpartition(":")
    if not topic or not re.fullmatch(r"\d{1,9}", index, re.ASCII):
        raise UsageError(f"{text} is not of the form TOPIC:PARTITION, as in orders:0")
    return topic, int(index)
