"""The three files, as text."""

from __future__ import annotations

import json
import re
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Final

from memhub.service.wire_page import schemas, tables, vectors

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
    "obstacles": schemas.obstacle_table,
    "events": schemas.event_table,
    "event fields": schemas.field_table,
    "report": schemas.report_table,
    "explain": lambda: schemas.member_table("explain"),
    "faults": lambda: schemas.member_table("fault"),
    "devices": lambda: schemas.member_table("device"),
    "strings": schemas.wide_list,
    "tcp": tables.tcp_keys,
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
