"""Without the extra, the commands say which one to install; nothing else needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Runs memhub in an interpreter that lacks some packages.
LACKING = """
import sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {lacking!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Lacking())
from memhub.cli import main
sys.exit(main({arguments!r}))
"""


def run_without(lacking: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    code = LACKING.format(lacking=lacking, arguments=list(arguments))

    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.parametrize("lacking", ["duckdb", "ibis"])
@pytest.mark.parametrize("verb", ["contention", "pack"])
def test_the_extra_is_named(demo: Path, tmp_path: Path, lacking: str, verb: str) -> None:
    more = ["--out", str(tmp_path / "set")] if verb == "pack" else []
    done = run_without({lacking}, "audit", verb, str(demo), *more)

    assert done.returncode == 2
    assert (
        done.stderr.split()
        == (
            f"memhub: {lacking} is not installed, which the questions to a log need: "
            "pip install 'memhub[analysis]'"
        ).split()
    )


def test_the_extra_of_pictures_is_named(tmp_path: Path) -> None:
    out = tmp_path / "c.svg"
    done = run_without({"altair", "vl_convert"}, "compare", "--kernels", "i386", "--out", str(out))

    said = "is not installed, which pictures need: pip install 'memhub[report]'"
    assert (done.returncode, out.exists()) == (2, False)
    assert said in " ".join(done.stderr.split())


def test_the_other_verbs_do_not_need_it(demo: Path) -> None:
    done = run_without({"duckdb", "ibis", "pyarrow", "pandas"}, "audit", "verify", str(demo))

    assert done.returncode == 0
