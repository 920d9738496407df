"""Memory of a hub's machines dumped as a value, and loaded from outside: see `memhub.images`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.arguments import take_text
from memhub.audit.rows.description import describe_spec
from memhub.core.caches.seen import DUMP_VIEWS
from memhub.core.deciding.loading import decide_load
from memhub.core.memory.contents import take_contents
from memhub.engine.group_commit import settle_commits
from memhub.images.dump import MemoryDump, dump_machine, dump_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.caches.seen import DumpView
    from memhub.core.snapshots import MachineSnapshot
    from memhub.core.spec import Content
    from memhub.engine.engine import Engine


def dump_memory(engine: Engine, machine: str = "", view: DumpView = "bus") -> MemoryDump:
    """What the RAM of a machine holds now; nothing changes, and no hazard is met.

    Args:
        engine: the machines.
        machine: its name; empty for the default one.
        view: who sees it, where memory is not coherent. `bus`: RAM, and on a snooping bus the
            dirty lines. `cpu`: RAM, and the lines of the cache over it. Nobody sees
            combining buffers; `MemoryDump.hidden` counts what is newer.

    Raises:
        NoSuchDevice: ENOENT; no such machine.
        ValueError: the view is none of these.
        DeviceError: ENOMEM; the host has no memory left.
    """
    settle_commits(engine.commit)

    found = engine.machine(take_text("machine", machine))

    return dump_machine(found, describe_spec(found.spec), _take_view(view))


def dump_taken(snapshot: MachineSnapshot, view: DumpView = "bus") -> MemoryDump:
    """What the RAM of a machine held when a snapshot was taken; see `dump_memory`."""
    return dump_snapshot(snapshot, describe_spec(snapshot.spec), _take_view(view))


def _take_view(view: DumpView) -> DumpView:
    if view not in DUMP_VIEWS:
        raise ValueError(f"view {view!r} is none of {', '.join(DUMP_VIEWS)}")

    return view


def load_memory(
    engine: Engine,
    contents: Iterable[Content],
    machine: str = "",
    *,
    clear: bool = False,
    source: str | None = None,
) -> int:
    """Put contents into the RAM of a machine that is in use: all of them or, with an error, none.

    No CPU writes them: claims, write protection and open modes do not stand in the way, as with a
    debugger. A record `memory.load` says so. Where memory is not coherent, the bus and all CPUs
    see them: bytes of lines and buffers that they replace are lost.

    Args:
        engine: the machines.
        contents: of `load_image` and the patterns.
        machine: its name; empty for the default one.
        clear: let all other RAM become zero.
        source: what it is, for the log; None takes what the contents say.

    Returns:
        how many bytes were put, zeros among them.

    Raises:
        NoSuchDevice: ENOENT; no such machine.
        InvalidArgument: EINVAL; nothing to put, something is not RAM or under a device, or two
            overlap; names the file and the place in it.
        LogFailed: EIO; it cannot be recorded.
        DeviceError: ENOMEM; the host has no memory left.
    """
    given = take_contents(contents)
    if source is None:
        names = dict.fromkeys(it.source.partition(" at ")[0] for it in given if it.source)
        source = ", ".join(names) or ("bytes of the embedder" if given else "an empty list")

    found, now = engine.machine(take_text("machine", machine)), engine.catch_up()
    decision = decide_load(found, given, now, take_text("source", source)[:200], clear=clear)
    engine.perform(found, decision)
    count: int = decision.reply

    return count
