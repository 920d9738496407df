"""Frames and how a message class declares its own layout.

A frame is a header of 12 bytes, `u32 length, u16 type, u16 flags, u32 request`, and a body of
`length` bytes; everything is little-endian. A message class names its fields in the order in
which they stand in the body and annotates each with its kind, so the class is the layout:

- `u16 u32 u64`: fixed fields, which come first and without padding
- `text`, `blob`: a u16 length, then that many bytes (`text` is UTF-8)
- `rest`: all bytes up to the end of the frame
- `late`: a u32 behind all others, None where the frame ends before it
- `bool`: bit 0 of the header's flags

The modules of this package import neither `typing` nor `dataclasses` nor `enum`: these three
take longer to import than the interpreter takes to start.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar, Final, Self, TypeAlias, dataclass_transform

    u16: TypeAlias = int
    u32: TypeAlias = int
    u64: TypeAlias = int
    text: TypeAlias = str
    blob: TypeAlias = bytes
    rest: TypeAlias = bytes
    late: TypeAlias = int | None
else:

    def dataclass_transform() -> object:
        """Stand in for `typing.dataclass_transform`, which only a type checker needs."""
        return lambda cls: cls


HEADER: Final = Struct("<IHHI")
HEADER_SIZE: Final = HEADER.size
LAST: Final = 1  # bit 0 of the header's flags, on DATA

#: Types below this one concern the connection and carry request id 0; all others do not.
FIRST_REQUEST_TYPE: Final = 0x10
U32_MAX: Final = 0xFFFFFFFF

_CODES: Final = {"u16": "H", "u32": "I", "u64": "Q"}
_TAILS: Final = ("text", "blob", "rest", "late")
_COUNTED: Final = ("text", "blob")
_TAIL_MAX: Final = 0xFFFF
_LATE: Final = Struct("<I")


class ProtocolError(Exception):
    """Raised when the peer breaks a rule of the protocol; the connection ends.

    Attributes:
        reason: the rule that was broken, with the offending values.
        code: the word for the rule, with which the text of ABORT begins.
        messages: complete messages that came before the breach and were not returned yet.
        answered: whether ABORT tells the peer; not if its own ABORT broke the rule.
    """

    answered = True

    def __init__(self, reason: str, code: str = "malformed") -> None:
        self.reason = reason
        self.code = code
        self.messages: list[Message] = []
        super().__init__(reason)


class LocalProtocolError(ProtocolError):
    """Raised when this side is asked to break a rule; nothing was sent or changed."""


def _frame_name(class_name: str) -> str:
    parts = ["_" + c if c.isupper() and at else c for at, c in enumerate(class_name)]

    return "".join(parts).upper()


@dataclass_transform()
class MessageMeta(type):
    """Turns the annotations of a message class into slots and a layout."""

    def __new__(  # noqa: D102
        mcs, name: str, bases: tuple[type, ...], space: dict[str, Any]
    ) -> MessageMeta:
        kinds = {
            field: kind
            for field, kind in space.get("__annotations__", {}).items()
            if not kind.startswith("ClassVar")
        }
        space["__slots__"] = tuple(kinds)
        space["DEFAULTS"] = {field: space.pop(field) for field in kinds if field in space}
        if bases:
            space.update(_make_layout(name, kinds))

        return super().__new__(mcs, name, bases, space)


def _make_layout(name: str, kinds: Mapping[str, str]) -> dict[str, Any]:
    codes = "".join(_CODES.get(kind, "") for kind in kinds.values())

    return {
        "NAME": _frame_name(name),
        "KINDS": dict(kinds),
        "GROWS": "rest" not in kinds.values(),
        "FIXED": Struct("<" + codes),
        "FRAME": Struct("<IHHI" + codes),
        "HEAD": tuple(field for field, kind in kinds.items() if kind in _CODES),
        "TAIL": tuple((field, kind) for field, kind in kinds.items() if kind in _TAILS),
    }


class Message(metaclass=MessageMeta):
    """One frame, decoded.

    Attributes:
        request: the id that an answer shares with its request; 0 on frames of the connection.
            With 0 in a client's request, sending it takes the next free id.
    """

    TYPE: ClassVar[int] = 0
    NAME: ClassVar[str] = ""
    KINDS: ClassVar[dict[str, str]] = {}
    GROWS: ClassVar[bool] = True  # bytes may follow its last field; `rest` takes all there are
    DEFAULTS: ClassVar[dict[str, Any]] = {}
    FIXED: ClassVar[Struct]
    FRAME: ClassVar[Struct]
    FEATURE: ClassVar[int] = 0  # the frame exists only where this feature was granted
    HEAD: ClassVar[tuple[str, ...]] = ()
    TAIL: ClassVar[tuple[tuple[str, str], ...]] = ()

    request: int

    def __init__(self, request: int, *values: object, **named: object) -> None:
        self.request = request
        fields = self.KINDS
        if named or len(values) != len(fields):  # most frames are made of all values in order
            given = {**self.DEFAULTS, **dict(zip(fields, values, strict=False)), **named}
            if len(values) > len(fields) or given.keys() != fields.keys():
                raise TypeError(f"{type(self).__name__} takes the fields {', '.join(fields)}")

            values = tuple(given[field] for field in fields)

        for field, value in zip(fields, values, strict=True):
            setattr(self, field, value)

    def check(self) -> None:
        """Check rules that the layout does not express.

        Raises:
            ProtocolError: a field has a value that the protocol does not allow.
        """

    def encode(self) -> bytes:
        """The whole frame, header included.

        Raises:
            LocalProtocolError: a value does not fit its field.
        """
        return b"".join(self.buffers())

    def buffers(self) -> tuple[bytes, ...]:
        """The frame in pieces to be sent in order; a large payload is not copied.

        Raises:
            LocalProtocolError: a value does not fit its field.
        """
        try:
            self.check()
            tail = b"".join([_encode_tail(kind, getattr(self, name)) for name, kind in self.TAIL])
            head = [getattr(self, name) for name in self.HEAD]
            length = self.FIXED.size + len(tail)

            return (self.FRAME.pack(length, self.TYPE, 0, self.request, *head) + tail,)
        except (ProtocolError, ValueError, struct_error) as error:
            raise LocalProtocolError(f"{self.NAME} cannot be sent: {error}") from None

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        """Read the body `data[at:stop]`.

        Args:
            data: bytes that hold the frame.
            at: where the body begins.
            stop: where it ends.
            flags: the header's flags, already checked.
            request: the header's request id, already checked.

        Raises:
            ProtocolError: the body breaks a rule.
        """
        message, end = cls._decode_fields(data, at, stop, request)
        if end != stop:
            raise ProtocolError(f"{cls.NAME} has {stop - end} bytes after its last field")

        return message

    @classmethod
    def decode_grown(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        """As `decode`, for an answer of a later service: what it has added at the end is ignored.

        What ends with a `rest` cannot grow.
        """
        return cls._decode_fields(data, at, stop, request)[0]

    @classmethod
    def _decode_fields(cls, data: bytes, at: int, stop: int, request: int) -> tuple[Self, int]:
        if stop - at < cls.FIXED.size:
            raise cls.short(stop - at)

        message = cls.__new__(cls)
        message.request = request
        for name, value in zip(cls.HEAD, cls.FIXED.unpack_from(data, at), strict=True):
            setattr(message, name, value)

        end = message._decode_tail(data, at + cls.FIXED.size, stop)  # noqa: SLF001
        message.check()

        return message, end

    def _decode_tail(self, data: bytes, at: int, stop: int) -> int:
        """Read the fields after the fixed ones; where the last of them ends."""
        for name, kind in self.TAIL:
            start = at + 2 if kind in _COUNTED else at
            end = start + int.from_bytes(data[at:start], "little")
            if kind == "rest":
                end = stop
            elif kind == "late" and at != stop:
                end = at + 4

            if start > stop or end > stop:
                raise ProtocolError(f"{self.NAME} ends inside its field {name}")

            setattr(self, name, self._decode_piece(name, kind, data[start:end]))
            at = end

        return at

    def _decode_piece(self, name: str, kind: str, piece: bytes) -> str | bytes | int | None:
        if kind == "late":
            return int.from_bytes(piece, "little") if piece else None

        if kind != "text":
            return piece

        try:
            return piece.decode()
        except UnicodeDecodeError:
            raise ProtocolError(f"{self.NAME} field {name} is not valid utf-8") from None

    @classmethod
    def short(cls, length: int) -> ProtocolError:
        """The error for a body that ends inside its fixed fields."""
        return ProtocolError(
            f"{cls.NAME} body of {length} bytes is shorter than its {cls.FIXED.size} fixed bytes"
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented

        return all(getattr(self, name) == getattr(other, name) for name in self._field_names())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._field_names())

        return f"{type(self).__name__}({fields})"

    def _field_names(self) -> tuple[str, ...]:
        return ("request", *self.KINDS)


def _encode_tail(kind: str, value: str | bytes | int | None) -> bytes:
    if value is None or isinstance(value, int):
        return b"" if value is None else _LATE.pack(value)

    piece = value.encode() if isinstance(value, str) else value
    if kind == "rest":
        return piece

    if len(piece) > _TAIL_MAX:
        raise ValueError(f"{len(piece)} bytes do not fit a field of at most {_TAIL_MAX}")

    return len(piece).to_bytes(2, "little") + piece


def clip(words: str) -> str:
    """Cut text to what a `text` field can hold, without splitting a character."""
    if len(words) * 4 <= _TAIL_MAX:
        return words

    return words.encode("utf-8", "replace")[:_TAIL_MAX].decode("utf-8", "ignore")
