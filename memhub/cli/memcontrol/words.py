"""How memcontrol(8) reads and writes numbers, options, attributes, errors and help.

Source: FreeBSD `usr.sbin/memcontrol/memcontrol.c`, `lib/libc/gen/errlst.c`, strtouq(3),
getopt(3).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.abi import FLAG_WORDS, U64_MAX, Errno

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Every word that memcontrol knows; `set` reports those that cannot be set.
FLAG_OF_WORD: Final[Mapping[str, int]] = {word: bit for bit, word in FLAG_WORDS}
SETTABLE: Final = frozenset(
    {
        "uncacheable",
        "write-combine",
        "write-through",
        "write-back",
        "write-protect",
        "force",
        "active",
    }
)

#: FreeBSD's text of each error, which is not always the host's.
TEXTS: Final[Mapping[Errno, str]] = {
    Errno.EPERM: "Operation not permitted",
    Errno.ENOENT: "No such file or directory",
    Errno.EIO: "Input/output error",
    Errno.ENXIO: "Device not configured",
    Errno.EBADF: "Bad file descriptor",
    Errno.EDEADLK: "Resource deadlock avoided",
    Errno.EACCES: "Permission denied",
    Errno.EFAULT: "Bad address",
    Errno.EBUSY: "Device busy",
    Errno.EEXIST: "File exists",
    Errno.ENODEV: "Operation not supported by device",
    Errno.EINVAL: "Invalid argument",
    Errno.ENOTTY: "Inappropriate ioctl for device",
    Errno.ENOSPC: "No space left on device",
    Errno.EOPNOTSUPP: "Operation not supported",
    Errno.ETIMEDOUT: "Operation timed out",
    Errno.ENOSYS: "Function not implemented",
    Errno.ECANCELED: "Operation canceled",
    Errno.EPROTO: "Protocol error",
}

HELP: Final[Mapping[str, str]] = {
    "list": (
        "List current memory range attributes\n"
        "    list [-a] [-o <owner>]\n"
        "        -a          inactive slots too\n"
        "        <owner>     only ranges with this owner"
    ),
    "set": (
        "Set memory range attributes\n"
        "    set -b <base> -l <length> [-o <owner>] <attribute> ...\n"
        "        <base>      first byte of the range\n"
        "        <length>    bytes; most architectures want a power of 2\n"
        "        <owner>     a label, 7 characters at most (user)\n"
        "        <attribute> uncacheable, write-combine, write-through,\n"
        "                    write-back or write-protect; and force"
    ),
    "clear": (
        "Clear memory range attributes\n"
        "    clear -o <owner>\n"
        "        <owner>     clears every range with this owner\n"
        "    clear -b <base> -l <length>\n"
        "                    clears the range that is exactly this"
    ),
}

_NUMBER: Final = re.compile(
    r"\A[ \t\n\v\f\r]*(?P<sign>[+-]?)"
    r"(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9][0-9]*))"
)


class Number(NamedTuple):
    """What strtouq(3) reads: the value, and whether it is all of the text."""

    value: int
    whole: bool


def number(text: str) -> Number:
    """Read a number as strtouq(3) does with base 0.

    Args:
        text: decimal, octal after `0`, hexadecimal after `0x`.

    Returns:
        the value of the longest number that the text begins with, 0 without one; a number that
        does not fit 64 bits is the largest that does.
    """
    match = _NUMBER.match(text)
    if match is None:
        return Number(0, False)

    if match["hex"] is not None:
        value = int(match["hex"], 16)
    elif match["octal"] is not None:
        value = int(match["octal"], 8)
    else:
        # Python refuses to read thousands of digits; twenty are enough for 64 bits.
        value = int(match["decimal"]) if len(match["decimal"]) <= 20 else U64_MAX + 1

    if value > U64_MAX:
        value = U64_MAX
    elif match["sign"] == "-":
        value = -value & U64_MAX

    return Number(value, match.end() == len(text))


class Options(NamedTuple):
    """What getopt(3) finds: options in order (`?` for a faulty one), operands, complaints."""

    found: list[tuple[str, str]]
    operands: list[str]
    complaints: list[str]


def split_options(words: Sequence[str], letters: str) -> Options:
    """Split arguments as getopt(3) does: options end at the first operand or at `--`.

    Args:
        words: the arguments after the command's name.
        letters: the options; a colon after one means that it takes an argument.
    """
    found: list[tuple[str, str]] = []
    complaints: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break

        cluster = word[1:]
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            if letter == ":" or letter not in letters:
                complaints.append(f"illegal option -- {letter}")
                found.append(("?", ""))
            elif letters[letters.index(letter) + 1 :].startswith(":"):
                if not cluster and not rest:
                    complaints.append(f"option requires an argument -- {letter}")
                    found.append(("?", ""))
                else:
                    found.append((letter, cluster or rest.pop(0)))

                cluster = ""
            else:
                found.append((letter, ""))

    return Options(found, rest, complaints)


def general_help() -> str:
    """The text of help without a known command."""
    names = "\n".join(f"    {name}" for name in HELP)

    return f"Valid commands are :\n{names}\nUse help <command> for command-specific help"
