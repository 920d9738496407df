"""The pictures in `docs/performance.md`: ratios with their goals, growth, and latency.

Each kind of mark has a shape of its own beside its colour, so that no colour has to be told apart.
"""
