"""`examples/Containerfile`: what it copies is there and suffices, and what it starts serves.

No container is built here, since that needs an image from a registry; its steps are done by hand.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

from memhub.service.blocking import BlockingClient
from pages.page_blocks import ROOT
from pages.test_commands import parse

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (ROOT / "examples" / "Containerfile").read_text()
STEPS = [
    line.split(maxsplit=1)
    for line in TEXT.replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def arguments(word: str) -> list[str]:
    return [rest for found, rest in STEPS if found == word]


def copied() -> list[list[str]]:
    """The sources and the target of each copy from the checkout."""
    return [line.split() for line in arguments("COPY") if "--from" not in line]


def test_it_has_the_steps_of_a_build_and_of_a_run() -> None:
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "STOPSIGNAL"}

    assert {word for word, _ in STEPS} <= known | {"ENTRYPOINT", "CMD"}
    assert STEPS[0][0] == "FROM"
    assert len(arguments("FROM")) == 2


def test_its_python_is_one_that_memhub_supports() -> None:
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    versions = {tuple(map(int, it.split("."))) for it in re.findall(r"python:([\d.]+)", TEXT)}

    assert len(versions) == 1
    assert versions.pop() >= tuple(map(int, least.removeprefix(">=").split(".")))


def test_it_runs_without_root_and_ends_by_a_signal_that_memhub_obeys() -> None:
    assert arguments("USER")[-1] == "10001"
    assert arguments("STOPSIGNAL") == ["SIGTERM"]


def test_what_it_copies_is_there_and_is_enough_for_a_wheel(tmp_path: Path) -> None:
    for *sources, target in copied():
        for source in sources:
            assert (ROOT / source).exists(), source
            if not target.startswith("/"):
                place = tmp_path / target if target != "./" else tmp_path / source
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, place)

    extras = re.findall(r"'\.\[(.*?)\]'", TEXT)[0].split(",")
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "-w", str(tmp_path / "out"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert set(extras) <= project["optional-dependencies"].keys()
    assert done.returncode == 0, done.stderr
    assert [it.suffix for it in (tmp_path / "out").iterdir()] == [".whl"]


def start_words(folder: Path) -> list[str]:
    """What the container runs, with its folders in another place."""
    words = [*json.loads(arguments("ENTRYPOINT")[0]), *json.loads(arguments("CMD")[0])]

    return [re.sub(r"^/(run|etc)/memhub/", f"{folder}/", it) for it in words]


def test_the_commands_of_its_comment_are_taken() -> None:
    lines = re.findall(r"^#   (memhub .*)$", TEXT, re.MULTILINE)

    assert len(lines) == 1
    parse(lines[0])


def test_what_it_starts_is_a_command_of_memhub(tmp_path: Path) -> None:
    parse(" ".join(start_words(tmp_path)))


def test_what_it_starts_serves(tmp_path: Path) -> None:
    (config,) = [source for *sources, _ in copied() for source in sources if "configs/" in source]
    shutil.copy(ROOT / config, tmp_path)
    command = [sys.executable, "-m", *start_words(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        try:
            assert "ready" in service.stdout.readline()
            with BlockingClient(f"{tmp_path}/memhub.sock") as client:
                assert client.report()["machines"]
        finally:
            service.terminate()

    assert service.returncode == 0
    assert (tmp_path / "audit.jsonl").stat().st_size > 0
