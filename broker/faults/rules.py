"""A fault rule as a value: which requests it is about, and what becomes of them.

Pure: parsing, matching, and when a rule fires are decided here, of plain values. Nothing here counts, waits, or knows a
connection; what is done to a request is faults.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any, Final, Protocol

from ottla.broker.durations import parse_ms
from ottla.broker.faults.layouts import LAYOUTS, NAMES_GROUPS, NAMES_TOPICS, carries_errors
from ottla.broker.handlers import handlers
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import ErrorCode

BEFORE: Final = "before"
AFTER: Final = "after"
_WHEN: Final = (BEFORE, AFTER)
FENCES: Final = ("leader", "producer", "member")
ACTIONS: Final = ("error", "delay", "drop", "cut", "corrupt", "throttle", "hold", "stale", "fence")
MATCHERS: Final = (
    "api",
    "versions",
    "topic",
    "partition",
    "group",
    "client_id",
    "connection",
    "node",
    "nth",
    "probability",
    "seed",
    "times",
)
FIELDS: Final = (*MATCHERS, *ACTIONS, "when")
_MOST: Final = (1 << 31) - 1
_IMPLIED: Final = {"corrupt": ApiKey.FETCH, "stale": ApiKey.METADATA}  # actions that one API alone can have
_FENCED_BY: Final[dict[str, frozenset[int]]] = {
    "leader": frozenset(key for key, layout in LAYOUTS.items() if layout[0].leads),
    "producer": frozenset(
        (
            ApiKey.PRODUCE,
            ApiKey.INIT_PRODUCER_ID,
            ApiKey.ADD_PARTITIONS_TO_TXN,
            ApiKey.ADD_OFFSETS_TO_TXN,
            ApiKey.END_TXN,
            ApiKey.TXN_OFFSET_COMMIT,
        )
    ),
    "member": frozenset(
        (
            ApiKey.JOIN_GROUP,
            ApiKey.SYNC_GROUP,
            ApiKey.HEARTBEAT,
            ApiKey.LEAVE_GROUP,
            ApiKey.OFFSET_COMMIT,
            ApiKey.OFFSET_FETCH,
            ApiKey.TXN_OFFSET_COMMIT,
            ApiKey.CONSUMER_GROUP_HEARTBEAT,
        )
    ),
}
_NAMES: Final = {API[key].name.lower(): key for key in handlers}


class Asked(Protocol):
    """What a rule looks at of a request. `topics`: by name the partitions, None: all of them. `groups`: by id."""

    @property
    def key(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def client_id(self) -> str: ...
    @property
    def connection(self) -> int: ...
    @property
    def node(self) -> int: ...
    @property
    def topics(self) -> Mapping[str, Sequence[int] | None]: ...
    @property
    def groups(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Action:
    """What becomes of a request. `value`: an ErrorCode for `error`, ms for `delay` and `throttle`, bytes (int) or a
    share (float) for `cut`, a word for the others. `when`: before or after applying, where it makes a difference.
    """

    kind: str
    value: Any
    when: str = BEFORE


@dataclass(frozen=True, slots=True)
class Rule:
    """One order. None: whatever it is. `key`: of the API; `nth`: from which matching request on; `times`: how often it
    fires, None: always.
    """

    action: Action
    key: int | None = None
    versions: tuple[int, int] | None = None
    topic: str | None = None
    partition: int | None = None
    group: str | None = None
    client_id: str | None = None
    connection: int | None = None
    node: int | None = None
    nth: int = 1
    probability: float = 1.0
    seed: int | None = None
    times: int | None = None

    @property
    def picks_partitions(self) -> bool:
        """Whether it is about some topics or partitions only."""
        return self.topic is not None or self.partition is not None

    def touches(self, topic: str, partition: int | None) -> bool:
        """Whether it is about that partition; None: about the topic, or a partition of it that may be any."""
        return (self.topic is None or self.topic == topic) and (
            self.partition is None or partition is None or self.partition == partition
        )

    def matches(self, asked: Asked) -> bool:
        """Whether it is about such a request; when it fires is `fires`'."""
        return (
            (self.key is None or self.key == asked.key)
            and (self.versions is None or self.versions[0] <= asked.version <= self.versions[1])
            and (self.client_id is None or self.client_id == asked.client_id)
            and (self.connection is None or self.connection == asked.connection)
            and (self.node is None or self.node == asked.node)
            and (self.group is None or self.group in asked.groups)
            and (not self.picks_partitions or self._touches_any(asked.topics))
            and self._can_act(asked.key)
        )

    def fires(self, seen: int, fired: int, seed: int) -> bool:
        """Whether it fires at the `seen`th request that matches (from 1), having fired `fired` times before. The same
        arguments always say the same.
        """
        if seen < self.nth or self.is_spent(fired):
            return False
        return self.probability >= 1 or chance(self.seed if self.seed is not None else seed, seen) < self.probability

    def is_spent(self, fired: int) -> bool:
        """Whether it never fires again."""
        return self.times is not None and fired >= self.times

    def touched(self, topics: Mapping[str, Sequence[int] | None]) -> dict[str, list[int] | None]:
        """Those of a request that it is about; None: all partitions of the topic."""
        found: dict[str, list[int] | None] = {}
        for topic, partitions in topics.items():
            if partitions is None:
                if self.touches(topic, None):
                    found[topic] = None if self.partition is None else [self.partition]
            elif chosen := [index for index in partitions if self.touches(topic, index)]:
                found[topic] = chosen
        return found

    def _touches_any(self, topics: Mapping[str, Sequence[int] | None]) -> bool:
        return any(
            self.touches(topic, None) if partitions is None else any(self.touches(topic, index) for index in partitions)
            for topic, partitions in topics.items()
        )

    def _can_act(self, key: int) -> bool:
        """Whether its action means anything for the API, if it names none."""
        action = self.action
        if action.kind == "fence":
            return key in _FENCED_BY[action.value]
        return action.kind != "error" or carries_errors(key)


def chance(seed: int, draw: int) -> float:
    """A number in [0, 1) that `seed` and `draw` alone decide."""
    digest = blake2b(f"{seed}:{draw}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


# ── from JSON, YAML and keyword arguments ───────────────────────────────────────────────────────────────────────────


def parse_rule(order: Any) -> Rule:
    """The rule that a JSON object orders. Raises ValueError: a sentence that says what is wrong and how to put it."""
    if not isinstance(order, Mapping):
        raise ValueError('a fault is an object, as in {"api": "Produce", "error": "NOT_LEADER_OR_FOLLOWER"}')
    given = {name: value for name, value in order.items() if value is not None}
    for name in given:
        if name not in FIELDS:
            near = get_close_matches(str(name), FIELDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(FIELDS)}"
            raise ValueError(f"a fault has no field {name!r}; {hint}")
    action = _action(given)
    key = _key(given, action)
    rule = Rule(
        action=action,
        key=key,
        versions=_versions(given, key),
        topic=_text(given, "topic"),
        partition=_number(given, "partition", 0),
        group=_text(given, "group"),
        client_id=_text(given, "client_id", may_be_empty=True),
        connection=_number(given, "connection", 1),
        node=_number(given, "node", 0),
        nth=_number(given, "nth", 1) or 1,
        probability=_probability(given),
        seed=_number(given, "seed", 0),
        # the third call is one call; from the third on, three times, is said by both
        times=_number(given, "times", 1) or (1 if "nth" in given else None),
    )
    _check_together(rule)
    return rule


def parse_rules(orders: Any) -> list[Rule]:
    """As `parse_rule`, of a list; a mistake names the rule by its number. Raises ValueError."""
    if isinstance(orders, Mapping) and set(orders) == {"faults"}:
        orders = orders["faults"]
    if not isinstance(orders, list):
        raise ValueError("faults are a list of rules, each beginning with '- ', as in '- {api: Produce, drop: after}'")
    rules = []
    for number, order in enumerate(orders, 1):
        try:
            rules.append(parse_rule(order))
        except ValueError as error:
            raise ValueError(f"rule {number}: {error}") from None
    return rules


def shown(rule: Rule) -> dict[str, Any]:
    """The rule as JSON, as `parse_rule` takes it."""
    action = rule.action
    value: Any = action.value
    if action.kind == "error":
        value = action.value.name
    fields: dict[str, Any] = {
        "api": API[rule.key].name if rule.key is not None else None,
        "versions": f"{rule.versions[0]}-{rule.versions[1]}" if rule.versions is not None else None,
        "topic": rule.topic,
        "partition": rule.partition,
        "group": rule.group,
        "client_id": rule.client_id,
        "connection": rule.connection,
        "node": rule.node,
        "nth": rule.nth if rule.nth > 1 else None,
        "probability": rule.probability if rule.probability < 1 else None,
        "seed": rule.seed,
        "times": rule.times,
        action.kind: value,
        "when": action.when if action.kind == "delay" else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _action(given: Mapping[str, Any]) -> Action:
    kinds = [kind for kind in ACTIONS if kind in given]
    if len(kinds) != 1:
        have = f"this one has {' and '.join(kinds)}" if kinds else "this one has none"
        raise ValueError(f"a fault has exactly one action of {', '.join(ACTIONS)}; {have}")
    kind = kinds[0]
    value = given[kind]
    if "when" in given and kind not in ("delay",):
        raise ValueError(f"'when' belongs to delay; say {kind} without it, or {kind}: before or after if it takes one")
    if kind == "error":
        return Action(kind, _code(value))
    if kind == "delay":
        when = given.get("when", BEFORE)
        return Action(kind, _duration(kind, value), _word("when", when, _WHEN))
    if kind == "throttle":
        return Action(kind, _duration(kind, value))
    if kind in ("drop", "hold"):
        when = _word(kind, value, _WHEN)
        return Action(kind, when, when)
    if kind == "cut":
        return Action(kind, _cut(value))
    if kind == "corrupt":
        return Action(kind, _word(kind, value, ("crc",)))
    if kind == "stale":
        if value is not True:
            raise ValueError("stale takes true and nothing else; leave it out for an answer that is up to date")
        return Action(kind, True)
    return Action(kind, _word(kind, value, FENCES))


def _key(given: Mapping[str, Any], action: Action) -> int | None:
    implied = _IMPLIED.get(action.kind)
    name = given.get("api")
    if name is None:
        return implied
    if not isinstance(name, str):
        raise ValueError(f"api takes the name of an API, as in Produce, not {name!r}")
    key = _NAMES.get(name.lower())
    if key is None:
        near = get_close_matches(name.lower(), _NAMES, n=1)
        hint = f"did you mean {API[_NAMES[near[0]]].name}?" if near else "give one as Produce or JoinGroup"
        raise ValueError(f"Ottla serves no API {name!r}; {hint}")
    said = API[key].name
    if implied is not None and key != implied:
        raise ValueError(f"{action.kind} is about {API[implied].name}, not {said}; leave api out")
    if action.kind == "fence" and key not in _FENCED_BY[action.value]:
        names = ", ".join(API[each].name for each in sorted(_FENCED_BY[action.value]))
        raise ValueError(f"{said} has no {action.value} to fence; these have: {names}")
    if action.kind == "error" and not carries_errors(key):
        raise ValueError(f"the answer of {said} has no place for an error; drop or delay it instead")
    return key


def _check_together(rule: Rule) -> None:
    key = rule.key
    if key is None:
        return
    said = API[key].name
    if rule.picks_partitions and key not in NAMES_TOPICS:
        raise ValueError(f"{said} names no topic; leave topic and partition out")
    if rule.partition is not None and (key not in LAYOUTS or LAYOUTS[key][0].asked.partitions is None):
        raise ValueError(f"{said} names topics without partitions; leave partition out")
    if rule.group is not None and key not in NAMES_GROUPS:
        raise ValueError(f"{said} names no group; leave group out")


def _versions(given: Mapping[str, Any], key: int | None) -> tuple[int, int] | None:
    text = given.get("versions")
    if text is None:
        return None
    if isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
    fault = f"versions takes a version or a range, as in 9, 9- or 3-7, not {text!r}"
    if not isinstance(text, str):
        raise ValueError(fault)
    first, dash, last = text.strip().replace("+", "-").partition("-")
    if not all(part == "" or (part.isascii() and part.isdecimal() and len(part) < 6) for part in (first, last)):
        raise ValueError(fault)
    if not first and not last:
        raise ValueError(fault)
    low = int(first) if first else 0
    high = int(last) if last else (0x7FFF if dash else low)
    if low > high:
        raise ValueError(f"versions {text!r} is empty; the lower one comes first, as in 3-7")
    if key is not None:
        served = handlers[key]
        if high < served.min_version or low > served.max_version:
            raise ValueError(
                f"Ottla serves {API[key].name} in versions {served.min_version}-{served.max_version}, none of {text!r}"
            )
        return max(low, served.min_version), min(high, served.max_version)
    return low, high


def _code(name: Any) -> ErrorCode:
    if isinstance(name, int) and not isinstance(name, bool) and name and name in tuple(ErrorCode):
        return ErrorCode(name)
    if not isinstance(name, str) or name.upper() not in ErrorCode.__members__ or name.upper() == "NONE":
        near = get_close_matches(str(name).upper(), ErrorCode.__members__, n=1)
        hint = f"did you mean {near[0]}?" if near and near[0] != "NONE" else "as in NOT_LEADER_OR_FOLLOWER"
        raise ValueError(f"error takes the name of an error of Kafka, not {name!r}; {hint}")
    return ErrorCode[name.upper()]


def _duration(name: str, value: Any) -> int:
    try:
        ms = parse_ms(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not 0 < ms <= _MOST:
        raise ValueError(f"{name} takes a time above 0 and below 24 days, as in 500ms, not {value!r}")
    return ms


def _word(name: str, value: Any, words: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} takes {' or '.join(words)}, not {value!r}")
    return value


def _cut(value: Any) -> int | float:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
        return value
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ValueError(f"cut takes a number of bytes, or a share of the answer as 0.5, not {value!r}")


def _number(given: Mapping[str, Any], name: str, least: int) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST:
        raise ValueError(f"{name} takes a number from {least} on, not {value!r}")
    return value


def _text(given: Mapping[str, Any], name: str, *, may_be_empty: bool = False) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not (value or may_be_empty):
        raise ValueError(f"{name} takes a name, not {value!r}")
    return value


def _probability(given: Mapping[str, Any]) -> float:
    value = given.get("probability", 1.0)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise ValueError(f"probability takes a number above 0 and up to 1, as in 0.5, not {value!r}")
    return float(value)
