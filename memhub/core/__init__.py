"""The machine that decides: synchronous and pure.

Nothing in this folder reads a clock or a random source, logs, does I/O or awaits. Time, ids and
randomness are handed in; state changes are all or nothing.
"""
