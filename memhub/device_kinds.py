"""Find the kinds of devices that are installed, and make the devices that a machine declares."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from memhub.abi import U64_MAX
from memhub.arguments import plain_bytes, take_integer
from memhub.core.memory.placed import DeviceRefused, PlacedDevice
from memhub.core.memory.placing import place_regions
from memhub.core.spec import DeviceSpec
from memhub.core.spec_rules import check_between, machine_name, seconds, suggest, text, type_name
from memhub.device_thread import DeviceThread
from memhub.escape import say_error
from memhub.hook_values import refuse_value
from memhub.hooks import HookKind, PluginFailure, keep_single, load_hook
from memhub.plugin import devices
from memhub.plugin.devices import DeviceKind, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.spec import MachineSpec

#: Kinds of devices: a module with the hook `memhub_devices`.
DEVICE_HOOK: Final = HookKind("devices", devices.GROUP, devices, "memhub_devices", DeviceKind)

#: The longest limit of an answer, in seconds: a day.
LIMIT_MOST: Final = 86400.0


@dataclass(frozen=True, slots=True)
class DeviceBook:
    """The kinds of devices by name, and the plugins that failed.

    Attributes:
        kinds: by name.
        failures: what could not be loaded.
    """

    kinds: Mapping[str, DeviceKind]
    failures: tuple[PluginFailure, ...] = ()

    def find(self, name: str) -> DeviceKind:
        """The kind of a name.

        Raises:
            ValueError: it is not installed; names the plugins that failed.
        """
        found = self.kinds.get(name)
        if found is None:
            known = ", ".join(self.kinds) or "none"
            reason = f"{name!r} is not installed (installed: {known}){suggest(name, self.kinds)}"
            raise ValueError("; ".join([reason, *map(str, self.failures)]))

        return found


def load_device_kinds(
    *, plugins: Iterable[tuple[str, object]] = (), installed: bool = True
) -> DeviceBook:
    """The kinds of devices that are installed.

    Args:
        plugins: more plugins, as `(name, module or object)`, for tests and embedders.
        installed: also load the entry points of the group `memhub.devices`.

    Returns:
        the kinds; of two plugins that name one kind neither is used, since their order would be an
        accident.
    """
    loaded = load_hook(DEVICE_HOOK, plugins=plugins, installed=installed)

    kept = keep_single((loaded,), "kind of device", refuse=lambda it: refuse_value(it, "make"))
    sources = kept.sources()
    kinds = {
        name: replace(kind, source=sources[name]) for name, kind in sorted(kept.values.items())
    }

    return DeviceBook(kinds, kept.failures)


def place_devices(
    spec: MachineSpec, book: DeviceBook | None = None
) -> tuple[MachineSpec, tuple[PlacedDevice, ...]]:
    """Make the devices that a machine declares.

    Args:
        spec: the machine, whose memory map is settled.
        book: the kinds of devices; None loads those that are installed.

    Returns:
        the machine with the devices' memory in its map and all that was not said of them, and the
        devices.

    Raises:
        DeviceRefused: a device contradicts itself or the machine; it is named.
    """
    if not spec.devices:
        for region in spec.memory:
            if region.kind == "device":
                place = f"{region.base:#x}/{region.length:#x}"
                reason = f"memory has a region of a device at {place}, and no device is declared"
                raise DeviceRefused("", "", reason)

        return spec, ()

    if not isinstance(spec.devices, tuple | list):
        raise DeviceRefused("", "", f"devices is {type_name(spec.devices)}, not a tuple")

    book = load_device_kinds() if book is None else book
    folded: dict[str, str] = {}
    placed: list[PlacedDevice] = []
    for number, it in enumerate(spec.devices):
        if not isinstance(it, DeviceSpec):
            raise DeviceRefused(f"[{number}]", "", f"is {type_name(it)}, not a DeviceSpec")

        name = _checked_name(it, folded, {other.name for other in placed})
        placed.append(_make_device(replace(it, name=name), book))

    memory = place_regions(spec.memory, placed, spec.cpu.phys_bits)
    declared = tuple(
        DeviceSpec(name=it.name, kind=it.kind, base=it.base, options=it.options, limit=it.limit)
        for it in placed
    )

    return replace(spec, memory=memory, devices=declared), tuple(placed)


def remake_device(row: Mapping[str, Any], book: DeviceBook | None = None) -> PlacedDevice:
    """A device of memory, of what a service says of it, to draw its bytes.

    Args:
        row: from `list_devices` of a client.
        book: the kinds of devices; None loads those that are installed.

    Raises:
        DeviceRefused: its kind is not installed here, or makes another device of the same options.
    """
    spec = DeviceSpec(
        name=str(row["name"]), kind=row["kind"], base=row["base"], options=row["options"]
    )
    found = _make_device(spec, load_device_kinds() if book is None else book)
    if (found.is_memory, found.length) != (row["shows"], row["length"]):
        reason = (
            f"{found.kind} of {found.source} has {found.length:#x} bytes here, and "
            f"{row['length']:#x} there, of {row['source']}"
        )
        raise DeviceRefused(found.name, "kind", reason)

    return found


def _checked_name(it: DeviceSpec, folded: dict[str, str], taken: set[str]) -> str:
    try:
        name = machine_name(it.name, folded)
    except ValueError as error:
        reason = str(error).replace("machine's", "device's").replace("machine ", "device ")
        raise DeviceRefused(str(it.name) or "''", "", reason) from None

    if name in taken:
        raise DeviceRefused(name, "", "two devices have this name")

    return name


def _make_device(it: DeviceSpec, book: DeviceBook) -> PlacedDevice:
    try:
        kind = book.find(text(it.kind))
    except ValueError as error:
        raise DeviceRefused(it.name, "kind", str(error)) from None

    base = _checked_base(it, kind)
    try:
        limit = seconds(it.limit)
        if not 0 < limit <= LIMIT_MOST:
            raise ValueError(f"{it.limit} is not above 0 and at most {LIMIT_MOST:.0f} seconds")
    except ValueError as error:
        raise DeviceRefused(it.name, "limit", str(error)) from None

    options = _checked_options(it, kind)
    model = _make_model(it, kind, options)
    length, content, thread = _checked_model(it, kind, model)

    return PlacedDevice(
        it.name, kind.name, kind.source, base, length, options, limit, content, model, thread
    )


def _checked_base(it: DeviceSpec, kind: DeviceKind) -> int:
    if it.base is None and kind.base is None:
        raise DeviceRefused(it.name, "base", f"is missing: {kind.name} has no usual address")

    try:
        return check_between(
            take_integer("it", kind.base if it.base is None else it.base), 0, U64_MAX
        )
    except TypeError:
        raise DeviceRefused(it.name, "base", f"is {type_name(it.base)}, not an integer") from None
    except ValueError as error:
        raise DeviceRefused(it.name, "base", str(error)) from None


def _checked_options(it: DeviceSpec, kind: DeviceKind) -> dict[str, Any]:
    if not isinstance(it.options, Mapping):
        raise DeviceRefused(it.name, "options", f"is {type_name(it.options)}, not a mapping")

    options = dict(kind.options)
    for key, value in it.options.items():
        where = f"options.{key}"
        if key not in options:
            known = ", ".join(kind.options) or "none"
            hint = suggest(str(key), kind.options)
            reason = f"is no option of {kind.name} (options: {known}){hint}"
            raise DeviceRefused(it.name, where, reason)

        usual = options[key]
        if usual is not None and type(value) is not type(usual):
            reason = f"is {type_name(value)}, where {type_name(usual)} is due, as {usual!r}"
            raise DeviceRefused(it.name, where, reason)

        options[key] = value

    return options


def _make_model(it: DeviceSpec, kind: DeviceKind, options: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a stranger's
    try:
        return kind.make(dict(options))
    except OptionError as error:
        raise DeviceRefused(it.name, f"options.{error.key}", error.reason) from None
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as error:
        reason = f"{kind.name} of {kind.source} failed: {say_error(error)}"
        raise DeviceRefused(it.name, "", reason) from error


def _checked_model(
    it: DeviceSpec,
    kind: DeviceKind,
    model: Any,  # noqa: ANN401 - a stranger's
) -> tuple[int, bytes | None, DeviceThread | None]:
    """Length of a model; its content if it is memory; its thread if it blocks."""
    try:
        length, content, thread = model.length, None, None
        shows = callable(getattr(model, "show", None))
        if not shows:
            for op in ("read", "write"):
                if not callable(given := getattr(model, op)):
                    raise TypeError(f"its {op} {given!r:.80} is not a function")

            awaited = {inspect.iscoroutinefunction(getattr(model, op)) for op in ("read", "write")}
            if len(awaited) > 1:
                raise TypeError("of its read and write, one is an async function and one is not")

            thread = None if awaited == {True} else DeviceThread()

        if type(length) is not int or length <= 0:
            raise TypeError(f"its length {length!r} is not a number of bytes above 0")

        if shows:
            if not isinstance(model.content, bytes):
                raise TypeError(f"its content {model.content!r:.80} is not bytes")

            content = plain_bytes(model.content)
            if len(content) > length:
                raise TypeError(f"its content has {len(content)} bytes, and it holds {length}")
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as error:
        who = f"{kind.name} of {kind.source}"
        reason = f"{who} has made no device: {say_error(error)}"
        raise DeviceRefused(it.name, "", reason) from error

    return length, content, thread
