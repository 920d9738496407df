"""What a program, or whoever named it, chose never reaches the terminal as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import OPENED
from hostile import HOSTILE, LABEL, controls
from memhub.exec import ShimUnavailable, run

if TYPE_CHECKING:
    from pathlib import Path

    from exec.exec_rig import FakeBackend, MakeNode


@pytest.mark.parametrize("name", [LABEL, HOSTILE, f"{LABEL}\n"])
def test_the_name_of_a_program_that_is_not_found_is_shown_escaped(
    facility: None, backend: FakeBackend, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    assert run([name], backend) == 127

    (line,) = capfd.readouterr().err.splitlines()
    assert controls(line) == []
    assert line.startswith(r"memhub exec: \x1b[2J")
    assert line.endswith(": No such file or directory")


def test_the_name_of_a_program_that_cannot_be_executed_is_shown_escaped(
    facility: None, backend: FakeBackend, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "\x1b[2J"
    path.write_text("not a program")

    assert run([str(path)], backend) == 126
    assert capfd.readouterr().err == (f"memhub exec: {tmp_path}/\\x1b[2J: Permission denied\n")


def test_the_path_that_a_program_opens_is_shown_escaped(
    facility: None,
    backend: FakeBackend,
    make_node: MakeNode,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    link = tmp_path / "\x1b[2J\u202e"
    link.symlink_to(make_node(1, 4))
    source = f"from os import *\n{OPENED}\nprint(opened({str(link)!r}))"

    assert run(["python3", "-I", "-S", "-c", source], backend) == 0

    out, err = capfd.readouterr()
    assert out == "EACCES\n"
    assert controls(err) == []
    assert rf"opening {tmp_path}/\x1b[2J\u202e refused" in err


def test_the_message_of_an_unavailable_shim_is_escaped() -> None:
    error = ShimUnavailable(f"the kernel refuses {LABEL}")

    assert controls(str(error)) == []
    assert error.args == (f"the kernel refuses {LABEL}",)
