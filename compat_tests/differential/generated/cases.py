"""Requests made from the schemas, with names: a cell is one API at one version, a case one request of it.

Every cell has a request of defaults, one of plausible values, and for each field of that one those with something odd
in its place: null, an empty list, a list of the same twice, what is unknown, negative, out of range or another epoch.
Then the plausible one cut short, with bytes behind its end, and with a tag that nobody knows. Nothing is random.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from compat_tests.differential.generated.plain import UNKNOWN_ID
from compat_tests.differential.generated.scene import Scene
from compat_tests.differential.generated.values import (
    BEFORE,
    ODD,
    ODD_OF,
    ONE,
    PLAUSIBLE,
    PLAUSIBLE_OF,
    TEXTS,
    TOGETHER,
    TWICE,
    Value,
)
from ottla.broker.handlers import handlers
from ottla.wire.apis import API, ApiSpec
from ottla.wire.compiler import ResolvedField, Type, fields_of
from ottla.wire.schema import ZERO, Message, StructMeta

_INTEGERS = {"-1": -1, "99": 99}
_BYTES = {"empty": b"", "garbage": b"\1\2\3"}
_IDS = {"unknown": UNKNOWN_ID}


class Cell(NamedTuple):
    """One API at one version."""

    api: str
    version: int

    def __str__(self) -> str:
        return f"{self.api}-v{self.version}"

    @property
    def spec(self) -> ApiSpec:
        return _SPECS[self.api]


class Case(NamedTuple):
    """One request: what differs from the plausible one. `bytes_of`: "", or what is done to its bytes."""

    name: str
    changes: Mapping[str, Value]
    bytes_of: str = ""
    is_plain: bool = False  # all defaults


_SPECS = {API[key].name: API[key] for key in handlers}


def cells() -> list[Cell]:
    """All that is served."""
    return [Cell(name, at) for name, spec in _SPECS.items() for at in range(spec.min_version, spec.max_version + 1)]


def cases(cell: Cell) -> list[Case]:
    """The requests of a cell, in the order in which they are played; their names are different."""
    paths = list(_paths(cell, cell.spec.request, ""))
    made = [Case("defaults", {}, is_plain=True), Case("plausible", {})]
    for path, field, type_ in paths:
        made += [Case(f"{path}: {label}", {path: value}) for label, value in _odd(cell, path, field, type_)]
    known = {path for path, _, _ in paths}
    made += [Case(name, changes) for name, changes in TOGETHER.get(cell.api, {}).items() if changes.keys() <= known]
    if paths:
        made += [Case("cut short", {}, "cut"), Case("with more behind", {}, "more")]
    if _is_flexible(cell):
        made.append(Case("with an unknown tag", {}, "tag"))
    return made


def build(cell: Cell, case: Case, scene: Scene) -> tuple[Message, bytes]:
    """(the request, its bytes) of one case; what it refers to is made."""
    kind = cell.spec.request
    if case.is_plain:
        request = kind()
        return request, request.encode(cell.version)
    before = BEFORE.get(cell.api)
    if before is not None:
        before(scene)
    request = _Builder(cell, case.changes, scene).struct(kind, "")
    body = request.encode(cell.version)
    if case.bytes_of == "cut":
        body = body[:-1]
    elif case.bytes_of == "more":
        body += b"\0\1\2"
    elif case.bytes_of == "tag":
        assert body[-1] == 0, "the tag section of the body is empty"
        body = body[:-1] + struct.pack(">BBB", 1, 99, 1) + b"\0"
    return request, body


class _Builder:
    """Makes the request of one case."""

    def __init__(self, cell: Cell, changes: Mapping[str, Value], scene: Scene) -> None:
        self._cell = cell
        self._changes = changes
        self._scene = scene

    def struct(self, cls: StructMeta, path: str) -> Any:
        """With the fields of the cell's version; those without a hint keep their default."""
        values = {}
        for field in fields_of(cls):
            if self._cell.version in field.versions:
                at = f"{path}.{field.name}".lstrip(".")
                value = self._field(field, at)
                if value is not ZERO:
                    values[field.name] = value
        return cls(**values)

    def _field(self, field: ResolvedField, path: str) -> Any:
        change = self._changes.get(path, ZERO)
        if change is TWICE:
            return self._filled(field.type, path) * 2
        if change is ONE:
            return self._filled(field.type, path)
        if change is not ZERO:
            return self._valued(change)
        hint = _hint(self._cell, path)
        is_changed_inside = any(other.startswith((f"{path}[]", f"{path}.")) for other in self._changes)
        if hint is not ZERO and not is_changed_inside:
            return self._valued(hint)
        if field.type.kind == "array" or (field.type.kind == "struct" and (field.default is ZERO or is_changed_inside)):
            return self._filled(field.type, path)
        return ZERO

    def _filled(self, type_: Type, path: str) -> Any:
        """A list of one element, or a struct."""
        if type_.kind == "struct":
            assert type_.cls is not None
            return self.struct(type_.cls, path)
        inner = f"{path}[]"
        assert type_.element is not None
        if type_.element.kind == "struct":
            return [self._filled(type_.element, inner)]
        hint = _hint(self._cell, inner)
        value = self._changes.get(inner, hint)
        return [self._valued("" if value is ZERO else value)]

    def _valued(self, value: Value) -> Any:
        if callable(value):
            return value(self._scene)
        return list(value) if isinstance(value, list) else value


def _paths(cell: Cell, cls: StructMeta, path: str) -> Iterator[tuple[str, ResolvedField, Type]]:
    """(path, field, type) of all that a request of this version says; elements of lists end with []."""
    for field in fields_of(cls):
        if cell.version not in field.versions:
            continue
        at, type_ = f"{path}.{field.name}".lstrip("."), field.type
        yield at, field, type_
        if type_.kind == "array":
            at, type_ = f"{at}[]", type_.element
            if type_.kind != "struct":
                yield at, field, type_
        if type_.kind == "struct":
            yield from _paths(cell, type_.cls, at)


def _odd(cell: Cell, path: str, field: ResolvedField, type_: Type) -> Iterator[tuple[str, Value]]:
    hint = _hint(cell, path)
    usual = hint if hint is not ZERO else field.default
    is_element = path.endswith("[]")
    if cell.version in field.nullable and not is_element and usual is not None:
        yield "null", None
    if type_.kind == "array":
        if hint == [] or hint is None:
            yield "one", ONE
        if hint != []:
            yield "none", []
        yield "twice", TWICE
        return
    if type_.kind == "struct":
        if usual is None:
            yield "given", ONE
        return
    of_api = ODD_OF.get(cell.api, {})
    odd = _first(of_api, path)
    if odd is ZERO:
        odd = _first(ODD, path)
    if odd is ZERO:
        odd = _odd_of(type_, usual)
    for label, value in odd.items():
        if callable(value) or value != usual or type(value) is not type(usual):
            yield label, value


def _odd_of(type_: Type, usual: Any) -> Mapping[str, Value]:
    if type_.kind == "str":
        return TEXTS
    if type_.kind == "bytes":
        return _BYTES
    if type_.format == "?":
        return {"true": True} if usual is ZERO or not usual else {"false": False}
    return {"16s": _IDS}.get(type_.format, _INTEGERS)


def _hint(cell: Cell, path: str) -> Value:
    hint = _first(PLAUSIBLE_OF.get(cell.api, {}), path)
    return _first(PLAUSIBLE, path) if hint is ZERO else hint


def _first(table: Mapping[str, Any], path: str) -> Any:
    """What the table has for the path, or for the longest end of it; ZERO: nothing."""
    while path not in table and path:
        path = path.partition(".")[2]
    return table.get(path, ZERO)


def _is_flexible(cell: Cell) -> bool:
    flexible_from = cell.spec.flexible_from
    return flexible_from is not None and cell.version >= flexible_from
