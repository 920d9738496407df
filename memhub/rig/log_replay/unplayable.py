"""Why a step of a log cannot be put."""

from __future__ import annotations


class Unplayable(Exception):
    """Raised for a step that cannot be put; it says why."""
