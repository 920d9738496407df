"""Actions of fault rules that plugins add: what they do, and those that are wrong."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import AuditLog, FaultRule, Hub, ManualClock
from memhub.abi import Errno
from memhub.audit import read_records
from memhub.audit.schema import problems
from memhub.core.faults.fault_rules import rule_of_dict
from memhub.errors import DeviceError
from memhub.fault_kinds import FaultBook, load_fault_kinds
from memhub.plugin.faults import Alter, Delay, Drop, FaultHit, FaultKind, Refuse, Short, hookimpl
from shell.kit import ARCHES, PAT, M

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from memhub.handles.handle import Handle

DEVICE = 0xFE000000
READ = frozenset({"read"})


def plugin_of(*kinds: Any) -> ModuleType:
    @hookimpl
    def memhub_faults() -> list[Any]:
        return list(kinds)

    module = ModuleType("a_plugin")
    module.memhub_faults = memhub_faults  # type: ignore[attr-defined]

    return module


def book(strike: Callable[[FaultHit], Any], **changes: Any) -> FaultBook:
    """A kind `acme.it` that does this."""
    kind = FaultKind(**{"name": "acme.it", "summary": "", "strike": strike, **changes})

    return load_fault_kinds(plugins=[("acme", plugin_of(kind))], installed=False)


class Lab:
    def __init__(self, path: Path, strike: Callable[[FaultHit], Any], **changes: Any) -> None:
        self.path = path / "log.jsonl"
        self.clock = ManualClock()
        self.kinds = book(strike, **changes)

    async def __aenter__(self) -> Lab:
        self.log = AuditLog.open(self.path)
        self.hub = Hub([PAT], arches=ARCHES, log=self.log, clock=self.clock, fault_kinds=self.kinds)
        await self.hub.__aenter__()
        self.mem: Handle = await self.hub.open("/dev/mem", "r+")

        return self

    async def __aexit__(self, *error: Any) -> None:
        self.mem.close()
        await self.hub.__aexit__(*error)
        self.log.close()
        assert [it for row in read_records(self.path) for it in problems(row)] == []

    def add(self, **changes: Any) -> Any:
        return self.hub.faults.add(FaultRule(**{"action": "acme.it", **changes}))

    def faults(self) -> list[dict[str, Any]]:
        return [dict(it) for it in read_records(self.path) if it["event"] == "fault"]


# What they do


async def test_a_refusal_has_its_errno_and_names_the_rule(tmp_path: Path) -> None:
    async with Lab(tmp_path, lambda _: Refuse("ENOSPC", "no tape")) as it:
        it.add(op="write", name="tape")
        with pytest.raises(DeviceError) as caught:
            await it.mem.pwrite(b"x", 0)

        assert caught.value.code is Errno.ENOSPC
        assert caught.value.reason == "fault rule 'tape' (acme.it) refuses this: no tape"
        (row,) = it.faults()
        assert (row["rule"], row["action"], row["errno"]) == ("tape", "acme.it", "ENOSPC")
        assert await it.mem.pread(1, 0) == b"\0"


async def test_what_is_read_or_written_can_be_altered(tmp_path: Path) -> None:
    def flip(hit: FaultHit) -> Alter:
        return Alter(lambda data: bytes(it ^ hit.options["bits"] for it in data))

    async with Lab(tmp_path, flip, options={"bits": 1}, operations={"read", "write"}) as it:
        with it.add(op="write", options={"bits": 0x20}):
            assert await it.mem.pwrite(b"ABC", M) == 3

        assert await it.mem.pread(3, M) == b"abc"
        with it.add(op="read", nth=1) as active:
            assert await it.mem.pread(3, M) == b"`cb"
            assert await it.mem.pread(3, M) == b"abc"
            assert (active.seen, active.injected) == (2, 1)

        assert [(row["op"], row["count"]) for row in it.faults()] == [("write", 1), ("read", 1)]


async def test_a_transfer_can_be_short_and_a_request_late_or_lost(tmp_path: Path) -> None:
    effects: list[Any] = [Short(2), Delay(3.0), Drop()]
    async with Lab(tmp_path, lambda _: effects.pop(0)) as it:
        it.add(op="read")
        assert await it.mem.pread(8, 0) == bytes(2)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(it.mem.pread, 8, 0)
                await anyio.wait_all_tasks_blocked()
                it.clock.advance(3.0)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(it.mem.pread, 8, 0)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()

        found = [(row.get("moved"), row.get("delay_ns")) for row in it.faults()]
        assert found == [(2, None), (None, 3 * 10**9), (None, None)]


class Registers:
    """A device that keeps what is written; reads count."""

    length = 4096

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def read(self, _offset: int, size: int) -> bytes:
        return b"abcdefgh"[:size]

    async def write(self, _offset: int, data: bytes) -> None:
        self.taken.append(data)


async def test_what_a_device_answers_and_takes_can_be_altered(tmp_path: Path) -> None:
    effects: list[Any] = [Alter(bytes.upper), Alter(bytes.upper), Short(2), Short(2), Short(8)]
    async with Lab(tmp_path, lambda _: effects.pop(0)) as it:
        device = Registers()
        it.hub.map_device(DEVICE, 4096, device)
        active = it.add(op=["read", "write"])
        assert await it.mem.pread(4, DEVICE) == b"ABCD"
        assert await it.mem.pwrite(b"wxyz", DEVICE) == 4
        assert await it.mem.pread(4, DEVICE) == b"ab"
        assert await it.mem.pwrite(b"wxyz", DEVICE) == 2
        assert await it.mem.pread(4, DEVICE) == b"abcd"
        assert b"".join(device.taken) == b"WXYZwx"
        assert (active.seen, active.injected) == (5, 4)
        assert [(row["op"], row.get("moved")) for row in it.faults()] == [
            *(("read", None), ("write", None), ("read", 2), ("write", 2))
        ]


async def test_a_change_that_fails_refuses_what_a_device_answers(tmp_path: Path) -> None:
    async with Lab(tmp_path, lambda _: Alter(boom)) as it:
        it.hub.map_device(DEVICE, 4096, Registers())
        it.add(op="read")
        with pytest.raises(DeviceError, match="failed: ZeroDivisionError: a bug"):
            await it.mem.pread(4, DEVICE)


async def test_a_transfer_that_may_not_wait_for_a_device_has_no_fault(tmp_path: Path) -> None:
    async with Lab(tmp_path, lambda _: Short(1)) as it:
        it.hub.map_device(DEVICE, 4096, Registers())
        active = it.add(op="read")
        with pytest.raises(anyio.WouldBlock):
            it.mem.pread_nowait(4, DEVICE)

        assert (active.injected, it.faults()) == (0, [])


@pytest.mark.parametrize("moved", [8, 9, 100])
async def test_a_transfer_is_never_longer_than_what_was_asked(tmp_path: Path, moved: int) -> None:
    async with Lab(tmp_path, lambda _: Short(moved)) as it:
        active = it.add(op=["read", "write"])
        assert await it.mem.pread(8, 0) == bytes(8)
        assert await it.mem.pwrite(bytes(8), M) == 8
        assert (active.seen, active.injected) == (2, 0)


async def test_what_it_lets_pass_is_no_fault(tmp_path: Path) -> None:
    async with Lab(tmp_path, lambda hit: Refuse() if hit.length == 5 else None) as it:
        active = it.add(op="read")
        assert await it.mem.pread(4, 0) == bytes(4)
        with pytest.raises(DeviceError):
            await it.mem.pread(5, 0)

        assert (active.seen, active.injected, len(it.faults())) == (2, 1, 1)


async def test_it_is_told_what_it_meets_and_draws_from_the_rules_seed(tmp_path: Path) -> None:
    hits: list[tuple[Any, ...]] = []

    def note(hit: FaultHit) -> None:
        hits.append((*hit[:6], round(hit.random.random(), 6)))

    async with Lab(tmp_path, note) as it:
        for _ in range(2):
            with it.add(op={"read", "set"}, seed=7, name="rule"):
                await it.mem.pread(4, M)
                await it.mem.set_range(16 * M, M, "write-combine")

    who = "pat", "process-1"
    assert [hit[:6] for hit in hits] == 2 * [
        ("read", *who, M, 4, 1),
        ("set", *who, 16 * M, M, 1),
    ]
    assert [hit[6] for hit in hits[:2]] == [hit[6] for hit in hits[2:]]


async def test_opens_are_met_where_a_rule_names_them(tmp_path: Path) -> None:
    async with Lab(tmp_path, lambda hit: Refuse("EPERM")) as it:
        it.add(op="open")
        with pytest.raises(DeviceError, match="EPERM"):
            await it.hub.open("/dev/mem")


# What is wrong


def boom(_: object) -> Any:
    raise ZeroDivisionError("a bug")


def leave(_: object) -> Any:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("strike", "problem"),
    [
        (boom, "ZeroDivisionError: a bug"),
        (leave, "SystemExit: 3"),
        (lambda _: "no", "TypeError: it returned 'no', which is no effect"),
        (lambda _: Refuse("ENOTHING"), "ValueError: errno 'ENOTHING' is none of"),
        (lambda _: Delay(-1), "ValueError: delay -1"),
        (lambda _: Short("x"), "TypeError: moved 'x' is not an integer"),  # type: ignore[arg-type]
        (lambda _: Alter(lambda data: data + b"x"), "TypeError: it made 5 bytes of 4 bytes"),
        (lambda _: Alter(lambda _: None), "TypeError: it made NoneType of 4 bytes"),  # type: ignore[arg-type,return-value]
        (lambda _: Alter(boom), "ZeroDivisionError: a bug"),
    ],
)
async def test_one_that_fails_is_named_and_its_request_refused(
    tmp_path: Path, strike: Callable[[FaultHit], Any], problem: str
) -> None:
    async with Lab(tmp_path, strike) as it:
        it.add(op={"read", "write"}, name="rule")
        for request in (lambda: it.mem.pread(4, M), lambda: it.mem.pwrite(b"abcd", M)):
            with pytest.raises(DeviceError) as caught:
                await request()

            assert caught.value.code is Errno.EIO
            who = "fault rule 'rule': fault kind acme.it of plugin 'acme' of the caller failed: "
            assert caught.value.reason.startswith(who + problem)

        it.hub.faults.remove("rule")
        assert await it.mem.pread(4, M) == bytes(4)


async def test_bytes_are_altered_only_where_bytes_move(tmp_path: Path) -> None:
    async with Lab(tmp_path, lambda _: Short(1)) as it:
        it.add(op="set")
        with pytest.raises(DeviceError, match="Short of set, which moves no bytes"):
            await it.mem.set_range(16 * M, M, "write-combine")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"action": "acme.no"}, r"'acme.no' is not installed \(installed: acme.it\)"),
        ({"action": "acme.it"}, "acme.it is for read only"),
        ({"action": "acme.it", "op": ["read", "set"]}, "acme.it is for read only"),
        ({"action": "acme.it", "op": ["read"], "options": {"by": 1}}, "no option 'by'"),
        (
            {"action": "acme.it", "op": ["read"], "options": {"bit": "x"}},
            "option bit of acme.it is a string, where an integer is due, as 0",
        ),
    ],
)
def test_a_rule_that_does_not_fit_the_kind_is_refused(rule: dict[str, Any], problem: str) -> None:
    kinds = book(lambda _: None, operations=READ, options={"bit": 0})
    with pytest.raises(ValueError, match=problem):
        Hub([PAT], arches=ARCHES, fault_kinds=kinds, faults=[rule_of_dict(rule)])


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"action": "flip"}, "action 'flip' is none of errno"),
        ({"action": "acme..x"}, "action 'acme..x' is none of"),
        ({"action": "errno", "options": {"a": 1}}, "action errno has no options"),
        ({"action": "acme.it", "delay": 1.0}, "action acme.it has no delay"),
        ({"action": "acme.it", "errno": "EIO"}, "action acme.it has no errno"),
        ({"action": "acme.it", "options": {"a": [1]}}, r"option a \[1\] is no number"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(rule: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        rule_of_dict(rule)


def test_rules_are_the_same_as_plain_data() -> None:
    rule = FaultRule("acme.it", op="read", options={"bit": 3})
    assert rule_of_dict(rule.as_dict()) == rule
    assert "options" not in FaultRule("errno").as_dict()
    assert hash(rule) == hash(rule_of_dict(rule.as_dict()))


def test_of_two_plugins_that_name_one_kind_neither_is_used_and_names_have_a_dot() -> None:
    def kind(name: str) -> FaultKind:
        return FaultKind(name=name, summary="", strike=lambda _: None)

    found = load_fault_kinds(
        plugins=[
            ("one", plugin_of(kind("acme.x"), kind("acme.one"))),
            ("two", plugin_of(kind("acme.x"), kind("plain"))),
            ("bad", object()),
            ("odd", plugin_of("no kind")),
        ],
        installed=False,
    )
    assert list(found.kinds) == ["acme.one"]
    assert [(it.plugin, it.reason.partition(": ")[0]) for it in found.failures[:3]] == [
        ("bad", "TypeError"),
        ("odd", "TypeError"),
        ("two", "ValueError"),
    ]
    rivals = "by 'one' of the caller and 'two' of the caller; none is used: give one another name"
    for name, it in zip(("one", "two"), found.failures[3:], strict=True):
        reason = f"fault kind 'acme.x' is provided twice, {rivals}"
        assert (it.plugin, it.reason) == (name, reason)
