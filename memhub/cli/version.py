"""The installed version."""

from __future__ import annotations


def version() -> str:
    """The version of the distribution that is installed, or `unknown` without its metadata."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("memhub")
    except PackageNotFoundError:
        return "unknown"
