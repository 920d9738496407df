"""What a failing test used, as the text of its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.rig.picture import draw_hub, draw_records, draw_service, picture_text, seed_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def show_rig(shown: Mapping[str, Any]) -> str:
    """The machines and the log of a test.

    Args:
        shown: what its fixtures noted, where the test uses them: `hub` and `hub_log`, `service`,
            `service_log` and the `arches` that it may have, `seed`.
    """
    parts: list[Iterator[str]] = []
    if "hub" in shown:
        parts.append(draw_hub(shown["hub"]))

    if "service" in shown:
        parts.append(draw_service(shown["service"], shown["arches"]))

    faces = [face for face in ("hub", "service") if face in shown]
    parts += [draw_records(face, shown[f"{face}_log"].records) for face in faces]

    if "seed" in shown:
        parts.append(seed_line(shown["seed"]))

    return picture_text(parts)
