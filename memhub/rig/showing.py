"""What a failing test used, as the text of its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.escape import say_error
from memhub.rig.picture import draw_hub, draw_records, draw_service, picture_text, seed_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    Shown = Mapping[str, Any]


def show_rig(shown: Shown, error: BaseException | None = None) -> str:
    """The machines and the log of a test.

    Args:
        shown: what its fixtures noted, where the test uses them: `hub` and `hub_log`, `service`,
            `service_log` and the `arches` that it may have, `seed`; and `state`, what
            `note_state` adds.
        error: with what the test failed.

    Returns:
        the text. What cannot be shown is said in it, and raises nothing.
    """
    try:
        return _show_parts(shown, error)
    except Exception as failure:  # noqa: BLE001 - the test has failed, and its error matters
        return f"not shown: {say_error(failure)}"


def _show_parts(shown: Shown, error: BaseException | None) -> str:
    noted, state = shown.get("state", (None, ""))
    parts = [iter(state.splitlines())] if _led_to(noted, error) else _draw_machines(shown)
    faces = [face for face in ("hub", "service") if face in shown]
    parts += [draw_records(face, shown[f"{face}_log"]) for face in faces]
    if "seed" in shown:
        parts.append(seed_line(shown["seed"]))

    return picture_text(parts)


def _draw_machines(shown: Shown) -> list[Iterator[str]]:
    parts: list[Iterator[str]] = []
    if "hub" in shown:
        parts.append(draw_hub(shown["hub"]))

    if "service" in shown:
        parts.append(draw_service(shown["service"], shown["arches"]))

    return parts


def note_state(shown: MutableMapping[str, Any], error: BaseException) -> None:
    """Keep what the machines are like where an error leaves the block of a client, which ends.

    Args:
        shown: as for `show_rig`; it gets the state of the first block that an error leaves.
        error: the error.
    """
    if not _led_to(shown.get("state", (None, ""))[0], error):
        shown["state"] = error, picture_text(_draw_machines(shown))


def _led_to(noted: BaseException | None, error: BaseException | None) -> bool:
    """Whether the error of a test is another one, holds it, or was raised while it was handled."""
    seen: list[BaseException] = []
    left = [] if error is None or noted is None else [error]
    while left:
        it = left.pop()
        if it is noted:
            return True

        if any(it is other for other in seen):
            continue

        seen.append(it)
        left += it.exceptions if isinstance(it, BaseExceptionGroup) else ()
        left += [other for other in (it.__cause__, it.__context__) if other is not None]

    return False
