"""Which topics a subscription by regular expression stands for (KIP-848).

Not here: which member subscribes to what, and when patterns are resolved again (consumer.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from ottla.coordinator.regex import Pattern


def resolve(pattern: Pattern, names: Iterable[str]) -> frozenset[str]:
    """Those of `names` that `pattern` matches from end to end."""
    return frozenset(name for name in names if pattern.fullmatch(name) is not None)
