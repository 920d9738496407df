"""The packages that the analysis needs, and what is said where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

#: Modules that the extra `analysis` brings.
_NEEDED: Final = ("duckdb", "ibis", "pyarrow")


class AnalysisNotInstalled(ImportError):
    """Raised where a package of the extra `analysis` is missing."""


def require_analysis() -> None:
    """Import the packages of the extra `analysis`.

    Raises:
        AnalysisNotInstalled: one is missing; it and the extra are named.
    """
    for name in _NEEDED:
        require_package(name)


def require_package(name: str, extra: str = "analysis") -> Any:  # noqa: ANN401 - any module
    """Import one package.

    Args:
        name: its module.
        extra: the extra of memhub that brings it.

    Raises:
        AnalysisNotInstalled: it is missing; it and the extra are named.
    """
    try:
        return import_module(name)
    except ImportError as error:
        missing = error.name or name
        what = "pictures" if extra == "report" else "the questions to a log"
        raise AnalysisNotInstalled(
            f"{missing} is not installed, which {what} need: pip install 'memhub[{extra}]'"
        ) from error
