"""What each config that Kafka knows does in Ottla: it acts, or it has no effect, and why; and what it is for, in words.

The table is config_effects.json: kind of config, then "acts" or the reason why there is no effect, then name and
documentation ("": configs.json has it, or it is the default of a topic config). It is read when somebody asks.
Not here: types, defaults and allowed values (config_types.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from ottla.broker.config_types import Definition

TOPIC: Final = "topic"
BROKER: Final = "broker"
GROUP: Final = "group"
CLIENT_METRICS: Final = "client_metrics"
NO_EFFECT: Final = "No effect in Ottla: "
"""How the documentation of such a config begins, so that tools can tell."""
_ACTS: Final = "acts"
_IN_UNIT: Final = {".hours": "in hours", ".minutes": "in minutes"}


class Effect(NamedTuple):
    """`reason`: why there is no effect; None: the config acts."""

    reason: str | None
    doc: str


_loaded: dict[str, dict[str, Effect]] | None = None
_texts: Final[dict[tuple[str, str], str]] = {}


def effects() -> dict[str, dict[str, Effect]]:
    """By kind of config and name."""
    global _loaded
    if _loaded is None:
        import json

        with open(os.path.join(os.path.dirname(__file__), "config_effects.json"), encoding="utf-8") as file:
            data: dict[str, dict[str, dict[str, str]]] = json.load(file)
        _loaded = {
            kind: {
                name: Effect(None if reason == _ACTS else reason, doc)
                for reason, docs in classes.items()
                for name, doc in docs.items()
            }
            for kind, classes in data.items()
        }
    return _loaded


def without_effect(names: Iterable[str]) -> list[str]:
    """Those of the broker settings `names` that change nothing here, sorted; also of one listener's own."""
    from ottla.broker.config import setting_definition

    known = effects()[BROKER]
    return sorted(name for name in names if known[setting_definition(name).name].reason is not None)


def documentation(kind: str, definition: Definition) -> str | None:
    """What DescribeConfigs says that a config is for; None: nobody knows it."""
    text = _texts.get((kind, definition.name))
    if text is None:
        effect = effects()[kind].get(definition.name)
        if effect is None:
            return definition.doc
        text = definition.doc or effect.doc or _of_topics(definition.name)
        text = text[:1].upper() + text[1:] + "."
        if effect.reason is not None:
            text = f"{NO_EFFECT}{effect.reason}. {text}"
        _texts[kind, definition.name] = text
    return text


def _of_topics(name: str) -> str:
    """Of a broker setting that gives a topic config its default."""
    from ottla.broker.config import TOPIC_SYNONYMS
    from ottla.broker.config_types import definitions

    of = next(topic_name for topic_name, names in TOPIC_SYNONYMS.items() if name in names)
    unit = next((f", {said}" for suffix, said in _IN_UNIT.items() if name.endswith(suffix)), "")
    return f"default of {of} for topics without their own{unit}: {definitions().topic[of].doc}"
