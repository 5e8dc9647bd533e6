"""How messages are declared: `Message`, `Struct`, `field` and the scalar names that annotations use.

A message class is one schema for all its versions; each field carries the versions it exists in. Nothing here reads or
writes bytes: `ottla.wire.compiler` turns a class and a version into a codec the first time it is asked for.

    class HeartbeatRequest(Message):
        KEY = 12
        VALID = (0, 4)
        FLEXIBLE = 4

        group_id: str = field("0+")
        generation_id: Int32 = field("0+")
        member_id: str = field("0+")
        group_instance_id: str | None = field("3+", nullable="3+", default=None)

Constructors take keywords only and every field has a default. Modules of messages begin with
`from __future__ import annotations`: the compiler reads annotations as text (`Int32`, `list[Topic]`, `str | None`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self, TypeAlias, dataclass_transform


class RecordsSlice(Protocol):
    """Stored record batches that are not in memory: all that encoding needs is how many bytes they are."""

    @property
    def nbytes(self) -> int: ...


Buffer: TypeAlias = bytes | bytearray | memoryview

# Names for annotations. To a type checker an Int16 is an int; to the compiler it is two bytes.
Int8: TypeAlias = int
Int16: TypeAlias = int
Uint16: TypeAlias = int
Int32: TypeAlias = int
Uint32: TypeAlias = int
Int64: TypeAlias = int
Float64: TypeAlias = float
Uuid: TypeAlias = bytes  # 16 bytes
Records: TypeAlias = Buffer  # decoded as a memoryview of the frame, not copied
SlicedRecords: TypeAlias = Buffer | RecordsSlice  # Records of a response: a broker puts a slice of a segment here

ZERO_UUID = bytes(16)

#: "No default given": 0, False, "", b"", an empty list, the zero uuid, a struct of defaults; null records.
ZERO: Any = type("Zero", (), {"__repr__": lambda self: "ZERO", "__slots__": ()})()


class Field:
    """What a declaration says of one field beside its annotation. Version ranges are Kafka's text: "3-7", "3+", "3"."""

    __slots__ = ("default", "ignorable", "nullable", "tag", "tagged", "versions")

    def __init__(
        self, versions: str, nullable: str | None, tag: int | None, tagged: str | None, default: Any, ignorable: bool
    ) -> None:
        self.versions = versions
        self.nullable = nullable
        self.tag = tag
        self.tagged = tagged
        self.default = default
        self.ignorable = ignorable


def field(
    versions: str,
    *,
    nullable: str | None = None,
    tag: int | None = None,
    tagged: str | None = None,
    default: Any = ZERO,
    ignorable: bool = False,
) -> Any:
    """Declare a field that is on the wire in `versions`.

    `nullable`: versions in which it may be null. `tag`, `tagged`: its number in the tag section and the versions that
    carry it there. `default`: the value where a version lacks it. `ignorable`: another value is dropped silently where
    the version lacks the field; else encoding raises UNSUPPORTED_VERSION.
    """
    return Field(versions, nullable, tag, tagged, default, ignorable)


@dataclass_transform(kw_only_default=True, eq_default=True)
class StructMeta(type):
    """Turns the declared fields into `__slots__`, and keeps what was declared in `FIELDS`."""

    FIELDS: dict[str, Field]
    OWNER: StructMeta | None = None  # the message that a struct is nested in

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> StructMeta:
        fields = {key: value for key, value in namespace.items() if type(value) is Field}
        for key in fields:
            del namespace[key]
        namespace["__slots__"] = tuple(fields)
        namespace["FIELDS"] = fields
        if "VALID" in namespace:
            namespace.setdefault("NAME", name)
            namespace["_decoders"] = {}
            namespace["_encoders"] = {}
        cls = super().__new__(mcs, name, bases, namespace)
        if "VALID" in namespace:
            for value in namespace.values():
                if type(value) is StructMeta:
                    value.OWNER = cls
        return cls


class Struct(metaclass=StructMeta):
    """A group of fields inside a message. Mutable, compared by value, not hashable."""

    FIELDS: ClassVar[dict[str, Field]]
    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self, **values: Any) -> None:
        # The first construction of a class compiles its real constructor, which replaces this one.
        from ottla.wire.compiler import compile_init

        compile_init(type(self))
        type(self).__init__(self, **values)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in type(self).FIELDS)

    def __repr__(self) -> str:
        """The constructor call that makes an equal object: fields at their default are left out."""
        plain = type(self)()
        shown = []
        for name in type(self).FIELDS:
            value = getattr(self, name)
            if value != getattr(plain, name):
                shown.append(f"{name}={bytes(value) if isinstance(value, memoryview) else value!r}")
        return f"{type(self).__qualname__}({', '.join(shown)})"


class Message(Struct):
    """A request, a response, a stored record or an embedded structure: a struct that has versions of its own."""

    KEY: ClassVar[int | None] = None  # api key or record type
    NAME: ClassVar[str]
    VALID: ClassVar[tuple[int, int]]  # lowest and highest version
    FLEXIBLE: ClassVar[int | None] = None  # first version with compact lengths and tags
    _decoders: ClassVar[dict[int, Callable[[Buffer, int], Any]]]
    _encoders: ClassVar[dict[int, Callable[[Any, list[Any], list[int]], None]]]

    @classmethod
    def decode(cls, data: Buffer, version: int, offset: int = 0) -> Self:
        """Read the message at `offset`. `data` ends where its frame ends; bytes after the body are tolerated.

        Records are memoryviews of `data`, all else is copied out. Raises ProtocolError for bytes that are no such
        message, KafkaError UNSUPPORTED_VERSION for a version outside `VALID`.
        """
        decoder = cls._decoders.get(version)
        if decoder is None:
            from ottla.wire.compiler import compile_decoder

            decoder = compile_decoder(cls, version)
        return decoder(data, offset)  # type: ignore[no-any-return]

    def encode(self, version: int) -> bytes:
        """The message's bytes. Raises KafkaError UNSUPPORTED_VERSION where `version` cannot say what a field says,
        ValueError naming the field for a value that fits no field, TypeError for records that are not in memory."""
        parts: list[Any] = []
        slices: list[int] = []
        (self._encoders.get(version) or _compile_encoder(type(self), version))(self, parts, slices)
        if slices:
            raise TypeError(f"{self.NAME} holds records that are not in memory: use encode_parts")
        return b"".join(parts)

    def encode_parts(self, version: int) -> list[bytes | RecordsSlice]:
        """As `encode`, in pieces: each `RecordsSlice` among the records stands between the bytes around it."""
        parts: list[Any] = []
        slices: list[int] = []
        (self._encoders.get(version) or _compile_encoder(type(self), version))(self, parts, slices)
        if not slices:
            return [b"".join(parts)]
        pieces: list[bytes | RecordsSlice] = []
        start = 0
        for index in slices:
            pieces.append(b"".join(parts[start:index]))
            pieces.append(parts[index])
            start = index + 1
        if start < len(parts):
            pieces.append(b"".join(parts[start:]))
        return pieces


class Encoded(Message):
    """A response that is bytes already, of the version that was asked, with stored records between them perhaps."""

    parts: list[bytes | RecordsSlice] = field("0+")

    def __init__(self, parts: list[bytes | RecordsSlice]) -> None:
        self.parts = parts

    def encode_parts(self, version: int) -> list[bytes | RecordsSlice]:
        return self.parts


def _compile_encoder(cls: type[Message], version: int) -> Callable[[Any, list[Any], list[int]], None]:
    from ottla.wire.compiler import compile_encoder

    return compile_encoder(cls, version)
