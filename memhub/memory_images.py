"""Memory of a hub's machines dumped as a value, and loaded from outside: see `memhub.images`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.arguments import take_kind, take_text
from memhub.audit.rows.description import describe_spec
from memhub.core.loading import decide_load
from memhub.core.spec import Content
from memhub.group_commit import settle_commits
from memhub.images.dump import MemoryDump, dump_machine, dump_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.snapshots import MachineSnapshot
    from memhub.engine import Engine


def dump_memory(engine: Engine, machine: str = "") -> MemoryDump:
    """What the RAM of a machine holds now.

    Args:
        engine: the machines.
        machine: its name; empty for the default one.

    Raises:
        NoSuchDevice: ENOENT; no such machine.
        NotSupported: EOPNOTSUPP; its memory is not coherent.
        DeviceError: ENOMEM; the host has no memory left.
    """
    settle_commits(engine.commit)

    found = engine.machine(machine)

    return dump_machine(found, describe_spec(found.spec))


def dump_taken(snapshot: MachineSnapshot) -> MemoryDump:
    """What the RAM of a machine held when a snapshot was taken."""
    return dump_snapshot(snapshot, describe_spec(snapshot.spec))


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
    debugger. A record `memory.load` says so.

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
        NotSupported: EOPNOTSUPP; its memory is not coherent.
        LogFailed: EIO; it cannot be recorded.
        DeviceError: ENOMEM; the host has no memory left.
    """
    given = tuple(contents)
    for it in given:
        take_kind("contents", it, Content)

    if source is None:
        names = dict.fromkeys(it.source.partition(" at ")[0] for it in given if it.source)
        source = ", ".join(names) or "bytes of the embedder"

    found, now = engine.machine(machine), engine.catch_up()
    decision = decide_load(found, given, now, take_text("source", source)[:200], clear=clear)
    engine.perform(found, decision)
    count: int = decision.reply

    return count


class ImageCalls:
    """What a hub does with the contents of its machines' memory."""

    engine: Engine

    def dump_memory(self, machine: str | None = None) -> MemoryDump:
        """What the RAM of a machine (the default one if None) holds; see `dump_memory`."""
        return dump_memory(self.engine, "" if machine is None else take_text("machine", machine))

    def load_memory(
        self,
        contents: Iterable[Content],
        machine: str | None = None,
        *,
        clear: bool = False,
        source: str | None = None,
    ) -> int:
        """Put contents into the RAM of a machine (the default one if None); see `load_memory`."""
        name = "" if machine is None else take_text("machine", machine)

        return load_memory(self.engine, contents, name, clear=clear, source=source)
