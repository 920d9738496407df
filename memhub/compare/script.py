"""Scripts: a request on each line, in memcontrol(8)'s words or as a line for `/proc/mtrr`.

Both kinds may stand in one script. What the programs would read as something else, or would
refuse before they ask a kernel, is a fault of the script here.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NoReturn

from memhub.abi import (
    FLAG_WORDS,
    MDF_ATTRMASK,
    MDF_FORCE,
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MDF_WRITEPROTECT,
    MDF_WRITETHROUGH,
    TYPE_OF_FLAG,
    U64_MAX,
    flag_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Requests of one script, at most.
REQUESTS_MAX: Final = 1000
_LINE_MAX: Final = 1000
_OWNER_MAX: Final = 7
#: What `/proc/mtrr` takes of a line.
_PROC_LINE_MAX: Final = 78

_SETTABLE: Final = {
    word: flag
    for flag, word in FLAG_WORDS
    if flag & (MDF_ATTRMASK | MDF_FORCE) and word != "unknown"
}
_PROC_TYPES: Final[Mapping[str, int]] = {
    "uncachable": MDF_UNCACHEABLE,
    "write-combining": MDF_WRITECOMBINE,
    "write-through": MDF_WRITETHROUGH,
    "write-protect": MDF_WRITEPROTECT,
    "write-back": MDF_WRITEBACK,
}
_NUMBER: Final = r"(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})"
_PLAIN: Final = re.compile(_NUMBER, re.ASCII)
_OCTAL: Final = re.compile("0[0-7]*", re.ASCII)
_BASE_LINE: Final = re.compile(rf"base={_NUMBER}\s*size={_NUMBER}\s*type=\s*(\S+)", re.ASCII)
_DISABLE_LINE: Final = re.compile(rf"disable={_NUMBER}", re.ASCII)


class ScriptError(ValueError):
    """Raised for a script that is none; it names the line and the rule."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        text: it in words, for people.
        clear: whether a range is to go; else one is set.
        base: first byte.
        length: bytes.
        flags: the attributes of a set, as `mr_flags`.
        owner: the label of a set; of a clear without a length, whose ranges are to go.
        register: of a clear by number; None otherwise.
        line: the line for `/proc/mtrr`, where it was one.
        source: line of the script, or record of the log.
    """

    text: str
    clear: bool
    base: int = 0
    length: int = 0
    flags: int = 0
    owner: str = "user"
    register: int | None = None
    line: str | None = None
    source: int = 0

    @property
    def type(self) -> str | None:
        """The short name of its type; None where it names none or several."""
        return None if self.clear else TYPE_OF_FLAG.get(self.flags & MDF_ATTRMASK)

    @property
    def by_owner(self) -> bool:
        """Whether it clears all ranges of an owner."""
        return self.clear and self.register is None and not self.length


def known_script() -> str:
    """The script that comes with memhub: fifteen well-known requests."""
    return files("memhub.compare").joinpath("known.txt").read_text("utf-8")


def parse_script(text: str) -> tuple[Request, ...]:
    """Read a script.

    Args:
        text: a request on each line; empty lines and `#` to the end of a line are skipped.

    Raises:
        ScriptError: a line is none, or there are none or too many.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        said = line.split("#", 1)[0].strip()
        if not said:
            continue

        if len(said) > _LINE_MAX:
            _fail(number, f"{said[:40]!r}… is longer than {_LINE_MAX} characters")

        found.append(_parse_line(said, number))

    return checked(found)


def checked(requests: Iterable[Request]) -> tuple[Request, ...]:
    """Requests that are some, and not too many.

    Raises:
        ScriptError: there are none or too many.
    """
    found = tuple(requests)
    if not found:
        raise ScriptError("it has no requests")

    if len(found) > REQUESTS_MAX:
        raise ScriptError(f"it has {len(found)} requests, which is more than {REQUESTS_MAX}")

    return found


def set_text(base: int, length: int, flags: int) -> str:
    """A set in words."""
    words = " ".join(flag_words(flags & (MDF_ATTRMASK | MDF_FORCE))) or "no type"

    return f"set {base:#x}/{length:#x} {words}"


def clear_text(base: int, length: int) -> str:
    """A clear in words."""
    return f"clear {base:#x}/{length:#x}"


def _fail(number: int, why: str) -> NoReturn:
    raise ScriptError(f"line {number}: {why}")


def _echoed(said: str) -> str | None:
    """What `echo … > /proc/mtrr` writes there; None for any other line."""
    word, _, text = said.partition(" ")
    text, file, rest = text.rpartition("/proc/mtrr")
    text = text.rstrip().removesuffix("|")
    if word != "echo" or not file or rest or not text.endswith(">"):
        return None

    text = text[:-1].removesuffix(">").strip()
    if text.startswith("-n "):
        text = text[3:].lstrip()

    return text.strip("\"'")


def _parse_line(said: str, number: int) -> Request:
    echoed = _echoed(said)
    said = said if echoed is None else echoed

    if said.startswith(("base=", "disable=")):
        return parse_proc_line(said, number)

    if echoed is not None:
        _fail(number, f"{said!r} is no line for /proc/mtrr (base=N size=N type=NAME, disable=N)")

    try:
        words = shlex.split(said.replace("\\x", "\\\\x"))  # what stands for a byte stays
    except ValueError as error:
        _fail(number, f"{said!r}: {error}")

    if words[:1] == ["memcontrol"]:
        words = words[1:]

    if words[:1] == ["set"]:
        return _parse_set(words[1:], number)

    if words[:1] == ["clear"]:
        return _parse_clear(words[1:], number)

    _fail(
        number,
        f"{said[:60]!r} is neither a command of memcontrol(8) (set, clear) nor a line for "
        "/proc/mtrr (base=N size=N type=NAME, disable=N)",
    )


# /proc/mtrr


def parse_proc_line(line: str, number: int) -> Request:
    """Read a line for `/proc/mtrr`.

    Args:
        line: the line.
        number: where it stands, for messages and as the request's `source`.

    Raises:
        ScriptError: it is none.
    """
    if len(line) > _PROC_LINE_MAX:
        _fail(number, f"/proc/mtrr takes {_PROC_LINE_MAX} characters of a line, not {len(line)}")

    found = _DISABLE_LINE.fullmatch(line)
    if found is not None:
        register = _read_number(found[1], number)
        if register > 0x7FFFFFFF:
            _fail(number, f"{found[1]} is not the number of a register")

        return Request(f"disable={register}", True, register=register, line=line, source=number)

    found = _BASE_LINE.fullmatch(line)
    if found is None:
        _fail(number, f"{line!r} is not base=N size=N type=NAME or disable=N")

    base, length = _read_number(found[1], number), _read_number(found[2], number)
    flags = _PROC_TYPES.get(found[3])
    if flags is None:
        _fail(number, f"{found[3]!r} is not a type of /proc/mtrr ({', '.join(_PROC_TYPES)})")

    return Request(
        set_text(base, length, flags), False, base, length, flags, line=line, source=number
    )


# memcontrol(8)


def _parse_set(words: list[str], number: int) -> Request:
    options, rest = _read_options(words, number)
    if "-l" not in options:
        _fail(number, "set needs -l and a length")

    base, length = _range_of(options, number)
    flags = 0
    for word in rest:
        if word not in _SETTABLE:
            _fail(number, f"{word!r} is not an attribute to set ({', '.join(_SETTABLE)})")

        flags |= _SETTABLE[word]

    owner = options.get("-o", "user")

    return Request(set_text(base, length, flags), False, base, length, flags, owner, source=number)


def _parse_clear(words: list[str], number: int) -> Request:
    options, rest = _read_options(words, number)
    if rest:
        _fail(number, f"clear takes no {rest[0]!r}")

    if "-o" in options:
        if len(options) > 1:
            _fail(number, "clear takes -o alone, or -b and -l")

        return Request(f"clear owner {options['-o']}", True, owner=options["-o"], source=number)

    base, length = _range_of(options, number)
    if not length:
        _fail(number, "clear needs -o, or -b and -l with a length that is not 0")

    return Request(clear_text(base, length), True, base, length, source=number)


def _read_options(words: list[str], number: int) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, value = rest[0][:2], rest[0][2:]
        if name not in ("-b", "-l", "-o"):
            _fail(number, f"{rest[0]!r} is not an option (-b BASE, -l LENGTH, -o OWNER)")

        rest.pop(0)
        if not value:
            if not rest:
                _fail(number, f"{name} needs a value")

            value = rest.pop(0)

        options[name] = value

    owner = options.get("-o")
    if owner is not None and not (
        owner.isascii() and owner.isprintable() and 0 < len(owner) <= _OWNER_MAX
    ):
        _fail(number, f"-o {owner!r} is not 1 to {_OWNER_MAX} printable characters of ASCII")

    return options, rest


def _range_of(options: Mapping[str, str], number: int) -> tuple[int, int]:
    base = _read_number(options.get("-b", "0"), number)
    length = _read_number(options.get("-l", "0"), number)

    return base, length


def _read_number(text: str, number: int) -> int:
    """A number as strtouq(3) and the kernel read it: 0x is hexadecimal, a leading 0 octal."""
    octal = text.startswith("0") and text[1:2] not in ("x", "X")
    if not (_OCTAL if octal else _PLAIN).fullmatch(text):
        _fail(number, f"{text!r} is not a number (0x is hexadecimal, a leading 0 octal)")

    value = int(text, 8 if octal else 0)
    if value > U64_MAX:
        _fail(number, f"{text} does not fit 64 bits")

    return value
