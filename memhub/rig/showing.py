"""What a failing test used, as the text of its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.rig.picture import draw_hub, draw_records, draw_service, picture_text, seed_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def show_rig(shown: Mapping[str, Any]) -> str:
    """The machines and the log of a test.

    Args:
        shown: what its fixtures noted: `hub`, `service` with the `arches` it may have, `log` and
            `seed`, where the test uses them.
    """
    parts: list[Iterator[str]] = []
    if "hub" in shown:
        parts.append(draw_hub(shown["hub"]))

    if "service" in shown:
        parts.append(draw_service(shown["service"], shown["arches"]))

    if "log" in shown:
        parts.append(draw_records(shown["log"].records))

    if "seed" in shown:
        parts.append(seed_line(shown["seed"]))

    return picture_text(parts)
