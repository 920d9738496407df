"""Print a script with which a shell completes memhub's commands, options and files.

bash   memhub completion bash > ~/.local/share/bash-completion/completions/memhub
zsh    memhub completion zsh > _memhub, in a folder of $fpath
tcsh   memhub completion tcsh > ~/.memhub.csh; source ~/.memhub.csh
fish   memhub completion fish > ~/.config/fish/completions/memhub.fish
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

#: The shells that a script can be made for.
SHELLS: Final = ("bash", "zsh", "tcsh", "fish")


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub completion`."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads the script")
    chosen = parser.parse_args(arguments)

    from memhub.cli.terminal import print_document

    print_document(make_script(chosen.shell))

    return 0


def make_script(shell: str) -> str:
    """The script for one of SHELLS.

    Raises:
        CommandFailed: shtab, which makes it, is not installed.
    """
    from memhub.cli.failures import CommandFailed
    from memhub.cli.parsers import file_arguments, make_parser

    try:
        import shtab
    except ImportError as error:
        raise CommandFailed(
            "shtab is not installed, which makes the scripts: pip install 'memhub[cli]'"
        ) from error

    root = make_parser()
    for action, is_folder in file_arguments(root):
        action.complete = shtab.DIRECTORY if is_folder else shtab.FILE  # type: ignore[attr-defined]

    return f"{shtab.complete(root, shell).rstrip()}\n"
