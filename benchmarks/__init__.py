"""Benchmarks: each question is one small file, and each figure a ratio within one run.

`python -m benchmarks` runs them all; `docs/performance.md` says what they mean.
"""
