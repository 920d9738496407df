"""Write a small package that adds an architecture: driver, entry point, tests and README.

It installs with pip, loads, and passes its tests as it is written. With --declared it has no code:
one file says what the ranges of the architecture are.

exit codes: 0 written, 2 wrong usage, or the folder cannot be written
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

#: Files of the package, by the template that each is made of.
_COMMON: Final[Mapping[str, str]] = {"README.md": "readme.txt", "tests/test_$module.py": "test.txt"}
_CODED: Final[Mapping[str, str]] = {"pyproject.toml": "project.txt", "$package.py": "driver.txt"}
_DECLARED: Final[Mapping[str, str]] = {
    "pyproject.toml": "declared_project.txt",
    "$package/arch.toml": "arch.txt",
}
_NAME: Final = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub new-arch`."""
    parser.add_argument("name", metavar="NAME", help="what configuration calls the architecture")
    parser.add_argument("--declared", action="store_true", help="without code, as a file arch.toml")
    parser.add_argument(
        "--folder", type=Path, help="where to write it (default: memhub-NAME in this one)"
    )
    chosen = parser.parse_args(arguments)

    from memhub.cli.failures import CommandFailed
    from memhub.cli.terminal import print_line

    name = chosen.name
    if not _NAME.fullmatch(name):
        raise CommandFailed(
            f"{name!r} is not a name: it begins with a lower-case letter; lower-case letters and "
            "digits follow, with single - or _ between them"
        )

    folder = chosen.folder or Path(f"memhub-{name}")
    _check_free(name, folder)
    for path in write_package(name, folder, declared=chosen.declared):
        print_line(str(path))

    print_line(f"install it:  python3 -m pip install -e {folder}")
    print_line(f"test it:     python3 -m pytest {folder}")
    print_line(f"check it:    memhub check-arch {name}")

    return 0


def _check_free(name: str, folder: Path) -> None:
    from memhub.arches import load_arches
    from memhub.cli.failures import CommandFailed

    registry = load_arches()
    for other in registry:
        # both would be one module
        if other.replace("-", "_") == name.replace("-", "_"):
            source = registry.sources[other]
            raise CommandFailed(f"architecture {other!r} is there already, of {source}")

    if folder.exists():
        raise CommandFailed(f"{folder} is there already")


def write_package(name: str, folder: Path, *, declared: bool) -> list[Path]:
    """Write a package that adds an architecture.

    Args:
        name: the architecture's name.
        folder: where to write it; made.
        declared: without code.

    Returns:
        the files that were written.

    Raises:
        OSError: the folder is there, or cannot be written.
    """
    module = name.replace("-", "_")
    words = {
        "name": name,
        "module": module,
        "package": f"memhub_{module}",
        "kind": "".join(it.capitalize() for it in name.replace("_", "-").split("-")),
        "rules": "`arch.toml`" if declared else f"`memhub_{module}.py`",
    }
    chosen = {**_COMMON, **(_DECLARED if declared else _CODED)}
    texts = resources.files("memhub.cli") / "new_arch_files"
    made = {
        folder / Template(path).substitute(words): Template(
            (texts / template).read_text("utf-8")
        ).substitute(words)
        for path, template in sorted(chosen.items())
    }
    from memhub.cli.file_output import write_output

    folder.mkdir(parents=True)
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        write_output(str(path), text.encode())

    return list(made)
