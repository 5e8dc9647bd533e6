"""Write docs/configs.md: which configs act and which have no effect, and why, from the tables that the broker goes by.

python -m tools.draw_configs          write the page
python -m tools.draw_configs --check  exit code 1 if the one that is there is another
"""

from __future__ import annotations

import sys
from pathlib import Path

from ottla.broker.alter_configs import AT_START
from ottla.broker.config_effects import BROKER, CLIENT_METRICS, GROUP, TOPIC, documentation, effects
from ottla.broker.config_types import OTTLA_DEFAULTS, Definition, definitions

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configs.md"
EFFECTS = ROOT / "broker" / "config_effects.json"
TITLES = {TOPIC: "of topics", BROKER: "of the broker", GROUP: "of groups", CLIENT_METRICS: "of client metrics"}
INTRODUCTION = """\
<!-- written by tools/draw_configs.py from broker/configs.json and broker/config_effects.json -->
# Configs

Ottla knows every config of Apache Kafka 4.4 by its name, checks its value, keeps it, and tells its default, source,
synonyms and type to whoever asks (DescribeConfigs, `ottla configs`, `kafka-configs.sh`). What follows from one is said
here: the first table has those that act, the second those that have no effect in Ottla, with the reason. The broker
says the same: the documentation of a config without effect begins with "No effect in Ottla", and `ottla serve` names
those that it was given.

*At once*: a change takes effect while the broker runs. *At a start*: it is read when the broker starts, as in Kafka.
A default in **bold** is Ottla's own.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(kind: str, definition: Definition) -> str:
    if not definition.default:
        return ""
    shown = f"`{_cell(definition.default)}`"
    return f"**{shown}**" if kind == BROKER and definition.name in OTTLA_DEFAULTS else shown


def _when(kind: str, definition: Definition) -> str:
    return "at once" if kind != BROKER or (definition.dynamic and definition.name not in AT_START) else "at a start"


def page() -> str:
    """The page as it is now."""
    parts = [INTRODUCTION, "## What acts\n"]
    known: dict[str, dict[str, Definition]] = {kind: getattr(definitions(), kind) for kind in TITLES}
    for kind, title in TITLES.items():
        rows = [
            f"| `{name}` | {_default(kind, known[kind][name])} | {_when(kind, known[kind][name])} "
            f"| {_cell(documentation(kind, known[kind][name]) or '')} |"
            for name, effect in sorted(effects()[kind].items())
            if effect.reason is None
        ]
        if rows:
            parts += [
                f"### Configs {title}\n",
                "| name | default | changes | what it does |",
                "| --- | --- | --- | --- |",
            ]
            parts += [*rows, ""]
    parts += ["## What has no effect\n", "| because | configs |", "| --- | --- |"]
    by_reason: dict[str, list[str]] = {}
    for kind, title in TITLES.items():
        for name, effect in sorted(effects()[kind].items()):
            if effect.reason is not None:
                of = "" if kind == BROKER else f" ({title})"
                by_reason.setdefault(effect.reason, []).append(f"`{name}`{of}")
    parts += [f"| {reason} | {', '.join(names)} |" for reason, names in by_reason.items()]
    return "\n".join(parts) + "\n"


def main() -> int:
    wanted = page()
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text("utf-8") != wanted)
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
