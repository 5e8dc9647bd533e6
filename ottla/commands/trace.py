"""`ottla trace`: the requests that a broker serves and what it answers, a line each, as they pass. Talks to the control
surface; what a line of it has in it is decided in broker/control/trace.py.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from ottla.broker.logs import one_line
from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.comparing import error_codes
from ottla.commands.control import Control, add_flag
from ottla.commands.output import Output
from ottla.wire.errors import ErrorCode

Line = dict[str, Any]

_EPILOG = """\
A line has the time, the connection, the client id, the API and its version, what was asked, and after the arrow what
became of it: ok or the error codes, and how long that took. A request shows when it is answered. Through --control
the broker is asked to watch itself; as long as nobody looks, that costs it nothing. Secrets are not shown.

examples:
  ottla serve --control 9990
  ottla trace --control 9990
  ottla trace --control 9990 --api JoinGroup
  ottla trace --control 9990 --topic orders --client-id billing
  ottla trace --control 9990 --json > trace.jsonl
"""

_MOST_SHOWN: Final = 5  # partitions, topics, keys in a line
_TOPIC_NAMES: Final = ("name", "topic", "topicName")
_PARTITION_NAMES: Final = ("index", "partition", "partitionIndex", "partitionId")
_OFFSET_NAMES: Final = ("fetchOffset", "committedOffset", "timestamp", "offset")
_HOLD_TOPICS: Final = frozenset(
    ("topics", "topicData", "responses", "topicPartitions", "v3AndBelowTopics", "groups", "transactions")
)
_WORDS: Final = {  # a field of a request -> how a line calls it
    "clientSoftwareName": "client",
    "clientSoftwareVersion": "version",
    "groupId": "group",
    "generationId": "generation",
    "generationIdOrMemberEpoch": "generation",
    "memberEpoch": "epoch",
    "memberId": "member",
    "transactionalId": "transaction",
    "producerId": "producer",
    "producerEpoch": "epoch",
    "committed": "commit",
    "key": "key",
    "coordinatorKeys": "key",
    "groupIds": "group",
    "groupsNames": "group",
    "maxWaitMs": "wait_ms",
}
_ACKS: Final = {-1: "all"}
_LONGEST_ID: Final = 24  # others are shown by their end


def define(parser: Parser) -> None:
    """The flags of `ottla trace`."""
    parser.description = "Show the requests that a broker serves and what it answers, as they pass, until Ctrl-C."
    parser.epilog = _EPILOG
    parser.set_defaults(run=_run)
    parser.add_argument("--api", metavar="NAME", help="only requests of this API, as Produce or JoinGroup")
    parser.add_argument("--topic", metavar="NAME", help="only requests and answers that name this topic")
    parser.add_argument("--client-id", metavar="ID", help="only requests of this client id")
    add_flag(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object for each request, a line each")


def _run(flags: argparse.Namespace) -> int:
    control, out = Control(flags), Output.of(flags)
    query = {"api": flags.api, "topic": flags.topic, "client-id": flags.client_id}
    for line in control.lines("trace", query={name: text for name, text in query.items() if text is not None}):
        if out.json:
            out.json_line(line)
        else:
            if line.get("missed"):
                out.line(out.paint(f"... {line['missed']} more, faster than they could be shown", "yellow"))
            out.line(line_text(line, out))
        out.flush()
    return EXIT_OK


def line_text(line: Line, out: Output) -> str:
    """A request and its answer, in one line for people."""
    when = datetime.fromtimestamp(line["timeMs"] / 1000).strftime("%H:%M:%S.%f")[:-3]
    api = f"{line['api']} v{line['version']}" if "api" in line else "?"
    ok, outcome = _outcome(line)
    took = f" {line['durationMs']:g} ms" if "durationMs" in line else ""
    return " ".join(
        [
            out.paint(when, "dim"),
            f"#{line['connection']}",
            one_line(line.get("clientId") or "-"),
            out.paint(api, "bold"),
            *map(one_line, _essence(line)),
            "->",
            out.paint(one_line(outcome), "green" if ok else "red") + took,
        ]
    )


def _essence(line: Line) -> Iterator[str]:
    """The words that tell this request from others of its API."""
    request = line.get("request")
    if request is None:
        yield "not readable" if "frame" in line else ""
        return
    for name, word in _WORDS.items():
        value = request.get(name)
        if value not in (None, "", -1, []):
            yield f"{word}={_few(value) if isinstance(value, list) else _brief(str(value))}"
    if "acks" in request:
        yield f"acks={_ACKS.get(request['acks'], request['acks'])}"
    if line["api"] == "Metadata" and request.get("topics") is None:
        yield "all topics"
    yield from _shortened(list(_topics(request, line.get("topicNames", {}))))
    for side in (request, line.get("response")):
        sums = Counter[str]()
        for records in _found(side, "records"):
            if isinstance(records, dict):
                sums.update(records)
        if sums["batches"]:
            yield f"{sums['records']} records, {sums['bytes']} B"


def _topics(value: Any, names: dict[str, str]) -> Iterator[str]:
    """topic:partition@offset of each partition that a request names; topics without partitions by name."""
    if not isinstance(value, dict):
        return
    for field, items in value.items():
        if field in ("resources", "topicNames", "subscribedTopicNames") and isinstance(items, list):
            yield from (str(item.get("resourceName")) if isinstance(item, dict) else str(item) for item in items)
        if field not in _HOLD_TOPICS or not isinstance(items, list):
            continue
        for item in items:
            if not isinstance(item, dict):
                yield str(item)
                continue
            topic = next((str(item[name]) for name in _TOPIC_NAMES if item.get(name)), None)
            topic = topic or names.get(item.get("topicId", ""), item.get("topicId"))
            partitions = next(
                (item[name] for name in item if name.startswith("partition") and isinstance(item[name], list)), None
            )
            if topic is None:  # a group, or a transaction
                yield from (
                    f"{word}={item[name]}" for name, word in _WORDS.items() if name.endswith("Id") and item.get(name)
                )
                yield from _topics(item, names)
            elif not partitions:
                count = item.get("numPartitions", -1)
                yield topic if count < 0 else f"{topic}:{count}"
            else:
                yield from (f"{topic}:{_partition(partition)}" for partition in partitions)


def _partition(partition: Any) -> str:
    if not isinstance(partition, dict):
        return str(partition)
    number = next((str(partition[name]) for name in _PARTITION_NAMES if name in partition), "?")
    offset = next((f"@{partition[name]}" for name in _OFFSET_NAMES if name in partition), "")
    return number + offset


def _shortened(words: list[str]) -> list[str]:
    more = len(words) - _MOST_SHOWN
    return words if more <= 0 else [*words[:_MOST_SHOWN], f"(and {more} more)"]


def _brief(text: str) -> str:
    return text if len(text) <= _LONGEST_ID else f"..{text[-8:]}"


def _few(values: list[Any]) -> str:
    return ",".join(_shortened([str(value) for value in values]))


def _outcome(line: Line) -> tuple[bool, str]:
    """Whether all went well, and what became of the request."""
    if "refused" in line:
        return False, f"closed: {line['refused']}"
    response = line.get("response")
    if response is None:
        return True, "no answer"
    codes = Counter(code for code in error_codes(response) if code)
    if not codes:
        return True, "ok"
    message = next((text for text in _found(response, "errorMessage") if text), None)
    said = ", ".join(_code_name(code) + (f" x{count}" if count > 1 else "") for code, count in codes.items())
    return False, said if message is None else f"{said} ({message})"


def _code_name(code: int) -> str:
    with suppress(ValueError):
        return ErrorCode(code).name
    return str(code)


def _found(value: Any, name: str) -> Iterator[Any]:
    """All values of the field `name` in a message."""
    if isinstance(value, list):
        for item in value:
            yield from _found(item, name)
    elif isinstance(value, dict):
        if name in value:
            yield value[name]
        for item in value.values():
            yield from _found(item, name)
