"""Effective memory types: address to type, and why."""

from __future__ import annotations


class TypeMap:
    """To be written."""
