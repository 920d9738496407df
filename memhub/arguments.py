"""What an argument has to be: one rule and one message of each kind, for every face.

A `take_*` function returns its argument as Python's own plain value, or raises TypeError: numpy's
integers and whatever else has `__index__` are integers, and True is 1, as for `os.pread`. A
`wrong_*` function says what is wrong with a value of the right type, or returns an empty string;
its caller raises the error. Like `abi_layout`, this module imports nothing that is slow to load.
"""

from __future__ import annotations

from operator import index

from memhub.abi_layout import EVERY_SLOT, U64_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any, Final, NoReturn

    from memhub.abi_layout import Buffer

#: Milliseconds: a lease is not longer, and a wait of as much or more has no limit. It is what a
#: frame of the service can hold, 49 days.
LONGEST_MS: Final = 0xFFFFFFFF

#: How deeply lists may be nested in what a client gives: every reader of JSON takes so much.
DEEPEST: Final = 64


def _refuse_argument(name: str, value: object, rule: str) -> NoReturn:
    raise TypeError(f"{name} {value!r:.80} is not {rule}") from None


def take_integer(name: str, value: object) -> int:
    """An integer."""
    try:
        return int(index(value))  # type: ignore[arg-type]
    except TypeError:
        _refuse_argument(name, value, "an integer")


def take_integers(
    it: object, names: Iterable[str], *, optional: Iterable[str] = (), times: Iterable[str] = ()
) -> None:
    """Make attributes of a value Python's own numbers.

    Args:
        it: the value, which may be frozen.
        names: the attributes that are integers.
        optional: those that are integers or None.
        times: those that are seconds or None.
    """
    for name in names:
        object.__setattr__(it, name, take_integer(name, getattr(it, name)))

    for name in optional:
        if (value := getattr(it, name)) is not None:
            object.__setattr__(it, name, take_integer(name, value))

    for name in times:
        if (value := getattr(it, name)) is not None:
            object.__setattr__(it, name, take_seconds(name, value))


def refuse_truths(it: object, names: Iterable[str]) -> None:
    """Refuse attributes of a value that are True or False where numbers are due."""
    for name in names:
        if isinstance(value := getattr(it, name), bool):
            raise TypeError(f"{name} {value} is a truth value, where a number is due")


def take_optional(name: str, value: object) -> int | None:
    """An integer, or None."""
    return None if value is None else take_integer(name, value)


def take_span(base: object, length: object) -> tuple[int, int]:
    """First byte and length of a range."""
    return take_integer("base", base), take_integer("length", length)


def take_seconds(name: str, value: object, rule: str = "a number of seconds") -> float:
    """A number of seconds, which may be infinite or no number; `wrong_wait` and others say."""
    kind = type(value)
    if not (hasattr(kind, "__float__") or hasattr(kind, "__index__")):
        _refuse_argument(name, value, rule)

    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        _refuse_argument(name, value, rule)
    except OverflowError:  # an integer beyond what a float holds
        return float("inf") if value > 0 else float("-inf")  # type: ignore[operator]

    return value if kind is int and abs(number) < 1 << 53 else number  # type: ignore[return-value]


def take_wait(wait: float | None) -> float | None:
    """A wait in seconds, or None."""
    return None if wait is None else take_seconds("wait", wait)


def take_lease(lease: float | None) -> float | None:
    """A lease in seconds, or None."""
    return None if lease is None else take_seconds("lease", lease)


def take_text(name: str, value: object) -> str:
    """Text that UTF-8, and so the log and the wire, can hold; ValueError where it cannot."""
    if not isinstance(value, str):
        _refuse_argument(name, value, "text")

    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} {value!a:.80} holds half of a surrogate pair") from None

    return value


def take_names(name: str, value: object) -> frozenset[str]:
    """Several texts; one text alone would be taken for its characters."""
    if isinstance(value, str | bytes) or not hasattr(type(value), "__iter__"):
        _refuse_argument(name, value, "several names")

    return frozenset([take_text(name, it) for it in value])  # type: ignore[attr-defined]


def take_buffer(name: str, value: object) -> Buffer:
    """Bytes, or any buffer as single bytes, copied unless that is what it is."""
    if type(value) is bytes or type(value) is bytearray:
        return value

    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        kind = type(value).__name__
        _refuse_argument(name, value, f"a buffer of bytes: it is of type {kind}")

    plain = view.format == "B" and view.ndim == 1 and view.c_contiguous

    return view if plain else view.tobytes()


def plain_bytes(data: bytes) -> bytes:
    """The bytes themselves, whatever a subclass says of its length or its items."""
    return data if type(data) is bytes else memoryview(data).tobytes()


def take_owner(owner: object) -> str | bytes:
    """A label: text or bytes."""
    if isinstance(owner, str):
        return owner

    try:
        return bytes(take_buffer("owner", owner))
    except TypeError:
        _refuse_argument("owner", owner, "text or bytes")


def take_attribute(attribute: object) -> int | str:
    """`mr_flags`: an integer, or the words for it, which `abi_layout.flags_of_words` reads.

    Text without a letter is no word but a number of the wrong type.
    """
    if isinstance(attribute, str) and any(map(str.isalpha, attribute)):
        return attribute

    several = attribute if isinstance(attribute, list | tuple | set | frozenset) else ()
    if attribute == "" or any(isinstance(it, str) for it in several):
        rule = "an integer, or words in one text, such as 'write-combine force'"
        _refuse_argument("mr_flags", attribute, rule)

    return take_integer("mr_flags", attribute)


def take_opening(path: object, mode: object, model: object) -> None:
    """What every way to open a device file is given."""
    take_text("path", path)
    take_text("mode", mode)
    take_model(model)


def check_keys(called: str, found: Collection[str], known: Sequence[str], needed: str) -> None:
    """Refuse a dictionary for an unknown key, or for one that is missing.

    Args:
        called: what it is, in messages.
        found: its keys.
        known: those that it may have.
        needed: the key that has to be there.

    Raises:
        ValueError: names the key.
    """
    for name in found:
        if name not in known:
            raise ValueError(f"{name!r:.80} is none of {called}'s {', '.join(known)}")

    if needed not in found:
        raise ValueError(f"{needed} is missing")


def take_kind(name: str, value: object, kind: type) -> None:
    """A value of one class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        _refuse_argument(name, value, f"{article} {kind.__name__}")


def take_model(model: object) -> str | None:
    """The name of a data model, or None."""
    name = None if model is None else getattr(model, "name", "")
    if name not in (None, "LP64", "ILP32"):
        _refuse_argument("model", model, "a data model: abi.LP64 or abi.ILP32")

    return name


def show_integer(value: int) -> str:
    """An integer for a message: a long one in hexadecimal, which Python always can print."""
    return str(value) if abs(value) <= U64_MAX else hex(value)


def wrong_transfer(length: int, offset: int | None) -> str:
    """What is wrong with a length and an offset that no kernel could be asked for."""
    if not 0 <= length <= U64_MAX:
        return f"length {length:#x} is not between 0 and {EVERY_SLOT:#x}"

    if offset is not None and not 0 <= offset <= U64_MAX:
        return f"offset {offset:#x} is not an unsigned 64-bit number"

    return ""


def wrong_seek(offset: int, whence: int) -> str:
    """What is wrong with the arguments of a seek; whence 3 and 4 are lseek(2)'s, too."""
    if not 0 <= whence <= 4:
        return f"whence {show_integer(whence)} is not between 0 and 4"

    if not -(1 << 63) <= offset <= U64_MAX:
        return f"offset {offset:#x} does not fit 64 bits"

    return ""


def wrong_address(address: int) -> str:
    """What is wrong with an address to explain."""
    return (
        "" if 0 <= address <= U64_MAX else f"address {address:#x} is not an unsigned 64-bit number"
    )


def wrong_range(base: int, length: int) -> str:
    """What is wrong with a range of addresses, which has one at least."""
    fits = 0 <= base <= U64_MAX and 0 < length <= U64_MAX + 1 - base

    return "" if fits else f"{base:#x}/{length:#x} is not a range of 64-bit addresses"


def wrong_span(base: int, length: int) -> str:
    """What is wrong with a span of addresses; one of no bytes may begin anywhere."""
    if length < 0:
        return f"length {length} is below 0"

    return "" if length == 0 and 0 <= base <= U64_MAX else wrong_range(base, length)


def wrong_fence(fence: int) -> str:
    """What is wrong with a fencing number."""
    if 0 < fence <= U64_MAX:
        return ""

    return f"fence {show_integer(fence)} is not a fencing number, which is 1 to {U64_MAX:#x}"


def wrong_wait(wait: float) -> str:
    """What is wrong with a wait."""
    return "" if wait >= 0 else f"a wait of {wait} seconds is not a time to come"


def has_limit(wait: float) -> bool:
    """Whether a wait ends by itself; one of `LONGEST_MS` or more does not."""
    return wait * 1000 < LONGEST_MS


def wrong_lease(lease: float) -> str:
    """What is wrong with a lease."""
    if not 0 < lease < float("inf"):
        return f"a lease of {lease} seconds is not a time to come"

    if lease * 1000 > LONGEST_MS:
        return f"a lease of {lease} seconds is longer than {LONGEST_MS / 1000} seconds (49 days)"

    return ""


def is_deep(value: object) -> bool:
    """Whether lists and mappings are nested in a value more deeply than `DEEPEST`."""
    left: list[tuple[object, int]] = [(value, 0)]
    while left:
        found, depth = left.pop()
        if isinstance(found, list | tuple | dict):
            if depth == DEEPEST:
                return True

            inner = found.values() if isinstance(found, dict) else found
            left += [(it, depth + 1) for it in inner]

    return False


def plain_value(name: str, value: object) -> int | str | bool | list[object] | None:
    """An argument of a kernel's call as a plain value of the caller's own: texts, numbers, lists.

    Raises:
        ValueError: it is none of these, an integer that does not fit 64 bits, or text that no
            record can hold.
    """
    if value is None or isinstance(value, bool):
        return value

    if isinstance(value, str):
        return take_text(name, value)

    if isinstance(value, list | tuple):
        return [plain_value(name, it) for it in value]

    try:
        number = int(index(value))  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name} {value!r:.80} is no integer, text, truth value or list") from None

    if not -(1 << 63) <= number <= U64_MAX:
        raise ValueError(f"{name} {number:#x} does not fit 64 bits")

    return number


def plain_arguments(args: Mapping[str, object]) -> dict[str, Any]:
    """The arguments of a kernel's call as plain values, apart from what the caller can change.

    Raises:
        ValueError: names the argument that a record could not hold.
    """
    for name, value in args.items():
        if is_deep(value):
            raise ValueError(f"{take_text('argument', name)} is nested too deeply")

    return {take_text("argument", name): plain_value(name, it) for name, it in args.items()}
