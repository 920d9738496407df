"""The frames of the connection itself: handshake, events and end. Their request id is 0."""

# ruff: noqa: D102 - an override keeps the docstring of layout.Message
from __future__ import annotations

from memhub.service.wire.layout import Message, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

    from memhub.service.wire.layout import blob, rest, text, u16, u32, u64

#: The first field of HELLO: the bytes `memhub\r\n`, which a text-mode transport would change.
MAGIC: Final = int.from_bytes(b"memhub\r\n", "little")
#: What a client may name in ALPN; one that names nothing, or others, is served too.
ALPN: Final = "memhub/1"

VERSION_MIN: Final = 1
VERSION_MAX: Final = 1

MODEL_NATIVE: Final = 0
MODEL_LP64: Final = 1
MODEL_ILP32: Final = 2

#: Bits of HELLO's `features`: what a client asks for and a service grants, each for itself.
FEATURE_MAP: Final = 1
FEATURE_MAP_ROM: Final = 2
FEATURE_STRINGS: Final = 4
FEATURE_SET: Final = 8
FEATURE_REFUSALS: Final = 16
FEATURE_FAULTS: Final = 32
FEATURE_CACHES: Final = 64
FEATURE_SNAPSHOTS: Final = 128
FEATURE_DEVICES: Final = 256
FEATURE_KERNELS: Final = 512

#: What every connection may have, and what a local one may have beside it.
FEATURES: Final = (
    FEATURE_STRINGS
    | FEATURE_SET
    | FEATURE_REFUSALS
    | FEATURE_FAULTS
    | FEATURE_CACHES
    | FEATURE_SNAPSHOTS
    | FEATURE_DEVICES
    | FEATURE_KERNELS
)
MAP_FEATURES: Final = FEATURE_MAP | FEATURE_MAP_ROM

#: The smallest `max_body` that a server may set, and the largest body of HELLO.
MIN_BODY: Final = 4096


def model_name(model: int) -> str | None:
    """`LP64`, `ILP32`, or None for the model of the architecture."""
    return (None, "LP64", "ILP32")[model]


def check_model(name: str, model: int) -> None:
    """Refuse an unknown data model.

    Raises:
        ProtocolError: the model is not 0, 1 or 2.
    """
    if model > MODEL_ILP32:
        raise ProtocolError(f"{name} asks for data model {model}, which is not 0, 1 or 2")


class Hello(Message):
    """The first frame a client sends; its layout is the same in every version.

    Attributes:
        magic: the bytes 6d 65 6d 68 75 62 0d 0a, which are `memhub`, CR and LF.
        version_min: the lowest version that the client speaks.
        version_max: the highest.
        model: the data model that handles have unless OPEN says otherwise.
        reserved: 0.
        features: `FEATURE_*` bits that the client asks for; unknown bits are ignored.
        label: the client's name for itself, for people. It becomes the process's name: the first 64
            characters, with `?` for each that is not printable, without blanks around it; where
            nothing is left, `process-` and the process's number.
        token: what TCP clients show instead of a certificate or beside it; empty otherwise.
    """

    TYPE: ClassVar[int] = 0x01

    magic: u64
    version_min: u16
    version_max: u16
    model: u16
    reserved: u16
    features: u32
    label: text
    token: blob

    def check(self) -> None:
        if self.magic != MAGIC:
            raise ProtocolError(f"HELLO begins with {self.magic:#018x}, not the magic {MAGIC:#x}")

        if not 1 <= self.version_min <= self.version_max:
            raise ProtocolError(
                f"HELLO has versions {self.version_min} to {self.version_max}, which is not a range"
            )

        if self.reserved:
            raise ProtocolError(f"HELLO has {self.reserved:#x} in its reserved field, not 0")

        check_model(self.NAME, self.model)


class Goodbye(Message):
    """No new requests follow; those in flight are still answered. Either side may send it.

    Attributes:
        grace_ms: of the server: until it cancels what is in flight. Of a client: not looked at.
        reason: why, for people.
    """

    TYPE: ClassVar[int] = 0x02

    grace_ms: u32
    reason: text


class Welcome(Message):
    """The server accepts the connection.

    Attributes:
        version: the version of every frame that follows.
        model: the connection's data model, as HELLO asked.
        features: the features that the client asked for and may use.
        max_body: the largest body, in bytes, that either side may send.
        max_in_flight: how many requests may be unanswered at once.
        max_handles: how many handles may be open at once.
        idle_ms: how long the client may be idle until the server closes; 0 is never.
        server: the server's name and version, for people.
    """

    TYPE: ClassVar[int] = 0x03

    version: u16
    model: u16
    features: u32
    max_body: u32
    max_in_flight: u32
    max_handles: u32
    idle_ms: u32
    server: text

    def check(self) -> None:
        check_model(self.NAME, self.model)
        if self.max_body < MIN_BODY:
            raise ProtocolError(f"WELCOME limits bodies to {self.max_body}, below {MIN_BODY}")

        if not self.max_in_flight:
            raise ProtocolError("WELCOME allows no request in flight")


class Refused(Message):
    """The server refuses the connection, and closes it.

    Attributes:
        code: FreeBSD's errno number.
        name: its name, such as `EACCES`.
        reason: why, for people.
    """

    TYPE: ClassVar[int] = 0x04

    code: u32
    name: text
    reason: text


class Abort(Message):
    """The peer broke a rule of the protocol; the sender closes the connection.

    Attributes:
        reason: a word for the rule, a colon, and the rule with the offending values.
    """

    TYPE: ClassVar[int] = 0x05

    reason: text


class Event(Message):
    """Something happened that a subscription asked for.

    Attributes:
        subscription: the number that SUBSCRIBE returned.
        missed: how many events were dropped since the one before, as the client read too slowly.
        sequence: the audit record's number, or a count where there is no log; it has gaps.
        base: first byte concerned; 0 with `length` 0 where no range is.
        length: bytes concerned.
        event: the audit record's event name, such as `request.set`.
        detail: the audit record as one JSON object; empty if it is longer than `max_body`.
    """

    TYPE: ClassVar[int] = 0x06

    subscription: u32
    missed: u32
    sequence: u64
    base: u64
    length: u64
    event: text
    detail: rest
