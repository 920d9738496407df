"""The page's table of rights: what each request needs, and that less of it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from memhub.core.spec import MachineSpec
from memhub.service import wire
from memhub.service.server.handlers import HANDLE_REQUESTS, OTHER_REQUESTS
from memhub.service.settings import RIGHTS, RightsRule
from memhub.service.wire_page.right_table import FREE, MORE, OTHERS
from service.service_rig import MIB, WINDOW, RawClient, lab, machine

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MSRS = {0xFE: 0x508, 0x2FF: 0x800}
LINUX = MachineSpec(name="linux", arch="amd64", msrs=MSRS, kernel="linux-6.18")
NETBSD = MachineSpec(name="net", arch="amd64", msrs=MSRS, kernel="netbsd-7")
GET, SET = 0xC0106D32, 0x80106D33
LIST = "linux:/sys/kernel/debug/x86/pat_memtype_list"
MTRR = "linux:/proc/mtrr"
MTRRIOC_GET, MTRRIOC_ADD = 0xC0184D03, 0x40104D00


def allowing(uid: int, rights: Any) -> RightsRule:
    return RightsRule(uid=uid, allow=frozenset(rights))


class Case(NamedTuple):
    """A request, and the rights that it needs; on a path if it names a handle."""

    request: wire.Message
    needed: tuple[str, ...]
    path: str = "pc:/dev/mem"


READ, WRITE, LOOK, CHANGE = "read-memory", "write-memory", "read-ranges", "set-ranges"
BREAK, INJECT, RESTORE = "break-claims", "inject-faults", "restore-machines"
H = 1  # the first handle of a connection
CASES = (
    Case(wire.Open(0, 3, 0, "pc:/dev/mem"), (WRITE,)),
    Case(wire.Open(0, 3, 0, MTRR), (CHANGE,)),
    Case(wire.Open(0, 3, 0, LIST), (CHANGE,)),
    Case(wire.Pread(0, H, 0, 4), (READ,)),
    Case(wire.Read(0, H, 4), (READ,)),
    Case(wire.Read(0, H, 4), (LOOK,), MTRR),
    Case(wire.Pwrite(0, H, 0, 1, b"x"), (WRITE,)),
    Case(wire.Write(0, H, 1, b"x"), (WRITE,)),
    Case(wire.Write(0, H, 1, b"x"), (CHANGE,), MTRR),
    Case(wire.Seek(0, H, 0, 0), ()),
    Case(wire.Close(0, H), ()),
    Case(wire.Flush(0, H, 0, 0, 64), (READ,)),
    Case(wire.Ioctl(0, H, GET, b"", room=64), (LOOK,)),
    Case(wire.Ioctl(0, H, 0x1234, b"", room=64), (LOOK,)),
    Case(wire.Ioctl(0, H, SET, b"", room=64), (CHANGE,)),
    Case(wire.Ioctl(0, H, MTRRIOC_GET, bytes(16), room=64), (LOOK,), MTRR),
    Case(wire.Ioctl(0, H, MTRRIOC_ADD, bytes(16), room=64), (CHANGE,), MTRR),
    Case(wire.Set(0, H, 0, 0, 0, 0, bytes(32)), (CHANGE,)),
    Case(wire.Claim(0, H, 0, 0, WINDOW, MIB), (CHANGE,)),
    Case(wire.Release(0, H, 0, 0, 0), (CHANGE,)),
    Case(wire.Renew(0, H, WINDOW, MIB, 1, 0), (CHANGE,)),
    Case(wire.Wait(0, H, 0, MIB, 0), (LOOK,)),
    Case(wire.Break(0, H, 0, MIB, 0, "test"), (BREAK,)),
    Case(wire.Explain(0, H, 0), (LOOK,)),
    Case(wire.Map(0, H, 1), (READ,)),
    Case(wire.Map(0, H, 3), (READ, WRITE)),
    Case(wire.Call(0, H, "get", b""), (LOOK,), "net:/dev/mem"),
    Case(wire.Call(0, H, "set", b""), (LOOK, CHANGE), "net:/dev/mem"),
    Case(wire.Subscribe(0, 0, 0, 0, "pc"), (LOOK,)),
    Case(wire.Report(0, "", "pc"), (LOOK,)),
    Case(wire.Faults(0, "list", ""), ()),
    Case(wire.Faults(0, "add", '{"action":"drop","op":["map"],"times":1}'), (INJECT,)),
    Case(wire.Faults(0, "check", "pc"), (INJECT,)),
    Case(wire.Snapshot(0, "take", "pc", b""), (READ, LOOK)),
    Case(wire.Snapshot(0, "put", "", b"x"), (RESTORE,)),
    Case(wire.Snapshot(0, "restore", "pc", b""), (RESTORE,)),
    Case(wire.Snapshot(0, "reset", "pc", b""), (RESTORE,)),
    Case(wire.Snapshot(0, "load", "pc", b""), (RESTORE,)),
    Case(wire.Show(0, "list", "pc", ""), (LOOK,)),
    Case(wire.Show(0, "bytes", "pc", ""), (READ, LOOK)),
)
#: Each set of rights that is tried, one for each uid: just enough, and all but one that is needed.
ENOUGH = {it.needed or (INJECT,) for it in CASES}
LESS = {tuple(it for it in RIGHTS if it != needed) for needed in RIGHTS}
TRIED = (*sorted(ENOUGH), *sorted(LESS))


def test_every_request_has_its_rights_told_and_tried() -> None:
    asked = {*HANDLE_REQUESTS, *OTHER_REQUESTS}
    assert asked - FREE == {type(it.request) for it in CASES}
    assert {*OTHERS, *FREE} == {*OTHER_REQUESTS}
    assert {*MORE} <= {*HANDLE_REQUESTS}


async def test_a_request_passes_with_what_the_page_says_it_needs_and_not_with_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = [0]
    monkeypatch.setattr("memhub.service.server.rights.peer_of", lambda _: (7, who[0]))
    rules = [allowing(number, rights) for number, rights in enumerate(TRIED)]
    wrong = []
    async with lab(tmp_path, machine(), LINUX, NETBSD, rights=tuple(rules)) as it:
        for case in CASES:
            enough = case.needed or (INJECT,)
            less = [tuple(it for it in RIGHTS if it != right) for right in case.needed]
            for held in (enough, *less):
                who[0] = TRIED.index(held)
                refused = await is_refused(it.address, case, held)
                if refused is (held == enough):
                    wrong.append((case, held))

    assert wrong == []


async def is_refused(address: str, case: Case, held: tuple[str, ...]) -> bool:
    """Whether a client with these rights gets EPERM."""
    client = await RawClient.dial(address, features=wire.FEATURES)
    request: Any = case.request
    if type(request) in HANDLE_REQUESTS:
        writes = (CHANGE if case.path == MTRR else WRITE) in held
        opened: Any = await client.ask(wire.Open(0, 3 if writes else 1, 0, case.path))
        assert isinstance(opened, wire.Opened)

    answer: Any = await client.ask(request)
    client.close()

    return isinstance(answer, wire.Error) and answer.name == "EPERM"
