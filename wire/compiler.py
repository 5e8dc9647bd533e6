"""Codecs: flat Python source for one message class at one version, generated and compiled on first use.

A run of neighbouring fixed-width fields, with the length of what follows it, is one `struct` call; nested structs and
arrays are inlined as loops. Every length is checked against what is left before anything of that length is made.
A fault is placed by the line that raised it: each generated line knows its field, so the fast path carries
no bookkeeping. Tracebacks show the generated lines (linecache asks `Source.get_source` when it needs them).

Nothing here knows what a field means; that is `ottla.wire.schema` and the modules of messages.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NoReturn, TypeAlias

from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.schema import ZERO, ZERO_UUID, Buffer, Field, Message, StructMeta
from ottla.wire.varint import decode_unsigned, encode_unsigned

Decoder: TypeAlias = Callable[[Buffer, int], Any]
Encoder: TypeAlias = Callable[[Any, list[Any], list[int]], None]

# --- schemas, resolved ------------------------------------------------------------------------------------------------

_FORMATS = {
    "Int8": "b",
    "Int16": "h",
    "Uint16": "H",
    "Int32": "i",
    "Uint32": "I",
    "Int64": "q",
    "Float64": "d",
    "bool": "?",
    "Uuid": "16s",
}
_SIZES = {"b": 1, "B": 1, "x": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "d": 8, "16s": 16}
_ZEROS: dict[str, Any] = {"str": "", "bytes": b"", "array": None, "struct": None}


class Range:
    """Versions from `low` to `high`, both included."""

    __slots__ = ("high", "low")

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    def __contains__(self, version: int) -> bool:
        return self.low <= version <= self.high


_NEVER = Range(1, 0)
_FOREVER = 32767


def parse_range(text: str | None) -> Range:
    """Kafka's notation: "3-7", "3+", "3", "none"."""
    if text is None or text == "none":
        return _NEVER
    if text.endswith("+"):
        return Range(int(text[:-1]), _FOREVER)
    low, _, high = text.partition("-")
    return Range(int(low), int(high or low))


class Type:
    """What an annotation means."""

    __slots__ = ("cls", "element", "format", "kind")

    def __init__(
        self, kind: str, format_: str = "", cls: StructMeta | None = None, element: Type | None = None
    ) -> None:
        self.kind = kind  # fixed, str, bytes, records, struct or array
        self.format = format_  # of a fixed: what `struct` calls it
        self.cls = cls  # of a struct
        self.element = element  # of an array


class ResolvedField:
    """A `Field` with its annotation and its version ranges parsed."""

    __slots__ = ("default", "ignorable", "name", "nullable", "tag", "tagged", "type", "versions")

    def __init__(self, name: str, type_: Type, field: Field) -> None:
        self.name = name
        self.type = type_
        self.versions = parse_range(field.versions)
        self.nullable = parse_range(field.nullable)
        self.tag = field.tag
        self.tagged = parse_range(field.tagged)
        self.default = field.default
        self.ignorable = field.ignorable


_resolved: dict[StructMeta, tuple[ResolvedField, ...]] = {}


def fields_of(cls: StructMeta) -> tuple[ResolvedField, ...]:
    """The fields of a message or struct in wire order."""
    known = _resolved.get(cls)
    if known is None:
        owner = cls.OWNER or cls
        known = tuple(
            ResolvedField(name, _parse_type(cls.__annotations__[name], owner), field)
            for name, field in cls.FIELDS.items()
        )
        _resolved[cls] = known
    return known


def _parse_type(annotation: str, owner: StructMeta) -> Type:
    text = annotation.removesuffix(" | None")
    if text.startswith("list["):
        return Type("array", element=_parse_type(text[5:-1], owner))
    if text in _FORMATS:
        return Type("fixed", _FORMATS[text])
    if text in ("str", "bytes"):
        return Type(text)
    if text in ("Records", "SlicedRecords"):
        return Type("records")
    return Type("struct", cls=getattr(owner, text.rpartition(".")[2]))


def _zero(field: ResolvedField) -> Any:
    """The default as a value; None for a list or a struct that must be made fresh (`_is_fresh`)."""
    if field.default is not ZERO:
        return field.default
    if field.type.kind == "fixed":
        return {"?": False, "d": 0.0, "16s": ZERO_UUID}.get(field.type.format, 0)
    if field.type.kind == "records":
        return None if field.nullable.high == _FOREVER else b""
    return _ZEROS[field.type.kind]


def _is_fresh(field: ResolvedField) -> bool:
    return field.default is ZERO and field.type.kind in ("array", "struct")


def _min_size(type_: Type, version: int, flexible: bool, nullable: bool = False) -> int:
    """The least number of bytes that a value takes."""
    if type_.kind == "fixed":
        return _SIZES[type_.format]
    if type_.kind == "struct":
        assert type_.cls is not None
        if nullable:
            return 1
        return flexible + sum(
            _min_size(field.type, version, flexible, version in field.nullable)
            for field in fields_of(type_.cls)
            if version in field.versions and not (flexible and version in field.tagged)
        )
    return 1 if flexible else (2 if type_.kind == "str" else 4)


# --- generated source -------------------------------------------------------------------------------------------------

#: For each generated line the field it is about; for a run, where each field ends in it.
_Place: TypeAlias = str | tuple[tuple[int, str], ...]

_structs: dict[str, struct.Struct] = {}


def _struct(format_: str) -> struct.Struct:
    made = _structs.get(format_)
    if made is None:
        made = _structs[format_] = struct.Struct(">" + format_)
    return made


class Source:
    """The text of one generated function, what its names stand for, and which field each line is about.

    It is its function's `__loader__`, from which linecache takes the text when a traceback is shown.
    """

    def __init__(self, name: str, version: int, what: str) -> None:
        self.name = name
        self.version = version
        self.filename = f"ottla-codecs/{name}.v{version}.{what}.py"
        self.loader = self
        self.lines: list[str] = []
        self.places: list[_Place] = []
        self.names: dict[str, Any] = {"__name__": f"{name}.v{version}.{what}", "__loader__": self, "__spec__": self}
        self.indent = ""
        self.path: list[str] = []
        self._variables = 0
        self._known: dict[Any, str] = {}

    def get_source(self, _name: str) -> str:
        return "\n".join(self.lines) + "\n"

    def emit(self, line: str, place: _Place | None = None) -> None:
        self.lines.append(self.indent + line)
        self.places.append(".".join(self.path) if place is None else place)

    def deeper(self) -> None:
        self.indent += " "

    def shallower(self) -> None:
        self.indent = self.indent[:-1]

    def variable(self, prefix: str) -> str:
        self._variables += 1
        return f"{prefix}{self._variables}"

    def constant(self, prefix: str, key: Any, value: Any) -> str:
        """A global name in the generated function for `value`."""
        name = self._known.get(key)
        if name is None:
            name = self._known[key] = f"{prefix}{len(self._known)}"
            self.names[name] = value
        return name

    def compile(self, function: str) -> Any:
        exec(compile(self.get_source(""), self.filename, "exec", dont_inherit=True), self.names)
        return self.names[function]

    def place(self, traceback: TracebackType | None) -> _Place:
        """The field that the generated function was at when it raised."""
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == self.filename:
                return self.places[traceback.tb_lineno - 1]
            traceback = traceback.tb_next
        return ""


# --- decoding ---------------------------------------------------------------------------------------------------------


def _read_string_length(data: Buffer, position: int) -> tuple[int, int]:
    length, position = decode_unsigned(data, position)
    if length > 0x8000:
        raise ProtocolError(f"a string of {length - 1} bytes, more than 32767")
    return length, position


def skip_tags(data: Buffer, position: int, count: int) -> int:
    """Step over a tag section none of whose tags is known; `position` is after the first byte of its count."""
    if count > 127:
        count, position = decode_unsigned(data, position - 1)
    end = len(data)
    for _ in range(count):
        _tag, position = decode_unsigned(data, position)
        size, position = decode_unsigned(data, position)
        position += size
        if position > end:
            raise ProtocolError(f"a tagged field of {size} bytes runs past the end")
    return position


def _bad_length(start: int, stop: int, end: int) -> ProtocolError:
    if stop < start:
        return ProtocolError("null where none may be" if stop == start - 1 else f"a negative length, {stop - start}")
    return ProtocolError(f"{stop - start} bytes announced, {end - start} left")


def _bad_count(count: int, left: int) -> ProtocolError:
    if count < 0:
        return ProtocolError("null where none may be" if count == -1 else f"a negative count, {count}")
    return ProtocolError(f"{count} elements announced, {left} bytes left")


_FAULTS = (ProtocolError, IndexError, struct.error, UnicodeDecodeError)


def _refuse(source: Source, fault: Exception, data: Buffer, position: int) -> NoReturn:
    place = source.place(fault.__traceback__)
    if isinstance(place, tuple):
        left = len(data) - position
        place = next((path for stop, path in place if stop > left), place[-1][1])
    if isinstance(fault, ProtocolError):
        message = fault.message
    elif isinstance(fault, UnicodeDecodeError):
        message = "not UTF-8"
    else:
        message = "the bytes end early"
    raise ProtocolError(
        message, api=source.name, version=source.version, field=place or None, offset=min(position, len(data))
    ) from None


_DECODE_NAMES: dict[str, Any] = {
    "new": object.__new__,
    "uvarint": decode_unsigned,
    "string_length": _read_string_length,
    "skip_tags": skip_tags,
    "bad_length": _bad_length,
    "bad_count": _bad_count,
    "ProtocolError": ProtocolError,
    "FAULTS": _FAULTS,
    "refuse": _refuse,
    "unpack_from": struct.unpack_from,
    "ZERO_UUID": ZERO_UUID,
}


def _default_expression(source: Source, field: ResolvedField) -> str:
    if _is_fresh(field):
        if field.type.kind == "array":
            return "[]"
        assert field.type.cls is not None
        return source.constant("C", field.type.cls, field.type.cls) + "()"
    zero = _zero(field)
    return "ZERO_UUID" if zero is ZERO_UUID else repr(zero)


def _has_records(cls: StructMeta) -> bool:
    for field in fields_of(cls):
        type_: Type = field.type.element or field.type
        if type_.kind == "records" or (type_.cls is not None and _has_records(type_.cls)):
            return True
    return False


class _DecoderSource(Source):
    """Names in the generated function: b the buffer, v a view of it, p the position; n a length, q its end, t tags."""

    def __init__(self, cls: type[Message], version: int) -> None:
        super().__init__(cls.NAME, version, "decode")
        self.flexible = cls.FLEXIBLE is not None and version >= cls.FLEXIBLE
        self.is_view = _has_records(cls)
        self.run: list[tuple[str, str, str]] = []  # format, target, path
        self.names.update(_DECODE_NAMES, SOURCE=self)
        self.emit("def decode(b, p):")
        self.deeper()
        # Records must stay views of the frame, v; without records one copy of a short body makes every slice cheaper.
        if self.is_view:
            self.emit("v = memoryview(b)")
            self.emit("if type(b) is not bytes: b = v")
        else:
            self.emit("if type(b) is not bytes: b = bytes(b)")
        self.emit("end = len(b)")
        self.emit("try:")
        self.deeper()
        self.read_struct(cls, "x0")
        self.flush()
        self.emit("return x0", "")
        self.shallower()
        self.emit("except FAULTS as fault:")
        self.emit(" refuse(SOURCE, fault, b, p)")

    def fixed(self, format_: str, target: str) -> None:
        self.run.append((format_, target, ".".join(self.path)))

    def flush(self) -> None:
        run = self.run
        if not run:
            return
        self.run = []
        if len(run) == 1 and run[0][0] in "B?":
            format_, target, path = run[0]
            self.emit(f"{target} = b[p]" + (" != 0" if format_ == "?" else ""), path)
            self.emit("p += 1", path)
            return
        made = _struct("".join(format_ for format_, _, _ in run))
        unpack = self.constant("U", made.format, made.unpack_from)
        stop = 0
        places = []
        for format_, _, path in run:
            stop += _SIZES[format_]
            places.append((stop, path))
        targets = ", ".join(target for _, target, _ in run)
        self.emit(f"{targets}{',' if len(run) == 1 else ''} = {unpack}(b, p)", tuple(places))
        self.emit(f"p += {made.size}")

    def read_length(self, legacy_format: str, slow: str = "uvarint") -> None:
        """n: the length or count as it stands on the wire (one more than it is, where flexible)."""
        self.fixed("B" if self.flexible else legacy_format, "n")
        self.flush()
        if self.flexible:
            self.emit(f"if n > 127: n, p = {slow}(b, p - 1)")

    def read_struct(self, cls: StructMeta, into: str) -> None:
        version = self.version
        self.emit(f"{into} = new({self.constant('C', cls, cls)})")
        fields = fields_of(cls)
        tagged = [field for field in fields if self.flexible and version in field.tagged]
        present = [field for field in fields if version in field.versions and field not in tagged]
        self.set_defaults([field for field in fields if field not in present], into)
        for field in present:
            self.path.append(field.name)
            self.read(field.type, f"{into}.{field.name}", version in field.nullable)
            self.path.pop()
        if self.flexible:
            self.read_tags(tagged, into)

    def set_defaults(self, fields: Iterable[ResolvedField], into: str) -> None:
        shared: dict[str, list[str]] = {}
        for field in fields:
            if not _is_fresh(field):
                shared.setdefault(_default_expression(self, field), []).append(f"{into}.{field.name}")
            elif field.type.cls is None:
                self.emit(f"{into}.{field.name} = []")
            else:  # as its constructor would make it, without the call
                inner = self.variable("x")
                self.emit(f"{into}.{field.name} = {inner} = new({self.constant('C', field.type.cls, field.type.cls)})")
                self.set_defaults(fields_of(field.type.cls), inner)
        for default, targets in shared.items():
            self.emit(f"{' = '.join(targets)} = {default}")

    def read_tags(self, tagged: list[ResolvedField], into: str) -> None:
        self.path.append("tags")
        self.fixed("B", "t")
        self.flush()
        if not tagged:
            self.emit("if t: p = skip_tags(b, p, t)")
            self.path.pop()
            return
        self.emit("if t:")
        self.deeper()
        self.emit("if t > 127: t, p = uvarint(b, p - 1)")
        self.emit("for _ in range(t):")
        self.deeper()
        stop = self.variable("e")
        self.emit("k, p = uvarint(b, p)")
        self.emit("n, p = uvarint(b, p)")
        self.emit(f"{stop} = p + n")
        self.emit(f"if {stop} > end: raise bad_length(p, {stop}, end)")
        self.path.pop()
        word = "if"
        for field in tagged:
            self.path.append(field.name)
            self.emit(f"{word} k == {field.tag}:")
            word = "elif"
            self.deeper()
            self.read(field.type, f"{into}.{field.name}", self.version in field.nullable, is_tagged=True)
            self.flush()
            self.emit(f"if p != {stop}: raise ProtocolError('a tagged field of another size than announced')")
            self.shallower()
            self.path.pop()
        self.emit(f"else: p = {stop}")
        self.shallower()
        self.shallower()

    def read(self, type_: Type, target: str, nullable: bool, is_tagged: bool = False) -> None:
        if type_.kind == "fixed":
            self.fixed(type_.format, target)
        elif type_.kind == "struct":
            self.read_inner_struct(type_, target, nullable, is_tagged)
        elif type_.kind == "array":
            assert type_.element is not None
            self.read_array(type_.element, target, nullable)
        else:
            self.read_bytes(type_.kind, target, nullable)

    def read_inner_struct(self, type_: Type, target: str, nullable: bool, is_tagged: bool) -> None:
        assert type_.cls is not None
        if nullable:
            # -1 is null in the body, 0 in the tag section; 1 is there.
            self.fixed("b", "n")
            self.flush()
            self.emit(f"if n {'<= 0' if is_tagged else '< 0'}: {target} = None")
            self.emit("else:")
            self.deeper()
        inner = self.variable("x")
        self.read_struct(type_.cls, inner)
        self.emit(f"{target} = {inner}")
        if nullable:
            self.flush()
            self.shallower()

    def read_bytes(self, kind: str, target: str, nullable: bool) -> None:
        if kind == "str":
            self.read_length("h", "string_length")
        else:
            self.read_length("i")
        if nullable:
            self.emit(f"if n == {0 if self.flexible else -1}: {target} = None")
            self.emit("else:")
            self.deeper()
        self.emit("q = p + n - 1" if self.flexible else "q = p + n")
        self.emit("if q > end or q < p: raise bad_length(p, q, end)")
        if kind == "str":
            self.emit(f"{target} = str(b[p:q], 'utf-8')" if self.is_view else f"{target} = b[p:q].decode()")
        elif kind == "bytes":
            self.emit(f"{target} = bytes(b[p:q])" if self.is_view else f"{target} = b[p:q]")
        else:
            self.emit(f"{target} = v[p:q]")
        self.emit("p = q")
        if nullable:
            self.shallower()

    def read_array(self, element: Type, target: str, nullable: bool) -> None:
        self.read_length("i")
        if self.flexible:
            self.emit("n -= 1")
        if nullable:
            self.emit(f"if n == -1: {target} = None")
            self.emit("else:")
            self.deeper()
        size = max(1, _min_size(element, self.version, self.flexible))
        need = "n" if size == 1 else f"n * {size}"
        self.emit(f"if n < 0 or {need} > end - p: raise bad_count(n, end - p)")
        if element.kind == "fixed" and element.format == "16s":
            item = "bytes(b[q:q + 16])" if self.is_view else "b[q:q + 16]"
            self.emit(f"{target} = [{item} for q in range(p, p + n * 16, 16)]")
            self.emit("p += n * 16")
        elif element.kind == "fixed":
            self.emit(f"{target} = list(unpack_from(f'>{{n}}{element.format}', b, p))")
            self.emit(f"p += n * {size}")
        else:
            items = self.variable("l")
            self.emit(f"{target} = {items} = []")
            self.emit("for _ in range(n):")
            self.deeper()
            item = self.variable("x")
            if element.kind == "struct":
                assert element.cls is not None
                self.read_struct(element.cls, item)
            else:
                self.read(element, item, nullable=False)
            self.flush()
            self.emit(f"{items}.append({item})")
            self.shallower()
        if nullable:
            self.shallower()


# --- encoding ---------------------------------------------------------------------------------------------------------


def _write_string_length(value: int) -> bytes:
    if value > 0x8000:
        raise ValueError(f"a string of {value - 1} bytes, more than 32767")
    return encode_unsigned(value)


def _unsupported(source: Source, path: str) -> KafkaError:
    return KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{source.name} v{source.version} cannot carry {path}")


def _misfit(source: Source, fault: Exception) -> NoReturn:
    place = source.place(fault.__traceback__)
    if isinstance(place, tuple):
        place = ", ".join(path for _, path in place)
    raise ValueError(f"{source.name} v{source.version} {place}: {fault}") from fault


_MISFITS = (TypeError, AttributeError, ValueError, struct.error)

_ENCODE_NAMES: dict[str, Any] = {
    "BYTE": tuple(bytes((value,)) for value in range(128)),
    "BUFFERS": (bytes, bytearray, memoryview),
    "uvarint": encode_unsigned,
    "string_length": _write_string_length,
    "unsupported": _unsupported,
    "misfit": _misfit,
    "MISFITS": _MISFITS,
    "pack": struct.pack,
    "join": b"".join,
    "ZERO_UUID": ZERO_UUID,
}


class _EncoderSource(Source):
    """Names in the generated function: x0 the message, w appends to its parts; n a length, s the bytes it counts."""

    def __init__(self, cls: type[Message], version: int) -> None:
        super().__init__(cls.NAME, version, "encode")
        self.flexible = cls.FLEXIBLE is not None and version >= cls.FLEXIBLE
        self.run: list[tuple[str, str, str]] = []  # format, expression, path
        self.write = "w"
        self.names.update(_ENCODE_NAMES, SOURCE=self)
        self.emit("def encode(x0, parts, slices):")
        self.deeper()
        self.emit("w = parts.append")
        self.emit("try:")
        self.deeper()
        self.write_struct(cls, "x0")
        self.flush()
        self.emit("return", "")
        self.shallower()
        self.emit("except MISFITS as fault:")
        self.emit(" misfit(SOURCE, fault)")

    def fixed(self, format_: str, expression: str) -> None:
        self.run.append((format_, expression, ".".join(self.path)))

    def packed(self, run: list[tuple[str, str, str]]) -> str:
        """The expression that packs a run."""
        made = _struct("".join(format_ for format_, _, _ in run))
        values = ", ".join(expression for format_, expression, _ in run if format_ != "x")
        if not values:
            return repr(bytes(made.size))
        return f"{self.constant('P', made.format, made.pack)}({values})"

    def flush(self) -> None:
        if self.run:
            run, self.run = self.run, []
            self.emit(f"{self.write}({self.packed(run)})", tuple((0, path) for _, _, path in run))

    def write_length(self, legacy_format: str, slow: str = "uvarint") -> None:
        """Write n, the length or count as it stands on the wire, in one call with the run before it."""
        if not self.flexible:
            self.fixed(legacy_format, "n")
            self.flush()
            return
        run, self.run = self.run, []
        places = (*((0, path) for _, _, path in run), (0, ".".join(self.path)))
        if not run:
            self.emit(f"{self.write}(BYTE[n] if n < 128 else {slow}(n))")
            return
        self.emit(f"if n < 128: {self.write}({self.packed([*run, ('B', 'n', '')])})", places)
        self.emit(f"else: {self.write}({self.packed(run)}); {self.write}({slow}(n))", places)

    def write_struct(self, cls: StructMeta, of: str) -> None:
        version = self.version
        tagged = []
        for field in fields_of(cls):
            self.path.append(field.name)
            value = f"{of}.{field.name}"
            if self.flexible and version in field.tagged:
                tagged.append(field)
            elif version in field.versions:
                self.write_value(field.type, value, version in field.nullable)
            elif not field.ignorable:
                self.emit(f"if {self.differs(field, value)}: raise unsupported(SOURCE, {'.'.join(self.path)!r})")
            self.path.pop()
        if self.flexible:
            self.write_tags(tagged, of)

    def differs(self, field: ResolvedField, value: str) -> str:
        """The test whether a field has another value than its default."""
        is_nullable = field.nullable is not _NEVER
        if not _is_fresh(field):
            default = _default_expression(self, field)
            if default == "None":
                return f"{value} is not None"
            return f"{value} != {default}"
        if field.type.kind == "array":
            return f"({value} is None or {value})" if is_nullable else value
        assert field.type.cls is not None
        tests = [self.differs(inner, f"{value}.{inner.name}") for inner in fields_of(field.type.cls)]
        if is_nullable:
            tests.insert(0, f"{value} is None")
        return f"({' or '.join(tests)})"

    def write_tags(self, tagged: list[ResolvedField], of: str) -> None:
        if not tagged:
            self.fixed("x", "")
            return
        tagged = sorted(tagged, key=lambda field: field.tag or 0)
        tests = [self.differs(field, f"{of}.{field.name}") for field in tagged]
        run, self.run = self.run, []
        places = tuple((0, path) for _, _, path in run)
        self.emit(f"if not ({' or '.join(tests)}): {self.write}({self.packed([*run, ('x', '', '')])})", places)
        self.emit("else:")
        self.deeper()
        if run:
            self.emit(f"{self.write}({self.packed(run)})", places)
        count = self.variable("k")
        section = self.variable("g")
        self.emit(f"{count} = 0; {section} = []")
        for field, test in zip(tagged, tests, strict=True):
            self.path.append(field.name)
            self.emit(f"if {test}:")
            self.deeper()
            payload = self.variable("g")
            outer, self.write = self.write, f"{payload}.append"
            self.emit(f"{payload} = []")
            self.write_value(field.type, f"{of}.{field.name}", self.version in field.nullable, is_tagged=True)
            self.flush()
            self.write = outer
            self.emit(f"s = join({payload})")
            self.emit(f"{count} += 1; {section} += ({encode_unsigned(field.tag or 0)!r}, uvarint(len(s)), s)")
            self.shallower()
            self.path.pop()
        self.emit(f"{self.write}(uvarint({count})); {self.write}(join({section}))")
        self.shallower()

    def write_value(self, type_: Type, value: str, nullable: bool, is_tagged: bool = False) -> None:
        if type_.kind == "fixed":
            self.fixed(type_.format, value)
        elif type_.kind == "struct":
            self.write_inner_struct(type_, value, nullable, is_tagged)
        elif type_.kind == "array":
            assert type_.element is not None
            self.write_array(type_.element, value, nullable)
        elif type_.kind == "records":
            self.write_records(value, nullable)
        else:
            self.write_bytes(type_.kind, value, nullable)

    def write_inner_struct(self, type_: Type, value: str, nullable: bool, is_tagged: bool) -> None:
        assert type_.cls is not None
        inner = self.variable("x")
        self.emit(f"{inner} = {value}")
        if nullable:
            self.flush()
            self.emit(f"if {inner} is None: {self.write}({bytes(1) if is_tagged else bytes((255,))!r})")
            self.emit("else:")
            self.deeper()
            self.emit(f"{self.write}({bytes((1,))!r})")
        self.write_struct(type_.cls, inner)
        if nullable:
            self.flush()
            self.shallower()

    def count(self, name: str, value: str, nullable: bool, empty: str, bytes_of: str = "") -> None:
        """Set `name` to `value` (or to the `bytes_of` it, or to `empty` for null) and n to its length on the wire."""
        plus = " + 1" if self.flexible else ""
        if nullable:
            self.emit(f"{name} = {value}")
            self.emit(f"if {name} is None: n = {0 if self.flexible else -1}; {name} = {empty}")
            self.emit(f"else: {f'{name} = {name}{bytes_of}; ' if bytes_of else ''}n = len({name}){plus}")
        else:
            self.emit(f"{name} = {value}{bytes_of}")
            self.emit(f"n = len({name}){plus}")

    def write_bytes(self, kind: str, value: str, nullable: bool) -> None:
        if kind == "str":
            self.count("s", value, nullable, "b''", bytes_of=".encode()")
            self.write_length("h", "string_length")
        else:
            self.count("s", value, nullable, "b''")
            self.write_length("i")
        self.emit(f"{self.write}(s)")

    def write_records(self, value: str, nullable: bool) -> None:
        plus = " + 1" if self.flexible else ""
        self.emit(f"s = {value}")
        if nullable:
            self.emit(f"if s is None: n = {0 if self.flexible else -1}; s = b''")
            self.emit(f"elif type(s) is bytes or type(s) is bytearray: n = len(s){plus}")
        else:
            self.emit(f"if type(s) is bytes or type(s) is bytearray: n = len(s){plus}")
        self.emit(f"else: n = s.nbytes{plus}")
        self.write_length("i")
        self.emit("if type(s) not in BUFFERS: slices.append(len(parts))")
        self.emit(f"{self.write}(s)")

    def write_array(self, element: Type, value: str, nullable: bool) -> None:
        items = self.variable("l")
        self.count(items, value, nullable, "()")
        self.write_length("i")
        if element.kind == "fixed" and element.format == "16s":
            self.emit(f"{self.write}(join({items}))")
        elif element.kind == "fixed":
            self.emit(f"if {items}: {self.write}(pack(f'>{{len({items})}}{element.format}', *{items}))")
        else:
            item = self.variable("x")
            self.emit(f"for {item} in {items}:")
            self.deeper()
            if element.kind == "struct":
                assert element.cls is not None
                self.write_struct(element.cls, item)
            else:
                self.write_value(element, item, nullable=False)
            self.flush()
            self.emit("pass")  # for a struct that is empty in this version
            self.shallower()


# --- entry points -----------------------------------------------------------------------------------------------------


def _check_version(cls: type[Message], version: int) -> None:
    low, high = cls.VALID
    if not low <= version <= high:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{cls.NAME} has versions {low} to {high}, not {version}")


def compile_decoder(cls: type[Message], version: int) -> Decoder:
    """Make and keep the decoder of a class at a version: (data, offset) -> message."""
    _check_version(cls, version)
    decoder: Decoder = _DecoderSource(cls, version).compile("decode")
    cls._decoders[version] = decoder
    return decoder


def compile_encoder(cls: type[Message], version: int) -> Encoder:
    """Make and keep the encoder of a class at a version: (message, parts, indices of the slices among parts)."""
    _check_version(cls, version)
    encoder: Encoder = _EncoderSource(cls, version).compile("encode")
    cls._encoders[version] = encoder
    return encoder


def compile_init(cls: StructMeta) -> None:
    """Give a class its constructor: keywords only, a default for each, lists and structs made fresh."""
    source = Source(cls.__qualname__, 0, "init")
    source.names.update(GIVEN=ZERO, ZERO_UUID=ZERO_UUID)
    parameters = []
    body = []
    for field in fields_of(cls):
        default = _default_expression(source, field)
        if _is_fresh(field):
            parameters.append(f"{field.name}=GIVEN")
            body.append(f" self.{field.name} = {default} if {field.name} is GIVEN else {field.name}")
        else:
            parameters.append(f"{field.name}={default}")
            body.append(f" self.{field.name} = {field.name}")
    star = "*, " if parameters else ""
    source.lines = [f"def __init__(self, {star}{', '.join(parameters)}):", *(body or [" pass"])]
    init = source.compile("__init__")
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    type.__setattr__(cls, "__init__", init)
