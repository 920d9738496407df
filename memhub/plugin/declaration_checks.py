"""What the fields of a declaration may be: kinds, limits and words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from memhub.abi import FLAG_WORDS, MDF_SETTABLE, U64_MAX

ATTRIBUTE_WORDS: Final = tuple(word for bit, word in FLAG_WORDS if bit & MDF_SETTABLE)
_NAME: Final = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_LATENCY_MOST: Final = 3600


def check_name(name: object) -> None:
    """The name of an architecture, by the rule of `memhub new-arch`.

    Raises:
        ValueError: it is none.
    """
    if type(name) is not str or not _NAME.fullmatch(name):
        raise ValueError(
            f"name {name!r:.60} does not begin with a lower-case letter, with lower-case letters "
            "and digits after it and single - or _ between them"
        )


def check_line(what: str, text: object) -> None:
    """One line of text.

    Raises:
        ValueError: it is none.
    """
    if type(text) is not str or not text.strip() or not text.isprintable():
        raise ValueError(f"{what} {text!r:.60} is not one line of text")


def check_kind(what: str, value: object, kind: type, words: str) -> None:
    """A value of one class.

    Raises:
        ValueError: it is of another.
    """
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"{what} {value!r:.60} is not {words}")


def check_integer(what: str, value: object, least: int, most: int) -> None:
    """An integer within limits.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not least <= value <= most:
        shown = f"{most:#x}" if most > 1 << 16 else str(most)
        raise ValueError(f"{what} {value!r:.60} is not an integer from {least} to {shown}")


def check_latency(value: object) -> None:
    """Seconds that a commit takes.

    Raises:
        ValueError: they are none.
    """
    if type(value) not in (int, float) or not 0 <= value < _LATENCY_MOST:  # type: ignore[operator]
        raise ValueError(f"commit_latency {value!r:.60} is not from 0 to {_LATENCY_MOST} seconds")


def check_texts(what: str, value: object) -> None:
    """A tuple of texts.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, tuple) or not all(type(it) is str for it in value):
        raise ValueError(f"{what} {value!r:.60} is not a tuple of texts")


def check_tuple_of(what: str, value: object, kind: type) -> None:
    """A tuple of one class.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, tuple) or not all(isinstance(it, kind) for it in value):
        raise ValueError(f"{what} {value!r:.60} is not a tuple of {kind.__name__}")


def check_text_map(what: str, value: object) -> None:
    """A mapping of texts to texts.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, Mapping) or not all(
        type(it) is str for row in value.items() for it in row
    ):
        raise ValueError(f"{what} {value!r:.60} is not a mapping of texts to texts")


def check_addresses(what: str, value: Any) -> None:  # noqa: ANN401 - a dataclass of integers
    """A dataclass whose fields are addresses, or None where that is its default.

    Raises:
        ValueError: one is not.
    """
    for it in fields(value):
        held = getattr(value, it.name)
        if held is not None or it.name == "kernel_base":
            check_integer(f"{what}: {it.name}", held, 0, U64_MAX)


def check_words(
    what: str, words: Mapping[str, object] | tuple[str, ...], known: tuple[str, ...] = ()
) -> None:
    """Refuse a word that is none of those known; of the attributes if none are given.

    Raises:
        ValueError: one is not; the message names it.
    """
    known = known or ATTRIBUTE_WORDS
    for word in words:
        if word not in known:
            raise ValueError(f"{what}: {word!r} is none of {', '.join(known)}")
