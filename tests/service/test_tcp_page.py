"""The example of a service over TCP in docs/service.md is complete, and runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.process_rig import Served

if TYPE_CHECKING:
    import trustme

PAGE = (Path(__file__).parents[2] / "docs" / "service.md").read_text()


def block(name: str) -> str:
    found = re.search(rf"<!-- tcp: {re.escape(name)} -->\n```\w*\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, name

    return found[1]


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    for name in ("tokens", "token"):
        (tmp_path / name).write_text(block(name))

    (tmp_path / "tokens").chmod(0o600)
    # any free port: only the number differs from the page
    (tmp_path / "lab.toml").write_text(block("lab.toml").replace("port = 7700", "port = 0"))
    server = authority.issue_cert("localhost")
    server.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    for pem in server.cert_chain_pems:
        pem.write_to_path(str(tmp_path / "server.pem"), append=True)

    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    return tmp_path


def test_the_example_runs(folder: Path) -> None:
    with Served(folder) as service:
        port = re.search(r"tcp:[^ ]*:([0-9]+)", service.ready())
        assert port is not None

        def run(*words: str) -> str:
            done = subprocess.run(
                [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, "")

            return done.stdout

        command, client = (block(name).replace("7700", port[1]) for name in ("command", "client"))
        assert "00 00 00 00" in run("-m", *command.split())
        assert run("-c", client) == "00" * 16 + "\n"
        assert service.stop()[0] == 0
