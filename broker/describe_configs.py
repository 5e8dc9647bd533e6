"""What DescribeConfigs and CreateTopics tell about configs: effective values, where they come from, the chain behind.

Follows Kafka to the letter, its oddities included. Which resources exist and who may ask is decided in handlers/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ottla.broker.config_effects import BROKER, CLIENT_METRICS, GROUP, TOPIC, documentation
from ottla.broker.config_types import TYPE_CODES, UNKNOWN_KIND, UNKNOWN_TYPE, Definition, definitions, to_text

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig

# ConfigSource of DescribeConfigs v1+.
TOPIC_CONFIG: Final = 1
DYNAMIC_BROKER_CONFIG: Final = 2
DYNAMIC_DEFAULT_BROKER_CONFIG: Final = 3
STATIC_BROKER_CONFIG: Final = 4
DEFAULT_CONFIG: Final = 5
BROKER_LOGGER_CONFIG: Final = 6
CLIENT_METRICS_CONFIG: Final = 7
GROUP_CONFIG: Final = 8


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
        entries.append(_entry(TOPIC, definition, value, source, chain, read_only=False))
    return entries


def describe_broker(config: BrokerConfig) -> list[ConfigEntry]:
    """The settings of this broker, sorted by name; internal ones and those of one listener only if they were set at run
    time.
    """
    entries = []
    shown = {definition.name: definition for definition in _shown(definitions().broker.values())}
    for name in shown.keys() | config.dynamic.keys() | config.dynamic_default.keys():
        definition = shown.get(name) or _run_time_definition(name)
        chain = _from(name, _chain(_broker_synonyms(name), config))
        text = config.text_of(name)
        value = _canonical(definition, definition.default if text is None else text)
        read_only = name not in definitions().broker or not definition.dynamic
        entries.append(_entry(BROKER, definition, value, _source(chain), chain, read_only=read_only, name=name))
    return sorted(entries, key=lambda entry: entry.name)


def describe_broker_defaults(config: BrokerConfig) -> list[ConfigEntry]:
    """What was set at run time for all brokers, in the text it was set; sorted by name."""
    entries = []
    for name, text in sorted(config.dynamic_default.items()):
        definition = _run_time_definition(name)
        value = None if definition.sensitive else text
        source = DYNAMIC_DEFAULT_BROKER_CONFIG
        chain = [Synonym(name, value, source)]
        entries.append(_entry(BROKER, definition, value, source, chain, read_only=not definition.dynamic, name=name))
    return entries


def describe_group(overrides: Mapping[str, str], config: BrokerConfig) -> list[ConfigEntry]:
    """The configs of a group with `overrides`, sorted by name, internal ones left out. Any group has them."""
    entries = []
    for definition in _shown(definitions().group.values()):
        name = definition.name
        broker_name = group_synonym(name)
        if broker_name is not None:
            chain = _chain((broker_name,), config)
        else:
            chain = [Synonym(name, definition.default, DEFAULT_CONFIG)]
        text = chain[0].value if chain else definition.default
        source = _source(chain)
        if name in overrides:
            text, source = overrides[name], GROUP_CONFIG
            chain.insert(0, Synonym(name, text, source))
        entries.append(_entry(GROUP, definition, _canonical(definition, text), source, chain, read_only=False))
    return entries


def group_synonym(name: str) -> str | None:
    """The broker setting that gives a group config its default; None: there is none."""
    if name == "streams.assignor.name":
        return "group.streams.assignors"
    return f"group.{name}" if f"group.{name}" in definitions().broker else None


def describe_client_metrics(overrides: Mapping[str, str]) -> list[ConfigEntry]:
    """The configs of a telemetry subscription with `overrides` (KIP-714), sorted by name. Any name has them."""
    entries = []
    for definition in _shown(definitions().client_metrics.values()):
        text, source, chain = definition.default, DEFAULT_CONFIG, []
        if definition.name in overrides:
            text, source = overrides[definition.name], CLIENT_METRICS_CONFIG
            chain = [Synonym(definition.name, text, source)]
        entries.append(_entry(CLIENT_METRICS, definition, _canonical(definition, text), source, chain, read_only=False))
    return entries


def describe_loggers(levels: Mapping[str, str]) -> list[ConfigEntry]:
    """The level of each logger, sorted by name. Kafka gives them no type and an empty documentation."""
    return [
        ConfigEntry(name, level, BROKER_LOGGER_CONFIG, False, False, [], UNKNOWN_TYPE, "")
        for name, level in sorted(levels.items())
    ]


def _run_time_definition(name: str) -> Definition:
    """Of a setting that was set at run time: Kafka takes unknown ones too, and keeps their values secret."""
    from ottla.broker.config import UnknownSettingError, setting_definition

    try:
        return setting_definition(name)
    except UnknownSettingError:
        return Definition(name, {"type": UNKNOWN_KIND})


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
    chain: list[Synonym] = []
    for source, layer in (
        (DYNAMIC_BROKER_CONFIG, config.dynamic),
        (DYNAMIC_DEFAULT_BROKER_CONFIG, config.dynamic_default),
        (STATIC_BROKER_CONFIG, config.explicit),
    ):
        for name in names:
            if name in layer:
                sensitive = (known.get(name) or _run_time_definition(name)).sensitive
                chain.append(Synonym(name, None if sensitive else layer[name], source))
    for name in names:
        definition = known.get(name)
        if definition is not None and definition.default is not None and not definition.hidden:
            chain.append(Synonym(name, None if definition.sensitive else definition.default, DEFAULT_CONFIG))
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
    kind: str,
    definition: Definition,
    value: str | None,
    source: int,
    chain: list[Synonym],
    *,
    read_only: bool,
    name: str | None = None,
) -> ConfigEntry:
    return ConfigEntry(
        name or definition.name,
        value,
        source,
        read_only,
        definition.sensitive,
        chain,
        TYPE_CODES.get(definition.kind, UNKNOWN_TYPE),
        documentation(kind, definition),
    )
