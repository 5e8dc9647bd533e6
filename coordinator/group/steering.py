"""What tests order of the groups of a broker, over all its nodes; and who is told when a group changes.

Holds it, no more: what a pinned assignment does is pins.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

Pin: TypeAlias = Mapping[str, Mapping[str, frozenset[int]]]
"""Who (member id, instance id or client id) -> topic -> partitions."""


class Steering:
    """Lives as long as the process: nothing of it is lasting state."""

    __slots__ = ("pins", "watchers")

    def __init__(self) -> None:
        self.pins: dict[str, Pin] = {}  # by group id
        self.watchers: list[Callable[[], object]] = []

    def tell(self) -> None:
        """A group changed."""
        for told in tuple(self.watchers):
            told()
