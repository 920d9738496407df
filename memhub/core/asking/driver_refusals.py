"""The error that a driver's exception becomes: a refusal of memhub's own classes, or DriverFailed.

An exception of a plugin's class is a plugin's code: its text, its fields. All of that is run and
checked here, within what `asked_driver.py` guards, and no error that leaves it runs it again.
"""

from __future__ import annotations

from dataclasses import fields, replace
from operator import is_
from typing import Any, Final

from memhub import abi, errors
from memhub.abi import U64_MAX
from memhub.core.asking.driver_answers import (
    WORD_MAX,
    DriverStopped,
    Nonsense,
    check_slot,
    check_text,
    kind_of,
    say,
    show,
)
from memhub.core.kernel import OptionError

#: Obstacles of one refusal; what is beyond is left out.
_OBSTACLES_MAX: Final = 256
#: What only a hub can know, so that no driver may raise it.
_OF_THE_HUB: Final = (
    errors.BadHandle,
    errors.Cancelled,
    errors.DriverFailed,
    errors.LogFailed,
    errors.StaleClaim,
    errors.TimedOut,
    errors.WouldDeadlock,
)
_KINDS: Final = tuple(
    it for it in vars(errors).values() if type(it) is type and issubclass(it, errors.DeviceError)
)
_TEXTS: Final = frozenset({"kind", "type", "owner", "process"})


def take_error(
    error: BaseException, who: str, count: int | None, *, starts: bool, interrupts: bool
) -> BaseException:
    """What is raised for what a driver raised. It holds nothing of a stranger's class.

    This runs code of the error's class, so it belongs where a watchdog can stop it.

    Args:
        error: what the driver raised, or what is wrong with its answer.
        who: the method, in words.
        count: how many slots there are; None where no request can be refused.
        starts: whether an option may be refused.
        interrupts: whether a KeyboardInterrupt may be that of Ctrl-C, which passes.
    """
    try:
        if count is not None and issubclass(type(error), errors.DeviceError):
            return take_refusal(error, count)  # type: ignore[arg-type]

        if starts and issubclass(type(error), OptionError):
            return OptionError(say(error.key), say(error.reason))  # type: ignore[attr-defined]
    except BaseException as another:  # noqa: BLE001 - its fields are a stranger's too
        error = another

    try:
        said = type(error) is Nonsense or type(error) is DriverStopped
        what = say(error) if said else f"failed with {kind_of(error)}: {say(error)}"
    except (DriverStopped, KeyboardInterrupt) as another:
        said, error = type(another) is DriverStopped, another
        what = say(error) if said else f"failed with {kind_of(error)}"

    if interrupts and issubclass(type(error), KeyboardInterrupt):
        return error

    return errors.DriverFailed(f"{who}, {what}")


def take_refusal(error: errors.DeviceError, count: int) -> errors.DeviceError:
    """The refusal of a request, as it goes to the log and to clients.

    Args:
        error: what the driver raised.
        count: how many slots there are.

    Returns:
        the error, or one of memhub's own classes in its place: what is too long is cut.
    """
    name, reason, code = kind_of(error), error.reason, error.code
    obstacles, moved = error.obstacles, error.moved
    if issubclass(type(error), _OF_THE_HUB):
        raise Nonsense(f"raised {name}, which is not for a driver to raise: {say(reason)}")

    said = check_text(f"the reason of {name}", reason)
    if type(code) is not abi.Errno:
        raise Nonsense(f"raised {name} with the code {show(code)}, which is not an Errno")

    if type(obstacles) is not tuple:
        raise Nonsense(f"raised {name} with obstacles {show(obstacles)}, which are not a tuple")

    if type(moved) is not int or moved != 0:
        raise Nonsense(f"raised {name} with `moved` {show(moved)}, which is not 0")

    kept = tuple(_take_obstacle(it, count) for it in obstacles[:_OBSTACLES_MAX])
    if left_out := len(obstacles) - len(kept):
        said = f"{said} ({left_out} of {len(obstacles)} obstacles are left out)"

    kind: type[errors.DeviceError] = next(
        known for it in type(error).__mro__ for known in _KINDS if it is known
    )
    if kind is type(error) and said is reason and all(map(is_, kept, obstacles)):
        return error

    return kind(said, code=code, obstacles=kept)


def _take_obstacle(obstacle: object, count: int) -> errors.Obstacle:
    if type(obstacle) is not errors.Obstacle:
        raise Nonsense(f"named {show(obstacle)} as an obstacle, which is not an Obstacle")

    if obstacle.slot is not None:
        check_slot(obstacle.slot, count)

    cut: dict[str, Any] = {}
    for it in fields(obstacle):
        value = getattr(obstacle, it.name)
        if it.name in _TEXTS and (value is not None or it.name == "kind"):
            text = check_text(f"{it.name} of an obstacle", value, WORD_MAX)
            if text is not value:
                cut[it.name] = text
        elif value is not None and it.name not in _TEXTS and not _is_amount(it.name, value):
            raise Nonsense(f"{it.name} of an obstacle, {show(value)}, is not a number")

    return replace(obstacle, **cut) if cut else obstacle


def _is_amount(name: str, value: object) -> bool:
    if name == "since" and type(value) is float:
        return 0 <= value < 1e12

    return type(value) is int and 0 <= value <= U64_MAX
