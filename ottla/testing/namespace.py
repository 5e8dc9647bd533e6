"""A broker that many tests share, as one of them sees it: names of its own, and nothing left of them afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ottla.broker.group_views import GroupView
    from ottla.testing.broker import Broker
    from ottla.testing.requests import Request
    from ottla.testing.view import TopicView

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9]+")
_MOST_CHARACTERS: Final = 40  # of the test's name: a topic has 249 in all


def prefix_of(test: str, number: int) -> str:
    """What names of the `number`th test begin with; no two collide in metric names, either."""
    return f"{_NO_NAME.sub('-', test).strip('-')[:_MOST_CHARACTERS]}-{number}-"


class Namespace:
    """What a test has of a broker that it shares. Whatever is not here is the broker's: `records`, `wait_for`, ….

    Names of topics, groups and transactional ids are made by `topic`, `group` and `transactional_id`; a name that was
    made before is the same again.
    """

    def __init__(self, broker: Broker, prefix: str) -> None:
        self.broker = broker
        self.prefix = prefix
        self._began = broker.requests_seen

    def topic(self, name: str, partitions: int | None = None, configs: Mapping[str, str] | None = None) -> str:
        """The topic's name in the broker. It is created if partitions or configs are given; else by whoever uses it
        first. Raises ValueError.
        """
        if partitions is not None or configs is not None:
            self.broker.create_topic(self.prefix + name, -1 if partitions is None else partitions, configs)
        return self.prefix + name

    def group(self, name: str) -> str:
        """The group's id in the broker."""
        return self.prefix + name

    def transactional_id(self, name: str) -> str:
        """A transactional id that no other test has."""
        return self.prefix + name

    @property
    def topics(self) -> dict[str, TopicView]:
        """Those of this test."""
        return {name: topic for name, topic in self.broker.topics.items() if name.startswith(self.prefix)}

    @property
    def groups(self) -> dict[str, GroupView]:
        """Those of this test."""
        return {name: group for name, group in self.broker.groups.items() if name.startswith(self.prefix)}

    def requests(self, api: str | None = None) -> list[Request]:
        """As Broker.requests, from this test's beginning on. Clients that earlier ones left may be among those who
        asked.
        """
        return self.broker.requests(api, since=self._began)

    def clear(self) -> None:
        """Deletes the topics and groups of this test, removes faults, and lets a clock that stands still go on."""
        self.broker.clear(self.prefix)

    def told(self, requests: int) -> str:
        """As report.told, of what is this test's."""
        from ottla.testing.report import told

        return told(self, requests, prefix=self.prefix)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker, name)

    def __repr__(self) -> str:
        return f"<{self.prefix}* at {self.broker.bootstrap_servers}>"
