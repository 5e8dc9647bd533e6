"""`ottla configs`: show, set, unset: settings of topics, brokers, loggers, groups and client metrics."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from ottla.broker.errors import UsageError
from ottla.commands.base import EXIT_OK, Parser
from ottla.commands.connect import add_flags, admin, error_of, report
from ottla.commands.output import Output

if TYPE_CHECKING:
    from kafka.admin import KafkaAdminClient

_KINDS: Final = {"topic": 2, "broker": 4, "logger": 8, "client-metrics": 16, "group": 32}
_BROKER, _LOGGER = _KINDS["broker"], _KINDS["logger"]
_ON_ITS_NODE: Final = (_BROKER, _LOGGER)  # only the broker of that id answers for these
_CLUSTER_DEFAULT: Final = "default"  # how the name of the settings for all brokers, which is empty, is written
_SET, _UNSET = 0, 1
_DEFAULT_SOURCE: Final = 5
_SOURCES: Final = {
    1: "topic",
    2: "broker",
    3: "all brokers",
    4: "at start",
    _DEFAULT_SOURCE: "default",
    6: "logger",
    7: "client-metrics",
    8: "group",
}
_TYPES: Final = {1: "boolean", 2: "string", 3: "int", 4: "short", 5: "long", 6: "double", 7: "list", 8: "class"}
_PASSWORD: Final = 9
_NO_EFFECT: Final = "No effect in Ottla:"  # how the documentation of such a setting begins

_EPILOG = """\
Without a verb: show. NAME is that of a topic or group, or the id of a node; for all brokers: default.

examples:
  ottla configs topic orders                          what differs from the defaults, and why
  ottla configs topic orders --all                    all of its settings
  ottla configs show topic                            of all topics
  ottla configs set topic orders retention.ms=60000 cleanup.policy=compact,delete
  ottla configs unset topic orders retention.ms
  ottla configs set broker default message.max.bytes=2000000
  ottla configs set logger 1 root=DEBUG
"""


def define(parser: Parser) -> None:
    """The verbs of `ottla configs`."""
    parser.description = "See and change settings, by Kafka's names, while brokers run."
    parser.epilog = _EPILOG
    parser.default_verb = "show"
    verb = parser.add_command("show", help="show settings that differ from their defaults, and where from", run=_show)
    verb.add_argument("kind", metavar="KIND", choices=tuple(_KINDS), help=f"one of {', '.join(_KINDS)}")
    verb.add_argument("names", metavar="NAME", nargs="*", help="whose settings (default: of all that there are)")
    verb.add_argument("--all", action="store_true", help="those too that have their default")
    verb.add_argument("--docs", action="store_true", help="what each setting does, in the broker's words")
    add_flags(verb)
    verb = parser.add_command("set", help="change settings", run=_change)
    _add_resource(verb)
    verb.add_argument("changes", metavar="key=value", nargs="+", help="a setting and its new value")
    add_flags(verb)
    verb = parser.add_command("unset", help="give settings back their defaults", run=_change)
    _add_resource(verb)
    verb.add_argument("changes", metavar="key", nargs="+", help="a setting")
    add_flags(verb)


def _add_resource(verb: Parser) -> None:
    verb.add_argument("kind", metavar="KIND", choices=tuple(_KINDS), help=f"one of {', '.join(_KINDS)}")
    verb.add_argument("name", metavar="NAME", help="whose setting; a node's id for broker and logger")


def _show(flags: argparse.Namespace) -> int:
    from ottla.commands.requests import describe_configs

    out = Output.of(flags)
    kind = _KINDS[flags.kind]
    names = [_resource_name(kind, name) for name in flags.names]
    with admin(flags) as client:
        if not names:
            names = _all_names(client, kind)
        by_node: dict[int | None, list[tuple[int, str]]] = {}
        for name in dict.fromkeys(names):
            by_node.setdefault(_node_of(kind, name), []).append((kind, name))
        results = [
            result for node, resources in by_node.items() for result in describe_configs(client, resources, node)
        ]
    failures = []
    documents = []
    for result in results:
        if result.error_code:
            what = f"{flags.kind} {_shown_name(kind, result.resource_name)}"
            failures.append(error_of(result.error_code, result.error_message, what))
            continue
        settings = [_setting(config) for config in sorted(result.configs, key=lambda config: str(config.name))]
        if not flags.all:
            settings = [setting for setting in settings if setting["source"] != "default"]
        documents.append({"kind": flags.kind, "name": _shown_name(kind, result.resource_name), "settings": settings})
    if out.json:
        out.document(documents)
    else:
        _print(out, documents, len(names) > 1, docs=flags.docs)
    if not out.json and documents and not any(document["settings"] for document in documents):
        sys.stderr.write("all have their defaults; --all shows them\n")
    return report(failures, sys.stderr.write)


def _all_names(client: KafkaAdminClient, kind: int) -> list[str]:
    if kind == _KINDS["topic"]:
        return sorted(topic["name"] for topic in client.describe_topics() if not topic["is_internal"])
    if kind in _ON_ITS_NODE:
        return sorted((str(node["broker_id"]) for node in client.describe_cluster()["brokers"]), key=int)
    found = client.list_config_resources([kind])
    return sorted(name for names in found.values() for name in names)


def _setting(config: Any) -> dict[str, Any]:
    secret = bool(config.is_sensitive)
    docs = config.documentation or None
    return {
        "name": config.name,
        "value": None if secret else config.value,
        "source": _SOURCES.get(config.config_source, str(config.config_source)),
        "type": "password" if config.config_type == _PASSWORD else _TYPES.get(config.config_type),
        "sensitive": secret,
        "read_only": bool(config.read_only),
        "no_effect": no_effect(docs),
        "documentation": docs,
    }


def no_effect(documentation: str | None) -> str | None:
    """Why a setting does nothing in Ottla, by the first sentence of its documentation; None if it does something."""
    if documentation is None or not documentation.startswith(_NO_EFFECT):
        return None
    reason = documentation.removeprefix(_NO_EFFECT).strip()
    return reason.split(". ", 1)[0].split("\n", 1)[0].rstrip(".") or "it is only stored"


def _print(out: Output, documents: list[dict[str, Any]], several: bool, *, docs: bool) -> None:
    noted = any(setting["no_effect"] for document in documents for setting in document["settings"])
    columns = [*(["of"] if several else []), "name", "value", "source", *(["note"] if noted else [])]
    rows = []
    for document in documents:
        for setting in document["settings"]:
            value = "(hidden)" if setting["sensitive"] else setting["value"]
            row = [setting["name"], '""' if value == "" else value, setting["source"]]
            note = [f"no effect in Ottla: {setting['no_effect']}" if setting["no_effect"] else ""] if noted else []
            rows.append([*([document["name"]] if several else []), *row, *note])
    if docs:
        for row, setting in zip(rows, [s for document in documents for s in document["settings"]], strict=True):
            out.table(columns, [row])
            out.line(out.paint(_wrapped(setting["documentation"] or "(the broker says nothing about it)"), "dim"))
            out.line()
    elif rows:
        out.table(columns, rows)


def _wrapped(text: str) -> str:
    import re
    import textwrap

    from ottla.broker.logs import one_line

    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text)).strip()  # Kafka's documentation is written in HTML
    return textwrap.fill(one_line(plain), 100, initial_indent="  ", subsequent_indent="  ")


def _change(flags: argparse.Namespace) -> int:
    from ottla.commands.requests import alter_configs

    out = Output.of(flags)
    kind = _KINDS[flags.kind]
    name = _resource_name(kind, flags.name)
    setting = flags.parser.prog.endswith(" set")
    changes: list[tuple[str, int, str | None]] = [
        _parse_change(text) if setting else (_parse_key(text), _UNSET, None) for text in flags.changes
    ]
    keys = [key for key, _, _ in changes]
    if len(set(keys)) < len(keys):
        raise UsageError(f"{max(keys, key=keys.count)} is given twice; leave one out")
    with admin(flags) as client:
        code, message = alter_configs(client, kind, name, changes, _node_of(kind, name))
    if code:
        return report([error_of(code, message, f"{flags.kind} {flags.name}")], sys.stderr.write)
    if out.json:
        out.document({"kind": flags.kind, "name": flags.name, "changed": {key: value for key, _, value in changes}})
    else:
        for key, _, value in changes:
            out.line(f"{flags.kind} {flags.name}: {key}" + (f"={value}" if setting else " has its default again"))
    return EXIT_OK


def _parse_change(text: str) -> tuple[str, int, str | None]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"{text} is not of the form key=value, as in retention.ms=60000")
    return key.strip(), _SET, value.strip()


def _parse_key(text: str) -> str:
    if "=" in text or not text.strip():
        raise UsageError(f"{text} is no name of a setting; to unset one, give the name alone, as in retention.ms")
    return text.strip()


def _resource_name(kind: int, text: str) -> str:
    if kind == _BROKER and text == _CLUSTER_DEFAULT:
        return ""
    if kind in _ON_ITS_NODE and not (text.isascii() and text.isdecimal()):
        what = "broker" if kind == _BROKER else "logger"
        more = f", or {_CLUSTER_DEFAULT} for all of them" if kind == _BROKER else ""
        raise UsageError(f"{what} {text}: give the id of a node, as `ottla nodes` lists them{more}")
    return text


def _shown_name(kind: int, name: str) -> str:
    return _CLUSTER_DEFAULT if kind == _BROKER and not name else name


def _node_of(kind: int, name: str) -> int | None:
    return int(name) if kind in _ON_ITS_NODE and name else None
