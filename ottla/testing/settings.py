"""Broker settings as they stand on command lines and in ini files: KEY=VALUE. Which there are is for the broker to
say.
"""

from __future__ import annotations

from collections.abc import Iterable


def parse_settings(texts: Iterable[str], where: str) -> dict[str, str]:
    """`where` they stand, for the sentence of the ValueError."""
    settings = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals:
            raise ValueError(f"{where} {text}: not of the form key=value, for example {where} num.partitions=3")
        settings[name] = value
    return settings
