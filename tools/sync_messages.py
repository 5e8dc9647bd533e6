"""Keep `wire/messages`, `wire/state` and the table in `wire/apis.py` in step with a Kafka release.

    python tools/sync_messages.py kafka-*.jar     rewrite the modules from the specifications inside these jars
    python tools/sync_messages.py --check         exit 1 if the modules are not what the specifications say

Kafka ships the specification of each message as JSON inside its jars: clients (requests, responses, embedded data),
group-coordinator, transaction-coordinator, share-coordinator, metadata and storage (records). Rewriting also keeps what
was read, without prose, in tests/wire/data/schemas.json.gz; that is what `--check` and a run without jars read.
Not here: what a message means. Nothing in a rewritten module is edited by hand.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKED = ROOT / "tests" / "wire" / "data" / "schemas.json.gz"

Spec = dict[str, Any]

SCALARS = {
    "bool": "bool",
    "int8": "Int8",
    "int16": "Int16",
    "uint16": "Uint16",
    "int32": "Int32",
    "uint32": "Uint32",
    "int64": "Int64",
    "float64": "Float64",
    "string": "str",
    "uuid": "Uuid",
    "bytes": "bytes",
    "records": "Records",
}
KEPT_OF_SPEC = ("apiKey", "type", "listeners", "name", "validVersions", "flexibleVersions", "latestVersionUnstable")
KEPT_OF_FIELD = ("name", "type", "versions", "nullableVersions", "tag", "taggedVersions", "default", "ignorable")

# Who sends each request; the specifications don't say.
CALLERS = {
    "Produce": "producers",
    "Fetch": "consumers, replicas",
    "ListOffsets": "consumers (seek, reset), admin clients (lag)",
    "Metadata": "every client",
    "OffsetCommit": "consumers, tools that reset offsets",
    "OffsetFetch": "consumers, group tools",
    "FindCoordinator": "consumers, transactional producers",
    "JoinGroup": "classic consumers, Connect, Streams",
    "Heartbeat": "classic consumers",
    "LeaveGroup": "classic consumers on close, admin clients (remove members)",
    "SyncGroup": "classic consumers",
    "DescribeGroups": "group tools",
    "ListGroups": "group tools",
    "SaslHandshake": "SASL clients",
    "ApiVersions": "every client, first call",
    "CreateTopics": "admin clients",
    "DeleteTopics": "admin clients",
    "DeleteRecords": "admin clients, Streams (repartition topics)",
    "InitProducerId": "idempotent and transactional producers",
    "OffsetForLeaderEpoch": "consumers (truncation check), replicas",
    "AddPartitionsToTxn": "transactional producers, brokers",
    "AddOffsetsToTxn": "transactional producers",
    "EndTxn": "transactional producers",
    "WriteTxnMarkers": "transaction coordinators, admin clients (abort)",
    "TxnOffsetCommit": "transactional producers",
    "DescribeAcls": "admin clients",
    "CreateAcls": "admin clients",
    "DeleteAcls": "admin clients",
    "DescribeConfigs": "admin clients, Connect",
    "AlterConfigs": "older admin clients",
    "AlterReplicaLogDirs": "admin clients",
    "DescribeLogDirs": "admin clients",
    "SaslAuthenticate": "SASL clients",
    "CreatePartitions": "admin clients",
    "CreateDelegationToken": "admin clients",
    "RenewDelegationToken": "admin clients",
    "ExpireDelegationToken": "admin clients",
    "DescribeDelegationToken": "admin clients",
    "DeleteGroups": "group tools",
    "ElectLeaders": "admin clients",
    "IncrementalAlterConfigs": "admin clients",
    "AlterPartitionReassignments": "admin clients",
    "ListPartitionReassignments": "admin clients",
    "OffsetDelete": "group tools",
    "DescribeClientQuotas": "admin clients",
    "AlterClientQuotas": "admin clients",
    "DescribeUserScramCredentials": "admin clients",
    "AlterUserScramCredentials": "admin clients",
    "DescribeQuorum": "admin clients",
    "UpdateFeatures": "admin clients",
    "DescribeCluster": "admin clients",
    "DescribeProducers": "admin clients",
    "UnregisterBroker": "admin clients",
    "DescribeTransactions": "admin clients",
    "ListTransactions": "admin clients",
    "ConsumerGroupHeartbeat": "consumers with group.protocol=consumer",
    "ConsumerGroupDescribe": "group tools",
    "GetTelemetrySubscriptions": "Java clients, if advertised",
    "PushTelemetry": "Java clients, if advertised",
    "ListConfigResources": "admin clients",
    "DescribeTopicPartitions": "admin clients, else Metadata",
    "ShareGroupHeartbeat": "share consumers",
    "ShareGroupDescribe": "group tools",
    "ShareFetch": "share consumers",
    "ShareAcknowledge": "share consumers",
    "AddRaftVoter": "admin clients",
    "RemoveRaftVoter": "admin clients",
    "InitializeShareGroupState": "group coordinators",
    "ReadShareGroupState": "brokers",
    "WriteShareGroupState": "brokers",
    "DeleteShareGroupState": "group coordinators",
    "ReadShareGroupStateSummary": "group coordinators",
    "StreamsGroupHeartbeat": "Kafka Streams",
    "StreamsGroupDescribe": "group tools",
    "DescribeShareGroupOffsets": "group tools",
    "AlterShareGroupOffsets": "group tools",
    "DeleteShareGroupOffsets": "group tools",
    "StreamsGroupTopologyDescriptionUpdate": "Kafka Streams",
    "UnregisterController": "admin clients",
}

STATE_MODULES = {
    "consumer_offsets": (
        "Records of the topic `__consumer_offsets`: what groups are and where they have read to.\n\n"
        "KEY is the record type, the int16 before the key's fields; a value begins with its version as int16\n"
        "(`ottla.wire.state_records` frames both)."
    ),
    "transaction_state": (
        "Records of the topic `__transaction_state`: what each transactional id is doing.\n\n"
        "KEY is the record type, the int16 before the key's fields; a value begins with its version as int16\n"
        "(`ottla.wire.state_records` frames both)."
    ),
    "share_state": (
        "Records of the topic `__share_group_state`: how far a share group has come in each partition.\n\n"
        "KEY is the record type, the int16 before the key's fields; a value begins with its version as int16\n"
        "(`ottla.wire.state_records` frames both)."
    ),
    "cluster_metadata": (
        "Records of the log `__cluster_metadata`: brokers, topics, partitions, configs, features, quotas, ACLs.\n\n"
        "KEY is the record type; `ottla.wire.state.metadata_frame` frames values as this log does."
    ),
    "embedded": (
        "Structures inside other bytes: the consumer protocol's subscription and assignment, control records,\n"
        "the transaction index, the producer snapshot, KRaft's snapshot and voter records."
    ),
}


# --- reading specifications -------------------------------------------------------------------------------------------


def read_jars(paths: list[Path]) -> list[Spec]:
    """Every specification in these jars, reduced to what the wire needs, in a stable order."""
    specs = {}
    for path in paths:
        with zipfile.ZipFile(path) as jar:
            for name in jar.namelist():
                if not name.endswith(".json"):
                    continue
                # A comment stands alone on its line in these files.
                text = re.sub(r"^\s*//.*$", "", jar.read(name).decode(), flags=re.MULTILINE)
                spec = json.loads(text)
                if isinstance(spec, dict) and "validVersions" in spec:
                    specs[spec["name"]] = reduce(spec)
    return sorted(specs.values(), key=lambda spec: (spec["type"], spec.get("apiKey", -1), spec["name"]))


def reduce(spec: Spec) -> Spec:
    def fields(of: list[Spec]) -> list[Spec]:
        kept = []
        for field in of:
            one = {key: field[key] for key in KEPT_OF_FIELD if field.get(key) is not None}
            one.setdefault("versions", field.get("taggedVersions"))
            if "fields" in field:
                one["fields"] = fields(field["fields"])
            kept.append(one)
        return kept

    out = {key: spec[key] for key in KEPT_OF_SPEC if key in spec}
    out["fields"] = fields(spec.get("fields", []))
    if spec.get("commonStructs"):
        out["commonStructs"] = [
            {"name": common["name"], "fields": fields(common["fields"])} for common in spec["commonStructs"]
        ]
    return out


def read_packed(path: Path) -> list[Spec]:
    specs: list[Spec] = json.loads(gzip.decompress(path.read_bytes()))
    return specs


def pack(specs: list[Spec]) -> bytes:
    """The specifications as one JSON document, gzipped so that equal ones are equal bytes."""
    return gzip.compress(json.dumps(specs, separators=(",", ":")).encode(), mtime=0)


# --- writing Python ---------------------------------------------------------------------------------------------------


def snake(name: str) -> str:
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", text).lower()


def bounds(text: str) -> tuple[int, int | None]:
    """Kafka's notation of versions as (low, high); high None is "and all later ones", (1, 0) is none."""
    if text == "none":
        return 1, 0
    if text.endswith("+"):
        return int(text[:-1]), None
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def flexible_from(spec: Spec) -> int | None:
    text = spec.get("flexibleVersions", "none")
    return None if text == "none" else bounds(text)[0]


class ModuleWriter:
    """The text of one module of messages."""

    def __init__(self, docstring: str) -> None:
        self.docstring = docstring
        self.names = {"Message", "field"}
        self.body: list[str] = []

    def text(self) -> str:
        # As ruff sorts names: classes first, numbers by value.
        width = {name: re.sub(r"\d+", lambda match: match[0].zfill(3), name) for name in self.names}
        imports = ", ".join(sorted(self.names, key=lambda name: (not name[0].isupper(), width[name])))
        line = f"from ottla.wire.schema import {imports}"
        if len(line) > 120:
            names = "".join(f"    {name},\n" for name in imports.split(", "))
            line = f"from ottla.wire.schema import (\n{names})"
        head = [f'"""{self.docstring}"""', "", "from __future__ import annotations", "", line]
        return "\n".join(head + self.body) + "\n"

    def message(self, spec: Spec) -> None:
        name = spec["name"]
        low, high = bounds(spec["validVersions"])
        structs = dict(self.structs(spec))
        self.body += ["", "", f"class {name}(Message):", *self.doc(spec, structs), ""]
        if "apiKey" in spec:
            self.body.append(f"    KEY = {spec['apiKey']}")
        self.body.append(f"    VALID = ({low}, {high})")
        if flexible_from(spec) is not None:
            self.body.append(f"    FLEXIBLE = {flexible_from(spec)}")
        if spec["fields"]:
            self.body.append("")
        for field in spec["fields"]:
            self.field(field, "    ", "", spec)
        for struct, fields in structs.items():
            self.names.add("Struct")
            self.body += ["", f"    class {struct}(Struct):"]
            for field in fields:
                self.field(field, "        ", f"{name}.", spec)

    def structs(self, spec: Spec) -> Iterator[tuple[str, list[Spec]]]:
        """The structs of a message in the order in which its fields meet them."""
        common = {one["name"]: one["fields"] for one in spec.get("commonStructs", [])}

        def walk(fields: list[Spec]) -> Iterator[tuple[str, list[Spec]]]:
            for field in fields:
                name = field["type"].removeprefix("[]")
                inner = field.get("fields") or common.get(name)
                if inner is not None:
                    yield name, inner
                    yield from walk(inner)

        return walk(spec["fields"])

    def doc(self, spec: Spec, structs: dict[str, list[Spec]]) -> list[str]:
        """What each version changed, read off the fields."""
        low, high = bounds(spec["validVersions"])
        assert high is not None
        changes: dict[int, list[str]] = {}
        places = [("", spec["fields"]), *((f"{name}.", fields) for name, fields in structs.items())]
        fresh: dict[str, int] = {}  # the version that brought a struct: its fields are then no news
        for _, fields in places:
            for field in fields:
                name = field["type"].removeprefix("[]")
                if name in structs:
                    since = bounds(field["versions"])[0]
                    fresh[name] = min(fresh.get(name, since), since)
        for prefix, fields in places:
            for field in fields:
                first, last = bounds(field["versions"])
                name = prefix + snake(field["name"])
                if max(low, fresh.get(prefix[:-1], 0)) < first <= high:
                    changes.setdefault(first, []).append(f"+{name}")
                if last is not None and low <= last < high:
                    changes.setdefault(last + 1, []).append(f"-{name}")
        flexible = flexible_from(spec)
        if flexible is not None and low < flexible <= high:
            changes.setdefault(flexible, []).append("flexible")
        if not changes:
            return [f'    """{"One version" if low == high else "The same fields in all versions"}."""']
        lines = ['    """Changes by version.', ""]
        for version in sorted(changes):
            line = f"    v{version}:"
            for change in changes[version]:
                if len(line) + len(change) + 1 > 118:
                    lines.append(line)
                    line = "       "
                line += f" {change},"
            lines.append(line.rstrip(","))
        return [*lines, '    """']

    def field(self, field: Spec, indent: str, qualifier: str, spec: Spec) -> None:
        type_ = field["type"]
        element = type_.removeprefix("[]")
        if element in SCALARS:
            text = SCALARS[element]
            if text == "Records" and spec["type"] == "response":
                text = "SlicedRecords"
            if text[0].isupper():
                self.names.add(text)
        else:
            text = qualifier + element
        if type_.startswith("[]"):
            text = f"list[{text}]"
        arguments = [f'"{field["versions"]}"']
        if field.get("nullableVersions", "none") != "none":
            text += " | None"
            arguments.append(f'nullable="{field["nullableVersions"]}"')
        if "tag" in field:
            arguments.append(f'tag={field["tag"]}, tagged="{field["taggedVersions"]}"')
        default = self.default(field)
        if default is not None:
            arguments.append(f"default={default}")
        if field.get("ignorable") in (True, "true"):
            arguments.append("ignorable=True")
        line = f"{indent}{snake(field['name'])}: {text} = field({', '.join(arguments)})"
        if len(line) <= 120:
            self.body.append(line)
        else:
            self.body.append(f"{indent}{snake(field['name'])}: {text} = field(")
            self.body.append(f"{indent}    {', '.join(arguments)}")
            self.body.append(f"{indent})")

    def default(self, field: Spec) -> str | None:
        """The default as Python, None where it is the type's own zero."""
        value = field.get("default")
        if value is None:
            return None
        if value == "null":
            return "None"
        kind = field["type"]
        if kind == "string":
            return json.dumps(value) if value else None
        if kind == "bool":
            return "True" if value in (True, "true") else None
        if kind == "float64":
            return repr(float(value)) if float(value) else None
        number = int(value, 0) if isinstance(value, str) else value
        return str(number) if number else None


def api_pairs(specs: list[Spec]) -> list[tuple[Spec, Spec]]:
    """Requests that a broker's listener takes, each with its response, by key."""
    responses = {spec["apiKey"]: spec for spec in specs if spec["type"] == "response"}
    return [
        (spec, responses[spec["apiKey"]])
        for spec in sorted(specs, key=lambda spec: spec.get("apiKey", -1))
        if spec["type"] == "request" and "broker" in spec.get("listeners", []) and spec["validVersions"] != "none"
    ]


def state_module(spec: Spec) -> str | None:
    """The module of `wire/state` that a record or an embedded structure lives in; None for those we don't meet."""
    name = spec["name"]
    if spec["type"] in ("coordinator-key", "coordinator-value"):
        if name.startswith("TransactionLog"):
            return "transaction_state"
        return "share_state" if name.startswith(("ShareSnapshot", "ShareUpdate")) else "consumer_offsets"
    if spec["type"] == "metadata":
        return None if name.startswith("Remote") else "cluster_metadata"
    if spec["type"] == "data":
        return None if name == "QuorumStateData" else "embedded"
    return None


def modules(specs: list[Spec]) -> dict[str, str]:
    """Path (from the root) -> text of every module that is written whole."""
    out = {}
    for request, response in api_pairs(specs):
        api = request["name"].removesuffix("Request")
        low, high = bounds(request["validVersions"])
        versions = f"version {low}" if low == high else f"versions {low}-{high}"
        if request.get("latestVersionUnstable"):
            versions += " (the last not stable yet)"
        since = flexible_from(request)
        flexible = "never flexible" if since is None else f"flexible from {since}"
        docstring = f"{api}, api key {request['apiKey']}, {versions}, {flexible}."
        sender = f"Sent by {CALLERS.get(api, 'clients')}."
        whole = f"{docstring} {sender}"
        writer = ModuleWriter(whole if len(whole) <= 114 else f"{docstring}\n\n{sender}\n")
        writer.message(request)
        writer.message(response)
        out[f"wire/messages/{snake(api)}.py"] = writer.text()
    for module, docstring in STATE_MODULES.items():
        writer = ModuleWriter(docstring + ("\n" if "\n" in docstring else ""))
        members = [spec for spec in specs if state_module(spec) == module]
        for spec in sorted(members, key=lambda spec: (spec.get("apiKey", -1), spec["name"])):
            writer.message(spec)
        out[f"wire/state/{module}.py"] = writer.text()
    return out


def api_blocks(specs: list[Spec]) -> dict[str, list[str]]:
    """The two marked blocks of wire/apis.py."""
    keys, rows = [], []
    for request, _ in api_pairs(specs):
        api = request["name"].removesuffix("Request")
        low, high = bounds(request["validVersions"])
        assert high is not None
        keys.append(f"    {snake(api).upper()} = {request['apiKey']}")
        stable = high - 1 if request.get("latestVersionUnstable") else high
        since = flexible_from(request)
        rows.append(f'    ApiSpec(ApiKey.{snake(api).upper()}, "{api}", {low}, {stable}, {since}),')
    return {"keys": keys, "table": rows}


def with_blocks(text: str, blocks: dict[str, list[str]]) -> str:
    """`text` with the lines between `# begin NAME` and `# end NAME` replaced."""
    for name, lines in blocks.items():
        pattern = re.compile(rf"(^ *# begin {name}\b.*\n)(?:.*\n)*?(^ *# end {name}\b)", re.MULTILINE)
        text, found = pattern.subn(lambda match, new=lines: match[1] + "\n".join(new) + "\n" + match[2], text)
        if found != 1:
            raise SystemExit(f"wire/apis.py has no block {name!r}")
    return text


def generate(specs: list[Spec]) -> dict[str, str]:
    """Path (from the root) -> text of all that this script keeps."""
    out = modules(specs)
    out["wire/apis.py"] = with_blocks((ROOT / "wire" / "apis.py").read_text(), api_blocks(specs))
    return out


def differences(wanted: dict[str, str]) -> list[str]:
    """What on disk is not as generated, a line each."""
    found = []
    for path, text in wanted.items():
        file = ROOT / path
        if not file.exists():
            found.append(f"{path} is missing")
        elif file.read_text() != text:
            found.append(f"{path} differs from the specification")
    for file in sorted((ROOT / "wire" / "messages").glob("*.py")):
        path = f"wire/messages/{file.name}"
        if path not in wanted and file.name != "__init__.py":
            found.append(f"{path} is in no specification")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Keep the message classes in step with Kafka's specifications.")
    parser.add_argument("jars", nargs="*", type=Path, help="Kafka jars; without any, the specifications kept here")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a module would change")
    arguments = parser.parse_args()
    specs = read_jars(arguments.jars) if arguments.jars else read_packed(PACKED)
    wanted = generate(specs)
    if arguments.check:
        found = differences(wanted)
        print("\n".join(found) or f"{len(wanted)} modules are as specified")
        return 1 if found else 0
    for path, text in wanted.items():
        (ROOT / path).write_text(text)
    if arguments.jars:
        PACKED.write_bytes(pack(specs))
    print(f"{len(wanted)} modules written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
