"""`memhub fault` on a running service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memhub.cli.fault import _OPERATIONS
from memhub.core.faults.fault_rules import OPERATION_WORDS
from memhub.errors import DeviceError
from memhub.fault_kinds import FaultBook
from memhub.plugin.faults import Alter, FaultKind
from memhub.service.blocking import BlockingClient
from service.served import served
from shell.kit import MTRR, M

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clirun import Run


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "lab.sock"
    with served(path, MTRR):
        monkeypatch.setenv("MEMHUB_SOCKET", str(path))
        yield path


def test_a_rule_is_added_listed_and_removed(run: Run, socket: Path) -> None:
    words = "--op read,write --window 0x100000+4K --errno ENOSPC --times 1"
    assert run("fault", "add", "errno", *words.split()).out == (
        "fault-1: errno op=read,write base=0x100000 length=0x1000 times=1 errno=ENOSPC; "
        "0 faults of 0 requests\n"
    )
    with BlockingClient(socket) as client, client.open("/dev/mem") as mem:
        with pytest.raises(DeviceError, match="ENOSPC"):
            mem.pread(1, M)

        mem.pread(1, M)

    assert run("fault", "list").out.endswith("; 1 faults of 2 requests\n")
    (row,) = json.loads(run("fault", "list", "--json").out)
    assert (row["op"], row["base"], row["injected"]) == (["read", "write"], M, 1)
    assert run("fault", "remove", "fault-1").code == 0
    assert run("fault", "list").out == ""


def test_operations_may_be_given_one_by_one(run: Run, socket: Path) -> None:
    done = run("fault", "add", "drop", "--op", "set", "--op", "read,get")

    assert done.out.startswith("fault-1: drop op=get,read,set; ")


def test_an_action_of_a_plugin_has_its_options(run: Run, tmp_path: Path) -> None:
    kind = FaultKind(
        name="acme.flip",
        summary="",
        options={"bits": 0, "hard": False, "rate": 0.5, "word": "x"},
        strike=lambda hit: Alter(lambda data: bytes(it ^ hit.options["bits"] for it in data)),
    )
    path = tmp_path / "lab.sock"
    with served(path, MTRR, fault_kinds=FaultBook({kind.name: kind})):
        words = "--op read --option bits=0x0f --option hard=true --option rate=1e3 --option word=y"
        done = run("fault", "add", "acme.flip", "--connect", path, *words.split())
        assert done.out == (
            "fault-1: acme.flip op=read options=bits:15,hard:True,rate:1000.0,word:y; "
            "0 faults of 0 requests\n"
        )
        with BlockingClient(path) as client, client.open("/dev/mem") as mem:
            assert mem.pread(1, M) == b"\x0f"

        wrong = run("fault", "add", "acme.flip", "--connect", path, "--option", "bit=1")
        assert "acme.flip has no option 'bit' (options: bits, hard" in " ".join(wrong.err.split())
        for option in ("bits", "=1"):
            wrong = run("fault", "add", "acme.flip", "--connect", path, "--option", option)
            assert (wrong.code, wrong.err) == (
                2,
                f"memhub: --option {option!r} is not NAME=VALUE\n",
            )


def test_rules_are_listed_by_machine(run: Run, socket: Path) -> None:
    run("fault", "add", "drop", "--machine", "mtrr", "--op", "seek", "--name", "here")
    run("fault", "add", "delay", "--delay", "0.5", "--op", "seek", "--name", "anywhere")

    assert [row["name"] for row in json.loads(run("fault", "list", "--json").out)] == [
        "here",
        "anywhere",
    ]
    assert run("fault", "list", "--machine", "mtrr").out.startswith("here: drop machine=mtrr")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("add fail", 2, "action 'fail' is none of errno, delay"),
        ("add delay", 2, "action delay needs delay"),
        ("add drop --nth two", 2, "--nth 'two' is not a number"),
        ("add drop --window 5", 2, "--window '5' is not BASE+LENGTH"),
        ("add drop --machine nix", 1, "there is no machine 'nix'"),
        ("remove nix", 1, "there is no fault rule 'nix'"),
        ("list --config x.toml", 2, "rules are added to a running service"),
    ],
)
def test_what_is_wrong_is_named(run: Run, socket: Path, words: str, code: int, says: str) -> None:
    done = run("fault", *words.split())

    assert done.code == code
    assert says in done.err


def test_hardware_is_made_sick_checked_and_made_well(run: Run, socket: Path) -> None:
    words = "add cpu_out_of_step --cpu 1 --registers 0x2ff=0xc00,0x203=0xFFF000800 --times 1"
    refused = run("fault", *words.split())
    assert (refused.code, refused.err) == (2, "memhub: action cpu_out_of_step has no times\n")
    assert run("fault", *words.split()[:-2]).out == (
        "mtrr-sick-1: cpu_out_of_step machine=mtrr cpu=1 registers=0x2ff=0xc00,0x203=0xfff000800; "
        "struck 1 times\n"
    )
    checked = run("fault", "check")
    assert checked.code == 1
    assert checked.out.splitlines()[:3] == [
        "CPU 1: inconsistent variable MTRR, MTRRdefType settings",
        "  register 0x203: 0xfff000800, not 0x0",
        "  register 0x2ff: 0xc00, not 0xc06",
    ]
    assert run("fault", "reinit", "--machine", "mtrr").out == ""
    checked = run("fault", "check")
    assert (checked.code, checked.out) == (0, "")
    assert json.loads(run("fault", "list", "--json").out)[0]["name"] == "mtrr-sick-1"
    assert run("fault", "remove", "mtrr-sick-1").code == 0


def test_a_machine_is_suspended_and_resumed(run: Run, socket: Path) -> None:
    with BlockingClient(socket) as client, client.open("/dev/mem") as mem:
        assert run("fault", "suspend").code == 0
        with pytest.raises(DeviceError, match="EAGAIN: machine mtrr is suspended"):
            mem.ranges()

        twice = run("fault", "suspend", "--machine", "mtrr")
        assert (twice.code, twice.err) == (1, "memhub: EINVAL: mtrr is suspended already\n")
        assert run("fault", "resume").code == 0
        mem.ranges()


def test_rules_are_removed_all_or_none(run: Run, socket: Path) -> None:
    for name in ("one", "two"):
        assert run("fault", "add", "drop", "--op", "seek", "--name", name).code == 0

    refused = run("fault", "remove", "one", "nosuch", "two")
    assert (refused.code, refused.err) == (1, "memhub: ENOENT: there is no fault rule 'nosuch'\n")
    assert len(run("fault", "list").out.splitlines()) == 2
    assert run("fault", "remove", "one", "two").code == 0
    assert run("fault", "list").out == ""


def test_the_help_has_every_operation(run: Run) -> None:
    words = " ".join(run("fault", "add", "--help").out.split())
    assert set(_OPERATIONS) == set(OPERATION_WORDS)
    assert f"{', '.join(_OPERATIONS)}; all but the last two by default" in words


def test_a_wrong_action_is_told_those_that_there_are(run: Run, socket: Path) -> None:
    said = " ".join(run("fault", "add", "stuck_slots").err.split())
    assert "is none of errno, delay, drop, short, cut, hang, of sick hardware" in said
    assert said.endswith("or of a plugin, which has a dot; did you mean 'stuck_slot'?")
