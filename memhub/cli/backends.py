"""The event loops that a command can run on."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

from memhub.cli.failures import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

#: By name: the package that must be installed, anyio's name for it, and anyio's options.
BACKENDS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "asyncio": ("asyncio", "asyncio", {}),
    "trio": ("trio", "trio", {}),
    "uvloop": ("uvloop", "asyncio", {"use_uvloop": True}),
}


def check_backend(name: str) -> None:
    """Refuse a backend that is not installed, before any work begins.

    Raises:
        CommandFailed: it is not.
    """
    try:
        import_module(BACKENDS[name][0])
    except ImportError as error:
        raise CommandFailed(
            f"the backend {name} is not installed: pip install 'memhub[{name}]' ({error})"
        ) from error


def run_on(name: str, work: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """Run `work(*arguments)` to its end.

    Args:
        name: one of `BACKENDS`.
        work: an async function.
        arguments: what it takes.

    Raises:
        CommandFailed: the backend is not installed.
    """
    check_backend(name)
    _, backend, options = BACKENDS[name]

    import anyio

    return anyio.run(work, *arguments, backend=backend, backend_options=options)
