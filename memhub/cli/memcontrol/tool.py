"""memcontrol(8): its commands, what they print, how they end.

Faithful to the program and not only to its manual: a usage error prints help on standard error
and carries on, a command that it does not know ends with 0, `clear -o` warns and goes on.
Beside memcontrol's own message a refusal says why, and whose a range is.

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
    """

    def __init__(
        self, device: Device, out: IO[str], err: IO[str], *, as_json: bool = False
    ) -> None:
        self._device = device
        self._out = out
        self._err = err
        self._json = as_json

    def run(self, words: list[str]) -> int:
        """Run one command line.

        Args:
            words: the command and its arguments; none prints help.

        Returns:
            the exit code: 1 if an ioctl failed, else 0.
        """
        if not words:
            self._help(None)
            return 0

        commands = {"list": self._list, "set": self._set, "clear": self._clear}
        command = commands.get(words[0])
        if command is None:
            self._help(words[1] if len(words) > 1 else None)
            return 0

        return command(words[1:])

    # Commands

    def _list(self, words: list[str]) -> int:
        everything, owner = False, None
        for letter, value in self._options("list", words, "ao:")[0]:
            if letter == "a":
                everything = True
            elif letter == "o":
                owner = value

        table = self._table()
        if table is None:
            return 1

        shown = [
            (slot, desc)
            for slot, desc in enumerate(table)
            if (everything or desc.mr_flags & MDF_ACTIVE) and owner in (None, desc.owner)
        ]
        if self._json:
            self._print_json(shown)
        else:
            for _, desc in shown:
                self._out.write(listing(desc) + "\n")

        return 0

    def _print_json(self, shown: list[tuple[int, RangeDesc]]) -> None:
        import orjson

        rows = [_facts(slot, desc) for slot, desc in shown]
        self._out.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")

    def _set(self, words: list[str]) -> int:
        base, length, owner = 0, 0, "user"
        found, operands = self._options("set", words, "b:l:o:")
        for letter, value in found:
            if letter == "b":
                base = self._number("set", value)
            elif letter == "l":
                length = self._number("set", value)
            elif letter == "o":
                owner = self._owner("set", value)

        if not length:
            self._help("set")

        desc = RangeDesc(base, length, self._flags(operands), _label(owner))

        return self._ioctl(MEMRANGE_SET_UPDATE, desc, "can't set range")

    def _flags(self, words: list[str]) -> int:
        flags = 0
        for word in words:
            if word not in SETTABLE:
                self._help("flags")

            flags |= FLAG_OF_WORD.get(word, 0)

        return flags

    def _clear(self, words: list[str]) -> int:
        base, length, owner = 0, 0, None
        for letter, value in self._options("clear", words, "b:l:o:")[0]:
            if letter == "b":
                base = self._number("clear", value)
            elif letter == "l":
                length = self._number("clear", value)
            elif letter == "o":
                owner = self._owner("clear", value)

        if owner is not None:
            if base or length:
                self._help("clear")

            return self._clear_owner(owner)

        if not length:
            self._help("clear")
            return 0

        desc = RangeDesc(base, length)

        return self._ioctl(MEMRANGE_SET_REMOVE, desc, "couldn't clear range")

    def _clear_owner(self, owner: str) -> int:
        table = self._table()
        if table is None:
            return 1

        for desc in table:
            flags = desc.mr_flags & (MDF_ACTIVE | MDF_FIXACTIVE)
            if desc.owner == owner and flags == MDF_ACTIVE:
                what = f"couldn't clear range owned by '{owner}'"
                self._ioctl(MEMRANGE_SET_REMOVE, desc, what)

        return 0

    # What they share

    def _options(
        self, command: str, words: list[str], letters: str
    ) -> tuple[list[tuple[str, str]], list[str]]:
        options = split_options(words, letters)
        for complaint in options.complaints:
            self._say(complaint)
            self._help(command)

        return [it for it in options.found if it[0] != "?"], options.operands

    def _number(self, command: str, text: str) -> int:
        value, whole = number(text)
        if not whole:
            self._help(command)

        return value

    def _owner(self, command: str, text: str) -> str:
        if not 0 < len(_bytes(text)) <= _OWNER_LIMIT:
            self._help(command)

        return text

    def _table(self) -> tuple[RangeDesc, ...] | None:
        try:
            return self._device.get()
        except DeviceError as error:
            self._refused("can't size range descriptor array", error)
            return None

    def _ioctl(self, argument: int, desc: RangeDesc, what: str) -> int:
        try:
            self._device.set(argument, desc)
        except DeviceError as error:
            self._refused(what, error)
            return 1

        return 0

    def _refused(self, what: str, error: DeviceError) -> None:
        self._say(f"{what}: {TEXTS[error.code]}")
        for line in (f"  {error.code.name}: {error.reason}", *obstacles(error)):
            self._err.write(f"{line}\n")

    def _say(self, text: str) -> None:
        self._out.flush()
        self._err.write(f"memcontrol: {text}\n")

    def _help(self, what: str | None) -> None:
        self._out.flush()
        if what is not None and what in HELP:
            self._err.write(HELP[what] + "\n")
            return

        if what is not None:
            self._err.write(f"Unknown command '{what}'\n")

        self._err.write(general_help() + "\n")


def listing(desc: RangeDesc) -> str:
    """One line of `memcontrol list`, its trailing blank with it."""
    words = "".join(f"{word} " for word in flag_words(desc.mr_flags, extra=False))

    return f"{desc.mr_base:#x}/{desc.mr_len:#x} {desc.owner or '-'} {words}"


def _facts(slot: int, desc: RangeDesc) -> dict[str, Any]:
    return {
        "slot": slot,
        "base": desc.mr_base,
        "length": desc.mr_len,
        "owner": desc.owner,
        "flags": desc.mr_flags,
        "attributes": list(flag_words(desc.mr_flags)),
    }


def _bytes(text: str) -> bytes:
    """The bytes that a terminal hands over; Latin-1 where a byte holds the character."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _label(text: str) -> bytes:
    return _bytes(text)[:_OWNER_LIMIT].ljust(8, b"\0")
