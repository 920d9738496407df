"""The frame of other kernels than FreeBSD: a system call that needs no file, and its answer."""

from __future__ import annotations

from memhub.service.wire.greeting import FEATURE_KERNELS
from memhub.service.wire.layout import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Final

    from memhub.service.wire.layout import rest, text, u32

#: The largest integer that every language reads from JSON as it is.
SAFE: Final = (1 << 53) - 1


class Call(Message):
    """Make a system call of the machine's kernel that needs no file; DATA answers with JSON.

    Only kernels other than FreeBSD have such calls: NetBSD its `set` and `get`. The calling process
    is the connection. To the kernel it ends as it closes its last handle of the machine, also where
    the connection ends: its private ranges go with it. Every call needs `read-ranges`, and one that
    may change ranges `set-ranges` too. In an ERROR `moved` is how many ranges were set before.

    Attributes:
        handle: from OPENED.
        op: the call; docs/kernels.md has those of each kernel.
        args: its arguments as a JSON object; empty is none. See "CALL" among the JSON bodies.

    Errors: EAGAIN, EBUSY, EFAULT, EINVAL, ENODEV, ENOSYS, EOPNOTSUPP.
    """

    TYPE: ClassVar[int] = 0x32
    FEATURE: ClassVar[int] = FEATURE_KERNELS

    handle: u32
    op: text
    args: rest


def pack_plain(value: Any) -> bytes:  # noqa: ANN401 - numbers, texts, lists, mappings
    """The arguments or the answer of a call as JSON.

    Raises:
        TypeError: it is no such value.
    """
    import json

    return json.dumps(_mark(value), separators=(",", ":")).encode()


def read_plain(data: bytes) -> Any:  # noqa: ANN401 - as `pack_plain` takes it
    """The same from JSON.

    Raises:
        ValueError: it is no JSON, or not of such values.
    """
    import json

    from memhub.arguments import is_deep

    try:
        found = json.loads(data, object_hook=_unmark) if data else {}
    except RecursionError:
        raise ValueError("it is nested too deeply") from None

    if is_deep(found):
        raise ValueError("it is nested too deeply")

    return found


def _mark(value: Any) -> Any:  # noqa: ANN401 - see `pack_plain`
    if isinstance(value, dict):
        return {name: _mark(it) for name, it in value.items()}

    if isinstance(value, list | tuple):
        return [_mark(it) for it in value]

    if type(value) is int and not -SAFE <= value <= SAFE:
        return {"int": str(value)}

    return value


def _unmark(found: dict[str, Any]) -> Any:  # noqa: ANN401 - see `pack_plain`
    if found.keys() != {"int"}:
        return found

    digits = found["int"]
    plain = isinstance(digits, str) and digits.isascii() and len(digits) <= len(str(1 << 64))
    if not plain or not digits.removeprefix("-").isdigit():
        raise ValueError(f"int {digits!r:.40} is no number of at most 20 digits in a text")

    return int(digits)
