"""The columns of a record, with their types in DuckDB, and those that a reader adds.

A record's own members keep their names. `v` and `prev` are left out: one is the same in every
record, the other is the `hash` of the record before.
"""

from __future__ import annotations

from typing import Final

from memhub.audit.fields import FIELDS

_TYPES: Final = {
    "int": "BIGINT",
    "u64": "UBIGINT",
    "ns": "BIGINT",
    "bool": "BOOLEAN",
    "str": "VARCHAR",
}

#: One start of one machine: what makes numbers of processes, claims and waits unique.
MACHINE: Final = ("log", "machine", "start")

#: Members of a record that are not kept.
LEFT_OUT: Final = frozenset({"v", "prev"})

#: What a reader adds to each record, with its type in DuckDB and its meaning.
ADDED: Final = {
    "log": ("VARCHAR", "identity of the log: `log_id`"),
    "chain": ("INTEGER", "which chain of the log, from 1; a file rotated by SIGHUP begins another"),
    "n": ("BIGINT", "place of the record in the log, over all chains, from 1"),
    "run": ("INTEGER", "which start of the hub in this log, from 1"),
    "start": ("INTEGER", "which start of the machine in this log, from 1; null without a machine"),
    "begins": ("BOOLEAN", "whether the record has the whole table that such a start begins with"),
    "held_n": (
        "BIGINT",
        "of a `held.part` that tells news of a machine: `n` of its table's record",
    ),
    "held_claims": ("STRUCT[]", "the claims in such a record, with their slots"),
    "held_files": (
        "BIGINT[]",
        "whose files are open, in such a record, where no record opened them",
    ),
    "time": ("TIMESTAMP", "`wall_ns` as a time in UTC, to the microsecond"),
}


def duckdb_type(kind: str) -> str:
    """The type in DuckDB of a field's type in the schema: `[u64]` is `UBIGINT[]`."""
    if kind.startswith("["):
        return f"{_TYPES[kind[1:-1]]}[]"

    return _TYPES[kind]


#: A record's own columns and their types in DuckDB, in the order of the schema.
OWN: Final = {
    name: duckdb_type(field.type) for name, field in FIELDS.items() if name not in LEFT_OUT
}
