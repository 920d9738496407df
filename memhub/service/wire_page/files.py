"""The three files, as text."""

from __future__ import annotations

import json
import re
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Final

from memhub.service.wire_page import body_tables, right_table, schemas, tables, vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "answers": tables.answers,
    "connection frames": lambda: tables.sections(0, 0x10),
    "request frames": lambda: tables.sections(0x10, 0x40),
    "answer frames": lambda: tables.sections(0x40, 0x100),
    "contents": tables.contents,
    "features": tables.features,
    "errors": tables.errors,
    "aborts": tables.aborts,
    "flags": tables.flags,
    "map kinds": tables.map_kinds,
    "obstacles": body_tables.obstacle_table,
    "events": body_tables.event_table,
    "event fields": body_tables.field_table,
    "report": body_tables.report_table,
    "explain": lambda: body_tables.member_table("explain"),
    "faults": lambda: body_tables.member_table("fault"),
    "sicknesses": lambda: body_tables.member_table("sickness"),
    "cpus": lambda: body_tables.member_table("cpu"),
    "devices": lambda: body_tables.member_table("device"),
    "strings": body_tables.wide_list,
    "tcp": tables.tcp_keys,
    "rights": right_table.rights,
}


_PLACES: Final = re.compile(r"\{\{([^{}]+)\}\}")


def files() -> dict[str, str]:
    """Name and text of each file that is generated."""
    template = resources(__package__).joinpath("template.md").read_text(encoding="utf-8")
    page = _PLACES.sub(lambda found: _TABLES[found[1]](), template)

    return {
        "protocol.md": page,
        "protocol.schema.json": json.dumps(schemas.schema(), indent=2) + "\n",
        "protocol.vectors.json": json.dumps(vectors.vectors(), indent=2, ensure_ascii=False) + "\n",
    }
