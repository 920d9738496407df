"""The text of a report, made in short steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def report_text(
    wall_ns: int,
    views: Iterable[dict[str, Any]],
    service: dict[str, Any] | None,
    encode: Callable[[Any], bytes],
) -> Iterator[bytes]:
    """The JSON text of a report, one row of a list in each step.

    Args:
        wall_ns: the moment, nanoseconds since 1970.
        views: the machines (`memhub.report.view_machine`), with the parts that are wanted.
        service: what is said of the service, or None.
        encode: makes the text of an object.
    """
    yield b'{"wall":' + orjson.dumps(wall_ns / 1e9) + b',"machines":['
    for place, view in enumerate(views):
        yield b",{" if place else b"{"
        yield from _machine_text(view, encode)
        yield b"}"

    yield b"]}" if service is None else b'],"service":' + encode(service) + b"}"


def _machine_text(view: dict[str, Any], encode: Callable[[Any], bytes]) -> Iterator[bytes]:
    comma = b""
    for key, part in view.items():
        if isinstance(part, map):
            yield comma + orjson.dumps(key) + b":["
            for place, row in enumerate(part):
                yield (b"," if place else b"") + encode(row)

            yield b"]"
        else:
            yield comma + encode({key: part})[1:-1]

        comma = b","
