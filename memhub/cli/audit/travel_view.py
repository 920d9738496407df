"""What `memhub audit state`, `diff` and `blame` show people."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Any

from memhub.cli.amounts import extent
from memhub.cli.terminal import Screen
from memhub.core.drivers.served_kernel import KernelRange
from memhub.shipping.sentence import register_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memhub.audit.history.blame import Blame, Step
    from memhub.audit.history.states import MachineState, State

    Facts = dict[str, Any]


def print_state(state: State) -> None:
    """Show a state: the slots in use, the claims, waits and commits, the registers not zero."""
    screen = Screen()
    screen.line((_moment_text(state.seq, state.facts()["time"]), "bold"))
    for machine in state.machines.values():
        facts = machine.facts()
        screen.line(
            (machine.machine, "bold"),
            f"  {', '.join(filter(None, (machine.arch, machine.kernel_name)))}, "
            f"generation {machine.generation}, {_use_text(machine)}",
        )
        for name, found in machine.wrong.items():
            text = ", ".join(map(str, found)) if isinstance(found, list) else found
            title = {"cpus": "CPUs out of step", "sicknesses": "sick"}.get(name, name)
            screen.line((f"  {title}: {text}", "red"), hang=12)

        for name, text in _range_lines(machine, facts):
            screen.line(f"  {name:<9} {text}", hang=12)

        for it in facts["claims"] or ():
            screen.line(f"  claim {it['fence']:<3} {_claim_text(it)}", hang=12)

        for it in facts["waits"] or ():
            screen.line(f"  wait {it['wait']:<4} {_wait_text(it)}", hang=12)

        for commit in machine.commits or ():
            desc, who = commit.request.desc, commit.caller.process
            where = extent(desc.mr_base, desc.mr_len)
            screen.line(f"  commit {commit.number:<2} {where} by {who.name} (id {who.id})", hang=12)

        words = [f"{number}={value:#x}" for number, value in facts["msrs"].items() if value]
        if words:
            screen.line(f"  msrs      {' '.join(words)}", hang=12)

    if not state.machines:
        screen.line("; ".join(["no machine", *state.ends_of(None)]))

    _print_notes(screen, state.notes)


def _use_text(machine: MachineState) -> str:
    if machine.registers is None:
        return f"{len(machine.used)} of {len(machine.slots)} slots in use"

    return f"{len(machine.registers.used)} of {machine.registers.total} registers in use"


def _range_lines(machine: MachineState, facts: Facts) -> Iterator[tuple[str, str]]:
    """The name and the text of each range, as the machine's kernel has them."""
    if machine.registers is not None:
        for it in machine.registers.used:
            if not it.fixed:
                yield f"reg {it.register}", register_text(it)

        return

    for first, last, row in _merge_slots(facts["slots"][slot] for slot in machine.used):
        yield f"slot {first}" if first == last else f"slots {first}-{last}", _desc_text(row)


def _print_notes(screen: Screen, notes: tuple[str, ...]) -> None:
    for note in notes:
        screen.line((note, "yellow"))


def _moment_text(seq: int, time: str) -> str:
    return f"record {seq} at {_short_time(time)}"


def _short_time(time: str) -> str:
    """A time to the microsecond, as `--at` takes it."""
    return f"{time[:-4]}Z"


def _merge_slots(slots: Iterable[Facts]) -> Iterator[tuple[int, int, Facts]]:
    """Slots, and runs of fixed ones that lie one behind another and are alike."""
    from memhub.abi import MDF_FIXBASE

    first = 0
    run: dict[str, Any] = {}
    for it in slots:
        follows = (
            run and run["slot"] + 1 == it["slot"] and run["base"] + run["length"] == it["base"]
        )
        if (
            follows
            and it["flags"] & MDF_FIXBASE
            and all(run[k] == it[k] for k in ("flags", "owner"))
        ):
            run = it | {"base": run["base"], "length": run["length"] + it["length"]}
            continue

        if run:
            yield first, run["slot"], run

        first, run = it["slot"], it

    if run:
        yield first, run["slot"], run


def _desc_text(it: Facts | None) -> str:
    from memhub.abi import flag_words

    if it is None or not it["length"]:
        return "empty"

    owner = f" owner {it['owner']}" if it["owner"] else ""

    return (
        " ".join((extent(it["base"], it["length"]), *flag_words(it["flags"], extra=False))) + owner
    )


def _claim_text(it: Facts | None) -> str:
    if it is None:
        return "none"

    names = " ".join(map(str, it["slots"]))
    slots = f", slot{'s' * (len(it['slots']) > 1)} {names}" if names else ""

    return (
        f"{extent(it['base'], it['length'])} {it['kind']} of {it['process']} "
        f"(id {it['process_id']}){slots}{_show_until(it)}"
    )


def _wait_text(it: Facts | None) -> str:
    if it is None:
        return "none"

    who = f"{it['process']} (id {it['process_id']})"

    return f"{extent(it['base'], it['length'])} {it['op']} of {who}{_show_until(it)}"


def _show_until(it: Facts) -> str:
    from memhub.audit.history.states import time_text

    return "" if it["expires_ns"] is None else f", until {_short_time(time_text(it['expires_ns']))}"


def print_diff(facts: Facts) -> None:
    """Show what `diff_states` found."""
    screen = Screen()
    heads = [facts[side] for side in ("before", "after")]
    first, last = (_moment_text(it["seq"], it["time"]) for it in heads)
    screen.line((f"{first} to {last}", "bold"), hang=2)
    for machine in facts["machines"]:
        generations = (machine["generation"][side] for side in ("before", "after"))
        known = ("not there" if it is None else f"generation {it}" for it in generations)
        screen.line((machine["machine"], "bold"), f"  {' -> '.join(dict.fromkeys(known))}")
        for part, key, show in (
            ("slots", "slot", _desc_text),
            ("claims", "fence", _claim_text),
            ("waits", "wait", _wait_text),
            ("msrs", "msr", _msr_text),
            ("registers", "register", _register_text),
            ("kernel", "name", _kept_text),
            ("wrong", "name", _kept_text),
        ):
            if part == "slots" and "registers" in machine:
                continue

            for it in machine.get(part) or ():
                old, new = show(it["before"]), show(it["after"])
                title = f"  {part.removesuffix('s')} {it[key]}: "
                if old != new:
                    screen.line(f"{title}{old} -> {new}", hang=6)

    if not facts["machines"]:
        screen.line("nothing differs")

    _print_notes(screen, tuple(dict.fromkeys(it for head in heads for it in head.get("notes", ()))))


def _register_text(it: Facts | None) -> str:
    return "empty" if it is None else register_text(KernelRange(0, **it))


def _kept_text(value: Any) -> str:  # noqa: ANN401 - a plain value
    return "none" if value is None else dumps(value)


def _msr_text(value: int | None) -> str:
    return "none" if value is None else f"{value:#x}"


def print_blame(answer: Blame) -> None:
    """Show the type of an address on one machine, and the steps to it."""
    screen = Screen()
    facts = answer.facts()
    mark = " (implementation-defined)" if answer.implementation_defined else ""
    screen.line(
        (f"{answer.machine}  {answer.address:#x}  {answer.type or 'no type'}{mark}", "bold"),
        f"  {answer.why}",
        hang=2,
    )
    for cpu, found in answer.cpus.items():
        screen.line(f"  CPU {cpu} is out of step, and has {found}", hang=4)

    screen.line(f"  after {_moment_text(answer.seq, facts['time'])}")
    if answer.omitted:
        screen.line(f"  {answer.omitted} older steps are not shown")

    for step in answer.steps:
        _print_step(screen, step)

    if answer.note is not None:
        _print_notes(screen, (answer.note,))


def _print_step(screen: Screen, step: Step) -> None:
    facts = step.facts()
    place = f"{facts['seq']:>6} {_short_time(facts['time'])} "
    old, new = step.types
    if facts["event"] == "device.attach":
        screen.line((place, "dim"), f"the machine starts: {new}", hang=8)
    elif facts["event"] == "device.restore":
        how = "is reset" if step.record["cause"] == "reset" else "goes back to a snapshot"
        screen.line((place, "dim"), f"the machine {how}: {old} -> {new}", hang=8)
    elif facts["event"] == "held.machine":
        screen.line((place, "dim"), f"the log begins, with a snapshot: {new}", hang=8)
    elif step.hardware:
        names = " ".join(facts["sickness"] or ())
        change = f": {old} -> {new}" if old != new else ""
        screen.line(
            (place, "dim"),
            f"hardware {step.hardware}{f' {names}' if names else ''}{change}",
            hang=8,
        )
    else:
        owner = f" owner {facts['owner']}" if facts["owner"] else ""
        where = "" if facts["base"] is None else f" {extent(facts['base'], facts['length'])}"
        asked = " ".join(facts["attributes"] or ())
        what = f"{facts['op'] or 'undo'}{where}{f' {asked}' if asked else ''}{owner}"
        who = f"{facts['process']} (id {facts['process_id']})"
        who = "a driver" if facts["process"] is None else who
        refused, change = facts["errno"] is not None, f"{old} -> {new}"
        error = f"{facts['errno']}: {facts['reason']}"
        if refused and facts["before"] is not None:  # another kernel may have done a part
            error += f"; {change}"

        screen.line(
            (place, "dim"), f"{who} {what}: ", (error, "red") if refused else change, hang=8
        )

    for it in facts["cpus"]:
        screen.line(f"        CPU {it['cpu']}: {it['before'] or 'none'} -> {it['after']}", hang=12)

    for it in facts["slots"]:
        start = "" if facts["before"] is None else f"{_desc_text(it['before'])} -> "
        screen.line(f"        slot {it['slot']}: {start}{_desc_text(it['after'])}", hang=12)
