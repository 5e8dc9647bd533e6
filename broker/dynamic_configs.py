"""Configs that change while the broker runs, other than those of topics, and what follows from them at once.

What was set is part of the cluster (`Cluster.configs`, replayed from ConfigRecords); only the levels of loggers are
this process's own, as in Kafka. Whether something may be set is decided in alter_configs.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ottla.broker.cluster import BROKER_RESOURCE, GROUP_RESOURCE
from ottla.broker.config import BrokerConfig

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster
    from ottla.broker.logs import Log
    from ottla.broker.metadata import Metadata
    from ottla.broker.nodes import Node
    from ottla.coordinator.group.config import ConsumerSettings, GroupConfig
    from ottla.log.store import Store
    from ottla.wire.state.cluster_metadata import ConfigRecord

ROOT_LOGGER: Final = "root"
_UNCLEAN: Final = "unclean.leader.election.enable"
# Kafka's levels, and what Ottla's log makes of them.
LOG_LEVELS: Final = {
    "DEBUG": "debug",
    "ERROR": "error",
    "FATAL": "error",
    "INFO": "info",
    "TRACE": "debug",
    "WARN": "warning",
}
_KAFKA_LEVELS: Final = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR"}


class DynamicConfigs:
    """Of all nodes. `loggers`: name -> level; `on_change`: whom to tell when settings are others.

    What nodes share, such as the log, goes by the settings of the first one.
    """

    def __init__(
        self, nodes: list[Node], cluster: Cluster, config: BrokerConfig, store: Store, metadata: Metadata, log: Log
    ) -> None:
        self.loggers = {ROOT_LOGGER: _KAFKA_LEVELS[log.level]}
        self.on_change: list[Callable[[], object]] = []
        first, *others = nodes
        self._of_nodes = {first.id: config} | {
            node.id: BrokerConfig({**config.explicit, **node.settings}) for node in others
        }
        self._cluster = cluster
        self._config = config
        self._store = store
        self._metadata = metadata
        self._log = log
        self._group_config: GroupConfig | None = None

    def load(self) -> None:
        """What was set before the start holds from now on; logs are attached after this."""
        if any(kind == BROKER_RESOURCE for kind, _ in self._cluster.configs):
            self._refresh()

    def write(self, records: list[ConfigRecord]) -> None:
        """Make changes that were checked durable, and obey them. Raises KafkaError KAFKA_STORAGE_ERROR."""
        if records:
            self._metadata.write_configs(records)
            if any(record.resource_type == BROKER_RESOURCE for record in records):
                self._refresh()
            elif any(record.name == _UNCLEAN for record in records):  # who leads may follow from a topic's config too
                self._tell()

    def set_level(self, level: str) -> None:
        """Put the root logger at one of LOG_LEVELS."""
        self.loggers[ROOT_LOGGER] = level
        self._log.level = LOG_LEVELS[level]

    @property
    def group_config(self) -> GroupConfig:
        """The group coordinator's settings: one object, whose attributes follow the broker's."""
        if self._group_config is None:
            self._group_config = self._config.group_config()
        return self._group_config

    def of(self, group_id: str) -> ConsumerSettings:
        """coordinator.group.config.GroupConfigs"""
        own = self._cluster.configs.get((GROUP_RESOURCE, group_id))
        return self.group_config.consumer_settings(_numbers(own) if own else {})

    def settings_of(self, node: Node) -> BrokerConfig:
        """The settings of a node, as they are now: one object for as long as it lives."""
        return self._of_nodes[node.id]

    def _refresh(self) -> None:
        """Settings changed: everything that was made of them is made anew."""
        configs = self._cluster.configs
        for node_id, config in self._of_nodes.items():
            config.set_dynamic(configs.get((BROKER_RESOURCE, str(node_id)), {}), configs.get((BROKER_RESOURCE, ""), {}))
        self._store.set_defaults(self._config.log_defaults())
        self._metadata.settings_changed()
        if self._group_config is not None:
            self._group_config.update(self._config.group_config())
        self._tell()

    def _tell(self) -> None:
        for tell in self.on_change:
            tell()


def _numbers(configs: Mapping[str, str]) -> dict[str, int]:
    return {name: int(text) for name, text in configs.items() if name.startswith("consumer.") and name.endswith(".ms")}
