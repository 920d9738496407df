"""The questions, and how one is asked."""

from __future__ import annotations

import importlib
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.harness import Plan, Row

#: Each is a module here with a function `rows(plan)`.
QUESTIONS = (
    "get",
    "change",
    "crowd",
    "growth",
    "read",
    "memory",
    "coherence",
    "sparse",
    "effective",
    "record",
    "connections",
    "latency",
    "clients",
    "bulk",
    "qtest",
    "exec",
    "oneshot",
    "imports",
    "lifecycle",
    "analysis",
    "scale",
)


def ask(name: str, rounds: int, chunk: float, peers: bool) -> list[Row]:
    """Ask one question, in this process."""
    with tempfile.TemporaryDirectory(prefix="memhub-bench-") as folder:
        plan = Plan(rounds, chunk, peers, Path(folder))
        module = importlib.import_module(f"benchmarks.{name}")

        return list(module.rows(plan))


def ask_alone(name: str, rounds: int, chunk: float, peers: bool) -> list[Row]:
    """Ask one question in a process of its own, so that none starts with another's heap."""
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(ask, name, rounds, chunk, peers).result()
