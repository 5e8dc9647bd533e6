"""Make broker/configs.json, the configs that Kafka knows, from a full machine list of them.

    python tools/make_configs.py CONFIGS.json broker/configs.json

The source is a JSON array of objects: set, name, type, default, and where they apply valid, update, internal, doc.
The result holds the sets that Ottla serves, one config a line so that a new Kafka version shows as a readable diff.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# set in the source: scope in the result
SETS = {
    "topic": "topic",
    "broker": "broker",
    "broker_dynamic_only": "broker",
    "group": "group",
    "client_metrics": "client_metrics",
}
REQUIRED = "<required>"  # the source's word for "Kafka has no default"


def compact(config: dict[str, Any]) -> dict[str, Any]:
    """One config without what can be left out: absent means null, "", false or, for `dynamic`, read-only."""
    result: dict[str, Any] = {"type": config["type"]}
    if config["default"] not in (None, REQUIRED):
        result["default"] = config["default"]
    for key in ("valid", "internal", "doc"):
        if config.get(key):
            result[key] = config[key]
    if config.get("update", "read-only") != "read-only":
        result["dynamic"] = True
    if config.get("update") == "per-broker":
        result["per_broker"] = True
    if config["set"] == "broker_dynamic_only":
        result["hidden"] = True
    return result


def render(source: list[dict[str, Any]]) -> str:
    """The text of broker/configs.json."""
    scopes: dict[str, dict[str, dict[str, Any]]] = {scope: {} for scope in SETS.values()}
    for config in source:
        if config["set"] in SETS:
            scopes[SETS[config["set"]]][config["name"]] = compact(config)
    parts = []
    for scope, configs in scopes.items():
        lines = [f"{json.dumps(name)}: {json.dumps(configs[name])}" for name in sorted(configs)]
        parts.append(f"{json.dumps(scope)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = map(Path, sys.argv[1:])
    target.write_text(render(json.loads(source.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    main()
