"""What device models keep, where they can say it.

A device model that has `save_state()`, which answers bytes, and `load_state(data)`, which takes
them, goes back with its machine. Another stays as it is.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from memhub.errors import DeviceError, InvalidArgument
from memhub.escape import say_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.core.memory.physmap import Window


@runtime_checkable
class StatefulDevice(Protocol):
    """A device model that can say what it keeps."""

    def save_state(self) -> bytes:
        """All that it keeps."""

    def load_state(self, data: bytes) -> None:
        """Keep what an earlier `save_state` answered."""


class DeviceState(NamedTuple):
    """What a device model kept.

    Attributes:
        base: first byte of its window.
        length: bytes of its window.
        data: its state; None where it cannot say it.
    """

    base: int
    length: int
    data: bytes | None


def save_device(device: object) -> bytes | None:
    """The state of a device model; None where it cannot say it.

    Raises:
        DeviceError: EIO; the model failed, or answered no bytes.
    """
    if not isinstance(device, StatefulDevice):
        return None

    try:
        data = device.save_state()
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"it answered {data!r:.80}, which is not bytes")

        return bytes(memoryview(data))
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as error:
        raise _device_error(device, "save_state", error) from error


def save_devices(windows: Iterable[Window]) -> tuple[DeviceState, ...]:
    """The states of the device models of some windows; errors are those of `save_device`."""
    return tuple(DeviceState(it.base, it.length, save_device(it.device)) for it in windows)


def first_states(windows: Iterable[Window]) -> tuple[DeviceState, ...]:
    """The states in which the device models of some windows were mapped."""
    return tuple(DeviceState(it.base, it.length, it.first) for it in windows)


def check_devices(windows: Sequence[Window], states: Iterable[DeviceState]) -> None:
    """Refuse states that no device model of these windows can take.

    Raises:
        InvalidArgument: EINVAL; names the window.
    """
    able = {(it.base, it.length) for it in windows if isinstance(it.device, StatefulDevice)}
    for state in states:
        if state.data is not None and state[:2] not in able:
            raise InvalidArgument(
                f"a device at {state.base:#x}/{state.length:#x} has a state to go back to, and no "
                "device model that takes one is mapped there"
            )


def load_devices(windows: Iterable[Window], states: Iterable[DeviceState]) -> None:
    """Let device models keep these states; one that is not among them keeps its first.

    Raises:
        DeviceError: EIO; a model failed. It, and those after it, may keep what they kept.
    """
    wanted = {state[:2]: state.data for state in states}
    for window in windows:
        device, data = window.device, wanted.get((window.base, window.length), window.first)
        if data is not None and isinstance(device, StatefulDevice):
            try:
                device.load_state(data)
            except KeyboardInterrupt:  # the user's
                raise
            except BaseException as error:
                raise _device_error(device, "load_state", error) from error


def copy_windows(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Windows with copies of their device models, by `copy.deepcopy`.

    Raises:
        DeviceError: EIO; a model cannot be copied.
    """
    copies = []
    for window in windows:
        try:
            copies.append(replace(window, device=deepcopy(window.device)))
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as error:
            raise _device_error(window.device, "a copy", error) from error

    return tuple(copies)


def _device_error(device: object, what: str, error: BaseException) -> DeviceError:
    kind = type(device)

    return DeviceError(
        f"{what} of device model {kind.__module__}.{kind.__qualname__} failed: {say_error(error)}"
    )
