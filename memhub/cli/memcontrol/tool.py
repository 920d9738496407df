"""memcontrol(8): its commands, what they print, how they end.

It follows the program and not only its manual: a usage error prints help on standard error and goes
on, an unknown command ends with 0, `clear -o` warns and goes on. Below memcontrol's own message a
refusal says why and who holds the range; a usage error says which word was wrong and how it was
read.

Source: FreeBSD `usr.sbin/memcontrol/memcontrol.c`.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from memhub.abi import (
    MDF_ACTIVE,
    MDF_FIXACTIVE,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
    flag_words,
)
from memhub.cli.failures import obstacles
from memhub.cli.memcontrol.words import (
    FLAG_OF_WORD,
    HELP,
    SETTABLE,
    TEXTS,
    general_help,
    number,
    split_options,
)
from memhub.cli.terminal import print_json, print_line
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from memhub.cli.memcontrol.devices import Device

_OWNER_LIMIT = 7


class Tool:
    """One run of memcontrol.

    Args:
        device: the open /dev/mem.
        out: where listings go.
        err: where help and errors go.
        as_json: list as JSON.
        where: file and line of the command, for messages; empty for none.
    """

    def __init__(
        self,
        device: Device,
        out: IO[str],
        err: IO[str],
        *,
        as_json: bool = False,
        where: str = "",
    ) -> None:
        self._device = device
        self._out = out
        self._err = err
        self._json = as_json
        self._where = f" ({where})" if where else ""

    def run(self, words: list[str]) -> int:
        """Run one command line.

        Args:
            words: the command and its arguments; none prints help.

        Returns:
            the exit code: 1 if an ioctl failed, else 0.
        """
        if not words:
            self._write_help(None)
            return 0

        commands = {"list": self._list_ranges, "set": self._set_range, "clear": self._clear_range}
        command = commands.get(words[0])
        if command is None:
            self._write_help(words[1] if len(words) > 1 else None)
            if words[0] != "help":
                self._print_hint(f"{words[0]!r} is not a command")

            return 0

        return command(words[1:])

    # Commands

    def _list_ranges(self, words: list[str]) -> int:
        everything, owner = False, None
        for letter, value in self._parse_options("list", words, "ao:")[0]:
            if letter == "a":
                everything = True
            elif letter == "o":
                owner = value

        table = self._read_table()
        if table is None:
            return 1

        shown = [
            (slot, desc)
            for slot, desc in enumerate(table)
            if (everything or desc.mr_flags & MDF_ACTIVE) and owner in (None, desc.owner)
        ]
        if self._json:
            print_json([_slot_facts(slot, desc) for slot, desc in shown])
        else:
            for _, desc in shown:
                print_line(listing(desc), self._out, whole=True)

        return 0

    def _set_range(self, words: list[str]) -> int:
        base, length, owner = 0, 0, "user"
        found, operands = self._parse_options("set", words, "b:l:o:")
        for letter, value in found:
            if letter == "b":
                base = self._parse_number("set", letter, value)
            elif letter == "l":
                length = self._parse_number("set", letter, value)
            elif letter == "o":
                owner = self._parse_owner("set", value)

        if not length:
            self._write_help("set")
            self._print_hint("-l is missing or zero: the length of the range is 0")

        desc = RangeDesc(base, length, self._parse_flags(operands), _encode_label(owner))

        return self._do_ioctl(MEMRANGE_SET_UPDATE, desc, "can't set range")

    def _parse_flags(self, words: list[str]) -> int:
        flags = 0
        for word in words:
            if word not in SETTABLE:
                self._write_help("flags")
                self._print_hint(f"{word!r} is not an attribute that can be set")

            flags |= FLAG_OF_WORD.get(word, 0)

        return flags

    def _clear_range(self, words: list[str]) -> int:
        base, length, owner = 0, 0, None
        for letter, value in self._parse_options("clear", words, "b:l:o:")[0]:
            if letter == "b":
                base = self._parse_number("clear", letter, value)
            elif letter == "l":
                length = self._parse_number("clear", letter, value)
            elif letter == "o":
                owner = self._parse_owner("clear", value)

        if owner is not None:
            if base or length:
                self._write_help("clear")
                self._print_hint("-o excludes -b and -l: only the owner's ranges are cleared")

            return self._clear_owner(owner)

        if not length:
            self._write_help("clear")
            self._print_hint("give -o, or -b and -l: nothing is cleared")
            return 0

        desc = RangeDesc(base, length)

        return self._do_ioctl(MEMRANGE_SET_REMOVE, desc, "couldn't clear range")

    def _clear_owner(self, owner: str) -> int:
        table = self._read_table()
        if table is None:
            return 1

        for desc in table:
            flags = desc.mr_flags & (MDF_ACTIVE | MDF_FIXACTIVE)
            if desc.owner == owner and flags == MDF_ACTIVE:
                what = f"couldn't clear range owned by '{owner}'"
                self._do_ioctl(MEMRANGE_SET_REMOVE, desc, what)

        return 0

    # Shared by the commands

    def _parse_options(
        self, command: str, words: list[str], letters: str
    ) -> tuple[list[tuple[str, str]], list[str]]:
        options = split_options(words, letters)
        for complaint in options.complaints:
            self._print_error(f"{complaint}{self._where}")
            self._write_help(command)

        return [it for it in options.found if it[0] != "?"], options.operands

    def _parse_number(self, command: str, letter: str, text: str) -> int:
        value, whole = number(text)
        if not whole:
            self._write_help(command)
            self._print_hint(f"-{letter} {text!r} is not a number: it is read as {value:#x}")

        return value

    def _parse_owner(self, command: str, text: str) -> str:
        if not 0 < len(_encode_argument(text)) <= _OWNER_LIMIT:
            self._write_help(command)
            self._print_hint(f"-o {text!r} is not 1 to {_OWNER_LIMIT} bytes")

        return text

    def _read_table(self) -> tuple[RangeDesc, ...] | None:
        try:
            return self._device.get()
        except DeviceError as error:
            self._print_refusal("can't size range descriptor array", error)
            return None

    def _do_ioctl(self, argument: int, desc: RangeDesc, what: str) -> int:
        try:
            self._device.set(argument, desc)
        except DeviceError as error:
            self._print_refusal(what, error)
            return 1

        return 0

    def _print_refusal(self, what: str, error: DeviceError) -> None:
        self._print_error(f"{what}: {TEXTS[error.code]}")
        self._print_hint(f"{error.code.name}: {error.reason}")
        for line in obstacles(error):
            print_line(line, self._err)

    def _print_hint(self, text: str) -> None:
        """Write a line that memcontrol(8) does not have, below its own message."""
        print_line(f"  {text}{self._where}", self._err)

    def _print_error(self, text: str) -> None:
        self._out.flush()
        print_line(f"memcontrol: {text}", self._err)

    def _write_help(self, what: str | None) -> None:
        self._out.flush()
        if what is not None and what in HELP:
            self._print_help(HELP[what])
            return

        if what is not None:
            print_line(f"Unknown command '{what}'", self._err)

        self._print_help(general_help())

    def _print_help(self, text: str) -> None:
        for line in text.splitlines():
            print_line(line, self._err)


def listing(desc: RangeDesc) -> str:
    """One line of `memcontrol list`, with its trailing blank."""
    words = "".join(f"{word} " for word in flag_words(desc.mr_flags, extra=False))

    return f"{desc.mr_base:#x}/{desc.mr_len:#x} {desc.owner or '-'} {words}"


def _slot_facts(slot: int, desc: RangeDesc) -> dict[str, Any]:
    return {
        "slot": slot,
        "base": desc.mr_base,
        "length": desc.mr_len,
        "owner": desc.owner,
        "flags": desc.mr_flags,
        "attributes": list(flag_words(desc.mr_flags)),
    }


def _encode_argument(text: str) -> bytes:
    """The bytes of an argument as typed; Latin-1 where one byte holds each character."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _encode_label(text: str) -> bytes:
    return _encode_argument(text)[:_OWNER_LIMIT].ljust(8, b"\0")
