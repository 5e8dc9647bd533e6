"""What DescribeConfigs and CreateTopics tell about configs: effective values, where they come from, the chain behind.

Follows Kafka to the letter, its oddities included. Which resources exist and who may ask is decided in handlers/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ottla.broker.config_types import TYPE_CODES, Definition, definitions, to_text

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig

# ConfigSource of DescribeConfigs v1+.
TOPIC_CONFIG: Final = 1
STATIC_BROKER_CONFIG: Final = 4
DEFAULT_CONFIG: Final = 5


class Synonym(NamedTuple):
    """One step of the chain that a value is looked up along."""

    name: str
    value: str | None
    source: int


class ConfigEntry(NamedTuple):
    """One config as an answer shows it. `value` None: unset or sensitive. `synonyms` in decreasing precedence."""

    name: str
    value: str | None
    source: int
    read_only: bool
    sensitive: bool
    synonyms: list[Synonym]
    type_code: int
    documentation: str | None


def describe_topic(overrides: Mapping[str, str], config: BrokerConfig, *, created: bool = False) -> list[ConfigEntry]:
    """The configs of a topic with `overrides`, sorted by name, internal ones left out.

    Kafka's two answers differ in the source of a default that comes from a coarser broker setting (log.retention.hours
    for retention.ms): CreateTopics (`created`) names the setting's source, DescribeConfigs calls it a default.
    """
    from ottla.broker.config import TOPIC_SYNONYMS

    defaults = config.topic_defaults()
    entries = []
    for definition in _shown(definitions().topic.values()):
        name = definition.name
        names = TOPIC_SYNONYMS.get(name, ())
        full_chain = _chain(names, config)
        chain = _from(names[0], full_chain) if names else []
        if name in overrides:
            value = _canonical(definition, overrides[name])
            chain.insert(0, Synonym(name, value, TOPIC_CONFIG))
            source = TOPIC_CONFIG
        else:
            value = _canonical(definition, defaults.get(name, definition.default))
            source = _source(full_chain if created else chain)
        entries.append(_entry(definition, value, source, chain, read_only=False))
    return entries


def describe_broker(config: BrokerConfig) -> list[ConfigEntry]:
    """The settings of this broker, sorted by name, internal ones left out."""
    entries = []
    for definition in _shown(definitions().broker.values()):
        chain = _from(definition.name, _chain(_broker_synonyms(definition.name), config))
        value = _canonical(definition, config.explicit.get(definition.name, definition.default))
        entries.append(_entry(definition, value, _source(chain), chain, read_only=not definition.dynamic))
    return entries


def _shown(all_of_a_kind: Iterable[Definition]) -> list[Definition]:
    return sorted((item for item in all_of_a_kind if not item.hidden), key=lambda item: item.name)


def _broker_synonyms(name: str) -> tuple[str, ...]:
    """The settings that stand in for each other where `name` is one of them (retention by ms, minutes, hours)."""
    from ottla.broker.config import TOPIC_SYNONYMS

    for names in TOPIC_SYNONYMS.values():
        if name in names and len(names) > 1:
            return names
    return (name,)


def _chain(names: tuple[str, ...], config: BrokerConfig) -> list[Synonym]:
    """All that is set for `names`: what someone set, in the text they set it, before the defaults."""
    known = definitions().broker
    chain = []
    for name in names:
        if name in config.explicit:
            value = None if known[name].sensitive else config.explicit[name]
            chain.append(Synonym(name, value, STATIC_BROKER_CONFIG))
    for name in names:
        default = known[name].default
        if default is not None:
            chain.append(Synonym(name, None if known[name].sensitive else default, DEFAULT_CONFIG))
    return chain


def _from(name: str, chain: list[Synonym]) -> list[Synonym]:
    """`chain` from the first step called `name` on; Kafka forgets what stands before it, and all if there is none."""
    for index, step in enumerate(chain):
        if step.name == name:
            return chain[index:]
    return []


def _source(chain: list[Synonym]) -> int:
    return chain[0].source if chain else DEFAULT_CONFIG


def _canonical(definition: Definition, text: str | None) -> str | None:
    """`text` as Kafka prints the value: 007 is 7, TRUE is true, blanks around list items are gone."""
    return None if text is None or definition.sensitive else to_text(definition.parsed(text))


def _entry(
    definition: Definition, value: str | None, source: int, chain: list[Synonym], *, read_only: bool
) -> ConfigEntry:
    return ConfigEntry(
        definition.name,
        value,
        source,
        read_only,
        definition.sensitive,
        chain,
        TYPE_CODES[definition.kind],
        definition.doc,
    )
