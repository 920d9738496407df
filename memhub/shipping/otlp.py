"""Records of an audit log as OpenTelemetry logs: OTLP in its JSON encoding.

The mapping is in `docs/shipping.md`. Pure functions: what is sent is a value.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.audit.fields import FIELDS
from memhub.audit.schema import SCHEMA_VERSION
from memhub.shipping.sentence import record_sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memhub.shipping.follow import Found

#: Members that the log record itself has a place for, or that say nothing outside of the file.
_NOT_ATTRIBUTES: Final = frozenset({"v", "event", "wall_ns"})

#: Addresses and registers: as hexadecimal text, since they may be beyond a signed 64-bit number.
HEXADECIMAL: Final = frozenset(
    {
        *("ioctl", "base", "physical", "line_bases"),
        *("before_base", "after_base", "before_msr", "after_msr"),
    }
)

#: Severity numbers of the log data model, and their names.
_INFO: Final = (9, "INFO")
_WARN: Final = (13, "WARN")

#: Records without an errno that are warnings nevertheless.
_WARNINGS: Final = frozenset({"log.recovered", "claim.break"})

_INT64: Final = range(-(1 << 63), 1 << 63)


def is_warning(record: Mapping[str, Any]) -> bool:
    """Whether a record is something that was refused, broken or repaired."""
    return record.get("errno") is not None or record["event"] in _WARNINGS


def encode_batch(batch: Sequence[Found], host: str, observed_ns: int) -> bytes:
    """Records as one ExportLogsServiceRequest, which is one line of an OTLP JSON file too.

    Args:
        batch: the records, in order.
        host: name of the host that they are from.
        observed_ns: wall clock now, nanoseconds.

    Returns:
        JSON without a newline.
    """
    groups = groupby(batch, key=lambda it: it.log_id)

    return orjson.dumps(
        {
            "resourceLogs": [
                _resource_logs(log_id, [it.record for it in found], host, observed_ns)
                for log_id, found in groups
            ]
        }
    )


def _resource_logs(
    log_id: str, records: Iterable[Mapping[str, Any]], host: str, observed_ns: int
) -> dict[str, Any]:
    resource = {"service.name": "memhub", "host.name": host, "memhub.log_id": log_id}

    return {
        "resource": {"attributes": [_attribute(*it) for it in resource.items()]},
        "scopeLogs": [
            {
                "scope": {"name": "memhub.audit", "version": str(SCHEMA_VERSION)},
                "logRecords": [log_record(it, observed_ns) for it in records],
            }
        ],
    }


def log_record(record: Mapping[str, Any], observed_ns: int) -> dict[str, Any]:
    """One record as a LogRecord in OTLP's JSON encoding.

    Args:
        record: as `read_records` gives it, with the members of their types.
        observed_ns: wall clock now, nanoseconds.
    """
    number, name = _WARN if is_warning(record) else _INFO

    return {
        "timeUnixNano": str(record["wall_ns"]),
        "observedTimeUnixNano": str(observed_ns),
        "severityNumber": number,
        "severityText": name,
        "eventName": f"memhub.{record['event']}",
        "body": {"stringValue": record_sentence(record)},
        "attributes": [
            _attribute(f"memhub.{name}", as_hexadecimal(name, value))
            for name, value in record.items()
            if name not in _NOT_ATTRIBUTES and value is not None
        ],
    }


def as_hexadecimal(name: str, value: object) -> object:
    """The value of a member, with addresses and registers as hexadecimal text."""
    if name not in HEXADECIMAL:
        return value

    if isinstance(value, list):
        return [_hexadecimal(it) for it in value]

    return _hexadecimal(value)


def _hexadecimal(value: object) -> object:
    return f"{value:#x}" if type(value) is int else value


def _attribute(key: str, value: object) -> dict[str, Any]:
    return {"key": key, "value": _any_value(value)}


def _any_value(value: object) -> dict[str, Any]:
    """A value as an AnyValue. 64-bit numbers are text in protobuf's JSON."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue" if value in _INT64 else "stringValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case list() | tuple():
            return {"arrayValue": {"values": [_any_value(it) for it in value]}}
        case dict():
            pairs = [_attribute(name, it) for name, it in value.items()]
            return {"kvlistValue": {"values": pairs}}

    return {}


def mapping_table() -> str:
    """The table of attributes in `docs/shipping.md`."""
    rows = ["| field | attribute | value |", "| --- | --- | --- |"]
    for name, field in FIELDS.items():
        if name not in _NOT_ATTRIBUTES:
            rows.append(f"| `{name}` | `memhub.{name}` | {_kind(name, field.type)} |")

    return "\n".join(rows) + "\n"


def _kind(name: str, kind: str) -> str:
    inner = kind.strip("[]")
    text = {"str": "string", "bool": "bool"}.get(inner, "int")
    if name in HEXADECIMAL:
        text = "string, hexadecimal"

    return f"array of {text}" if kind.startswith("[") else text
