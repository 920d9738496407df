"""What is wrong with an image file, and extras that are not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.escape import EscapedMessage

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


class ImageError(EscapedMessage, ValueError):
    """Raised when a file is no image, is truncated or contradicts itself; nothing is loaded.

    Args:
        path: the file.
        reason: the value and the rule that it breaks.
        offset: the byte of the file that it is about, or None.
        line: the line of a text file, from 1 on, or None.

    Attributes:
        path: the file.
        reason: the value and the rule that it breaks.
        offset: the byte of the file that it is about, or None.
        line: the line of a text file, from 1 on, or None.
    """

    def __init__(
        self, path: Path | str, reason: str, *, offset: int | None = None, line: int | None = None
    ) -> None:
        self.path = str(path)
        self.reason = reason
        self.offset = offset
        self.line = line
        super().__init__(f"{place_text(self.path, offset=offset, line=line)}: {reason}")


def place_text(path: Path | str, *, offset: int | None = None, line: int | None = None) -> str:
    """A place in a file, in words."""
    if line is not None:
        return f"{path} line {line}"

    return f"{path} at offset {offset:#x}" if offset is not None else str(path)


class ExtraMissing(ImportError):
    """Raised when a library that a format needs is not installed; says which extra brings it."""


def import_extra(name: str, what: str) -> ModuleType:
    """A module of the extra `images`.

    Args:
        name: the module.
        what: what needs it, for the message.

    Raises:
        ExtraMissing: it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        missing = error.name or name
        raise ExtraMissing(
            f"{what} needs {missing}, which the extra memhub[images] brings: "
            "pip install 'memhub[images]'",
            name=missing,
        ) from None


def words_of(error: BaseException) -> str:
    """An error of a library, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
