"""`ottla topics`: list, describe, create, delete, grow."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from ottla.broker.errors import UsageError
from ottla.broker.names import MAX_PARTITIONS_PER_REQUEST
from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.connect import add_flags, admin, error_of, report
from ottla.commands.output import Output

if TYPE_CHECKING:
    from kafka.admin import KafkaAdminClient

_EPILOG = """\
Without a verb: list.

examples:
  ottla topics
  ottla topics describe orders
  ottla topics create orders:6 audit:1:retention.ms=60000,cleanup.policy=compact,delete
  ottla topics grow orders 12
  ottla topics delete orders audit
  ottla topics list --json -b kafka.example.org:9092
"""


def define(parser: Parser) -> None:
    """The verbs of `ottla topics`."""
    parser.description = "See and change the topics of a cluster."
    parser.epilog = _EPILOG
    parser.default_verb = "list"
    verb = parser.add_command("list", help="list topics, with the number of their partitions and replicas", run=_list)
    verb.add_argument("--internal", action="store_true", help="internal topics too")
    add_flags(verb)
    verb = parser.add_command("describe", help="show leader, replicas and offsets of each partition", run=_describe)
    verb.add_argument("names", metavar="NAME", nargs="*", help="a topic (default: all but internal ones)")
    add_flags(verb)
    verb = parser.add_command("create", help="create topics", run=_create)
    verb.add_argument(
        "topics",
        metavar="NAME[:PARTITIONS[:key=value,...]]",
        nargs="+",
        help="a topic, how many partitions (default: the broker's num.partitions), and configs of its own",
    )
    verb.add_argument("--replication", metavar="N", help="replicas of each partition (default: the broker's)")
    verb.add_argument("--if-not-exists", action="store_true", help="a topic that exists already is no mistake")
    add_flags(verb)
    verb = parser.add_command("grow", help="give a topic more partitions", run=_grow)
    verb.add_argument("name", metavar="NAME", help="the topic")
    verb.add_argument("partitions", metavar="PARTITIONS", help="how many partitions it shall have")
    add_flags(verb)
    verb = parser.add_command("delete", help="delete topics and their records", run=_delete)
    verb.add_argument("names", metavar="NAME", nargs="+", help="a topic")
    verb.add_argument("--if-exists", action="store_true", help="a topic that does not exist is no mistake")
    add_flags(verb)


def described(client: KafkaAdminClient, names: list[str] | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Metadata of topics by name (None: of all), partitions in order; and a sentence for each that is not there."""
    found = sorted(
        client.describe_topics(names) if names is None or names else [], key=lambda topic: topic["name"] or ""
    )
    failures = []
    topics = []
    for topic in found:
        if topic["error_code"]:
            failures.append(error_of(topic["error_code"], None, f"topic {topic['name']}"))
        else:
            topic["partitions"].sort(key=lambda partition: partition["partition_index"])
            topics.append(topic)
    return topics, failures


def _list(flags: argparse.Namespace) -> int:
    out = Output.of(flags)
    with admin(flags) as client:
        topics, failures = described(client, None)
    shown = [
        {
            "name": topic["name"],
            "partitions": len(topic["partitions"]),
            "replication": max((len(partition["replica_nodes"]) for partition in topic["partitions"]), default=0),
            "internal": topic["is_internal"],
        }
        for topic in topics
        if flags.internal or not topic["is_internal"]
    ]
    if out.json:
        out.document(shown)
    elif shown:
        columns = ["name", "partitions", "replication", *(["internal"] if flags.internal else [])]
        out.table(columns, [[topic[column] for column in columns] for topic in shown])
    return report(failures, sys.stderr.write)


def _describe(flags: argparse.Namespace) -> int:
    from kafka.admin import OffsetSpec
    from kafka.structs import TopicPartition

    out = Output.of(flags)
    with admin(flags) as client:
        topics, failures = described(client, sorted(set(flags.names)) or None)
        if not flags.names:
            topics = [topic for topic in topics if not topic["is_internal"]]
        led = [
            TopicPartition(topic["name"], partition["partition_index"])
            for topic in topics
            for partition in topic["partitions"]
            if partition["leader_id"] >= 0
        ]
        start = client.list_partition_offsets(dict.fromkeys(led, OffsetSpec.EARLIEST)) if led else {}
        end = client.list_partition_offsets(dict.fromkeys(led, OffsetSpec.LATEST)) if led else {}
    documents = []
    for topic in topics:
        partitions = []
        for partition in topic["partitions"]:
            at = TopicPartition(topic["name"], partition["partition_index"])
            partitions.append(
                {
                    "partition": partition["partition_index"],
                    "leader": partition["leader_id"] if partition["leader_id"] >= 0 else None,
                    "replicas": partition["replica_nodes"],
                    "in_sync": partition["isr_nodes"],
                    "start": start[at].offset if at in start else None,
                    "end": end[at].offset if at in end else None,
                }
            )
        documents.append(
            {
                "name": topic["name"],
                "id": kafka_id(topic["topic_id"]) if topic.get("topic_id") else None,
                "internal": topic["is_internal"],
                "partitions": partitions,
            }
        )
    if out.json:
        out.document(documents)
    else:
        columns = ["topic", "partition", "leader", "replicas", "in sync", "start", "end"]
        rows = [
            [document["name"], *partition.values()] for document in documents for partition in document["partitions"]
        ]
        if rows:
            out.table(columns, rows)
    return report(failures, sys.stderr.write)


def kafka_id(text: str) -> str:
    """A UUID as Kafka writes it: 22 characters of URL-safe base64."""
    from base64 import urlsafe_b64encode
    from uuid import UUID

    return urlsafe_b64encode(UUID(text).bytes).decode().rstrip("=")


def _create(flags: argparse.Namespace) -> int:
    from ottla.broker.options import parse_topic

    replication = -1 if flags.replication is None else _number(flags.replication, "--replication", 32767)
    wanted = {}
    for text in flags.topics:
        try:
            topic = parse_topic(text)
        except UsageError as error:
            raise UsageError(f"{text}: {error}") from None
        if topic.name in wanted:
            raise UsageError(f"{text}: topic {topic.name} is given twice; leave one out")
        wanted[topic.name] = {
            "num_partitions": topic.partitions,
            "replication_factor": replication,
            "configs": topic.configs,
        }
    out = Output.of(flags)
    with admin(flags) as client:
        answer = client.create_topics(wanted, timeout_ms=client.config["request_timeout_ms"], raise_errors=False)
    failures = []
    created = []
    for topic in answer["topics"]:
        name, code = topic["name"], topic["error_code"]
        exists = code == _TOPIC_ALREADY_EXISTS and flags.if_not_exists
        if code and not exists:
            failures.append(error_of(code, topic.get("error_message"), f"topic {name}"))
            continue
        partitions = topic.get("num_partitions", -1)
        created.append({"name": name, "created": not exists, "partitions": partitions if partitions > 0 else None})
    if out.json:
        out.document(created)
    for entry in created if not out.json else ():
        out.line(_created_line(out, entry))
    return report(failures, sys.stderr.write)


_TOPIC_ALREADY_EXISTS = 36
_UNKNOWN_TOPIC_OR_PARTITION = 3


def _created_line(out: Output, topic: dict[str, Any]) -> str:
    name = out.paint(str(topic["name"]), "bold")
    if not topic["created"]:
        return f"{name} exists already"
    count = topic["partitions"]
    return f"created {name}" + (f" with {count} partition{'s'[: count != 1]}" if count else "")


def _grow(flags: argparse.Namespace) -> int:
    count = _number(flags.partitions, "PARTITIONS", MAX_PARTITIONS_PER_REQUEST)
    out = Output.of(flags)
    with admin(flags) as client:
        answer = client.create_partitions({flags.name: count}, raise_errors=False)
    result = answer.results[0]
    if result.error_code:
        return report([error_of(result.error_code, result.error_message, f"topic {flags.name}")], sys.stderr.write)
    if out.json:
        out.document({"name": flags.name, "partitions": count})
    else:
        out.line(f"{out.paint(flags.name, 'bold')} has {count} partitions")
    return EXIT_OK


def _delete(flags: argparse.Namespace) -> int:
    out = Output.of(flags)
    with admin(flags) as client:
        answer = client.delete_topics(sorted(set(flags.names)), raise_errors=False)
    failures = []
    deleted = []
    for topic in answer["topics"]:
        code = topic["error_code"]
        if code and not (code == _UNKNOWN_TOPIC_OR_PARTITION and flags.if_exists):
            failures.append(error_of(code, topic.get("error_message"), f"topic {topic['name']}"))
        elif not code:
            deleted.append({"name": topic["name"], "deleted": True})
    if out.json:
        out.document(deleted)
    for topic in deleted if not out.json else ():
        out.line(f"deleted {out.paint(topic['name'], 'bold')}")
    return report(failures, sys.stderr.write)


def _number(text: str, what: str, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= most:
        raise UsageError(f"{what} {text}: give a number from 1 to {most}")
    return int(text)
