"""The table of the rights that each request needs, from the service's own table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.service import wire
from memhub.service.server.handlers import HANDLE_REQUESTS, OTHER_REQUESTS
from memhub.service.server.rights import right_words
from memhub.service.wire_page.tables import FRAMES, anchor, table

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What the number in the service's table does not say of a request on a handle.
MORE: Final[Mapping[type[wire.Message], str]] = {
    wire.Ioctl: "`set-ranges` for a set, `read-ranges` for a get and for a number that is none "
    "of the file's; of `/proc/mtrr`, `read-ranges` to get and `set-ranges` for all that change",
    wire.Map: "; to map for writing `write-memory` too",
    wire.Call: "; for a call that may change ranges `set-ranges` too",
}

#: Requests without a handle, and what they need.
OTHERS: Final[Mapping[type[wire.Message], str]] = {
    wire.Open: "any right on the machine to read; to write, `write-memory`, and for `/proc/mtrr` "
    "and `pat_memtype_list` `set-ranges`",
    wire.Subscribe: "`read-ranges` on the machine that it names; of all machines, those with "
    "`read-ranges` are told",
    wire.Report: "`read-ranges` on the machine that it names; of all machines, those with "
    "`read-ranges` are shown",
    wire.Faults: "`inject-faults`: on the machine, for every machine where a rule names none, and "
    "for `list` nothing: what the client may touch is listed",
    wire.Snapshot: "`take`: `read-memory` and `read-ranges`; `put`: `restore-machines` on any "
    "machine; all others: `restore-machines`",
    wire.Show: "`read-ranges`, and for `bytes` `read-memory` too",
}

#: Frames that go with others, or that concern no machine.
FREE: Final = frozenset(
    {wire.Data, wire.Unsubscribe, wire.Ping, wire.Cancel, wire.Goodbye, wire.Abort}
)


def rights() -> str:
    """Which right each request needs; those of `FREE` are left out."""
    asked = [it for it in FRAMES if it in HANDLE_REQUESTS or it in OTHER_REQUESTS.keys() - FREE]

    return table(("request", "right"), ((anchor(it), _needed(it)) for it in asked))


def _needed(kind: type[wire.Message]) -> str:
    if kind in OTHERS:
        return OTHERS[kind]

    words = " and ".join(f"`{word}`" for word in right_words(HANDLE_REQUESTS[kind].rights))

    return words + MORE.get(kind, "") or "any"
