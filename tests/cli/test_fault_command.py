"""`memhub fault` on a running service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memhub.errors import DeviceError
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
