"""What a failed test is told of its broker: topics, groups, and the latest requests, a line each. Text only; what may
be seen is view.py's, groups.py's and requests.py's.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from ottla.broker.group_views import GroupView
    from ottla.testing.broker import Broker
    from ottla.testing.namespace import Namespace
    from ottla.testing.requests import Request
    from ottla.testing.view import TopicView

    Seen: TypeAlias = Broker | Namespace

MOST_LINES: Final = 50  # of topics, of groups
_MOST_PARTITIONS: Final = 16  # that are shown one by one
_KEPT_LINES: Final = 200  # of a log


class KeptLog(io.TextIOBase):
    """A log in memory, the latest lines only."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def write(self, text: str) -> int:
        self._lines.append(text)
        return len(text)

    def text(self) -> str:
        """What was written."""
        return "".join(self._lines).rstrip()


def told(broker: Seen, requests: int, *, prefix: str = "") -> str:
    """The state of a broker that runs, with the last so many `requests`; names without `prefix`."""
    lines = [f"bootstrap servers: {broker.bootstrap_servers}"]
    lines += _section("topics", [_topic(view, prefix) for view in broker.topics.values()])
    lines += _section("groups", [line for view in broker.groups.values() for line in _group(view, prefix)])
    if broker.has_faults:
        lines += _section("faults", [repr(fault).strip("<>") for fault in broker.faults.all()])
    if requests > 0:
        asked = broker.requests()[-requests:]
        lines += _section(f"last {len(asked)} requests" if asked else "requests", [_request(one) for one in asked])
    return "\n".join(lines)


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if not lines:
        yield f"{title}: none"
        return
    yield f"{title}:"
    shown = lines if title.startswith("last") else lines[:MOST_LINES]
    yield from (f"  {line}" for line in shown)
    if len(shown) < len(lines):
        yield f"  and {len(lines) - len(shown)} more"


def _topic(view: TopicView, prefix: str) -> str:
    """Where each partition starts, if not at 0, and ends."""
    spans = [str(end) if not start else f"{start}..{end}" for start, end in zip(view.starts, view.ends, strict=True)]
    if len(spans) == 1:
        return f"{view.name.removeprefix(prefix)}: ends at {spans[0]}"
    if len(spans) > _MOST_PARTITIONS:
        spans = [*spans[:_MOST_PARTITIONS], "…"]
    return f"{view.name.removeprefix(prefix)}: {len(view.ends)} partitions, which end at {', '.join(spans)}"


def _group(view: GroupView, prefix: str) -> Iterator[str]:
    yield (
        f"{view.id.removeprefix(prefix)}: {view.state}, {view.type}, generation {view.generation}, "
        f"{_many(len(view.members), 'member')}, lag {view.lag}"
    )
    for topic, lags in view.lags.items():
        committed = view.committed.get(topic, {})
        for partition, lag in list(lags.items())[:_MOST_PARTITIONS]:
            at = f"at {committed[partition]}" if partition in committed else "nothing committed"
            yield f"  {topic.removeprefix(prefix)}-{partition}: {at}, lag {lag}"
    for member in view.members:
        has = ", ".join(
            f"{topic.removeprefix(prefix)}-{index}" for topic, indexes in member.assigned.items() for index in indexes
        )
        yield f"  member {member.client_id or member.id}: {has or 'nothing assigned'}"


def _request(one: Request) -> str:
    took = "under way" if one.took_ms is None else f"{one.took_ms:.1f} ms"
    line = f"{one.api} v{one.version} {one.client_id or one.peer} {took}"
    if one.errors:
        line += f" {' '.join(one.errors)}"
    if one.refusal is not None:
        line += f" closed: {one.refusal}"
    return line


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
