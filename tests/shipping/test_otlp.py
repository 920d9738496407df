"""Records as OpenTelemetry logs: the mapping, and that its JSON is OTLP's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memhub.audit import read_records
from memhub.audit.fields import FIELDS
from memhub.cli.demo.run import run_demo
from memhub.shipping.follow import Follower, Found
from memhub.shipping.otlp import HEXADECIMAL, encode_batch, log_record, mapping_table

ROOT = Path(__file__).parents[2]
RECORD = {
    "v": 1,
    "seq": 7,
    "prev": "0" * 64,
    "event": "request.set",
    "wall_ns": 1_767_225_600_123_456_789,
    "mono_ns": 5,
    "machine": "pc",
    "process": None,
    "op": "update",
    "base": 0xFFFF_FFFF_8000_0000,
    "length": 1 << 24,
    "attributes": ["write-combine"],
    "after_base": [0, 1 << 63],
    "undo": True,
    "errno": "EBUSY",
    "reason": "claimed\nby é",
    "hash": "a" * 64,
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "a.jsonl"
    run_demo(3, path)

    return path


def attributes(record: dict[str, Any]) -> dict[str, Any]:
    return {it["key"]: it["value"] for it in log_record(record, 1)["attributes"]}


def test_a_refused_request_is_a_warning_with_its_time_event_and_sentence() -> None:
    found = log_record(RECORD, 99)

    assert found["timeUnixNano"] == "1767225600123456789"
    assert found["observedTimeUnixNano"] == "99"
    assert (found["severityNumber"], found["severityText"]) == (13, "WARN")
    assert found["eventName"] == "memhub.request.set"
    assert found["body"]["stringValue"] == (
        "request.set update pc 0xffffffff80000000+16M write-combine EBUSY: claimed by é"
    )


def test_what_was_granted_is_information_and_a_repair_or_break_a_warning() -> None:
    granted = {**RECORD, "errno": None}
    assert log_record(granted, 1)["severityNumber"] == 9
    for event in ("log.recovered", "claim.break"):
        assert log_record({**granted, "event": event}, 1)["severityNumber"] == 13


def test_fields_are_attributes_and_null_is_none() -> None:
    found = attributes(RECORD)

    assert found["memhub.seq"] == {"intValue": "7"}
    assert found["memhub.hash"] == {"stringValue": "a" * 64}
    assert found["memhub.base"] == {"stringValue": "0xffffffff80000000"}
    assert found["memhub.length"] == {"intValue": "16777216"}
    assert found["memhub.undo"] == {"boolValue": True}
    assert found["memhub.reason"] == {"stringValue": "claimed\nby é"}
    assert found["memhub.after_base"]["arrayValue"]["values"] == [
        {"stringValue": "0x0"},
        {"stringValue": "0x8000000000000000"},
    ]
    assert {"memhub.v", "memhub.event", "memhub.wall_ns", "memhub.process"} & {*found} == set()


def test_numbers_beyond_a_signed_64_bit_one_and_unknown_members_keep_their_value() -> None:
    found = attributes(
        {**RECORD, "length": (1 << 64) - 1, "new": {"a": [1, 2.5, None]}, "moved": 1 << 53}
    )

    assert found["memhub.length"] == {"stringValue": "18446744073709551615"}
    assert found["memhub.moved"] == {"intValue": "9007199254740992"}
    values = [{"intValue": "1"}, {"doubleValue": 2.5}, {}]
    pair = {"key": "a", "value": {"arrayValue": {"values": values}}}
    assert found["memhub.new"] == {"kvlistValue": {"values": [pair]}}


def test_records_of_two_logs_have_two_resources() -> None:
    batch = [Found(b"", RECORD, "one"), Found(b"", RECORD, "two"), Found(b"", RECORD, "two")]
    found = json.loads(encode_batch(batch, "bench-7", 1))["resourceLogs"]

    assert [len(it["scopeLogs"][0]["logRecords"]) for it in found] == [1, 2]
    resources = [
        {it["key"]: it["value"]["stringValue"] for it in part["resource"]["attributes"]}
        for part in found
    ]
    assert resources == [
        {"service.name": "memhub", "host.name": "bench-7", "memhub.log_id": name}
        for name in ("one", "two")
    ]


def test_other_software_reads_every_record_of_a_demo_as_it_is(demo: Path) -> None:
    """protobuf's own JSON parser, with the definitions that OpenTelemetry publishes."""
    service = pytest.importorskip("opentelemetry.proto.collector.logs.v1.logs_service_pb2")
    json_format = pytest.importorskip("google.protobuf.json_format")
    batch = list(Follower(demo).take())
    request = json_format.Parse(
        encode_batch(batch, "bench-7", 5), service.ExportLogsServiceRequest()
    )
    data = pytest.importorskip("opentelemetry.proto.logs.v1.logs_pb2").LogsData()
    assert json_format.Parse(encode_batch(batch, "bench-7", 5), data).resource_logs
    (resource,) = request.resource_logs
    (scope,) = resource.scope_logs
    records = list(read_records(demo))

    assert len(scope.log_records) == len(records) > 100
    for found, record in zip(scope.log_records, records, strict=True):
        assert found.time_unix_nano == record["wall_ns"]
        assert found.event_name == f"memhub.{record['event']}"
        assert {it.key: plain(it.value, it.key) for it in found.attributes} == {
            f"memhub.{name}": value
            for name, value in record.items()
            if name not in ("v", "event", "wall_ns") and value is not None
        }


def plain(value: Any, key: str) -> Any:
    """An AnyValue as Python's; an address as the number that it was."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(it, key) for it in value.array_value.values]

    found = getattr(value, kind)

    return int(found, 16) if key.removeprefix("memhub.") in HEXADECIMAL else found


def test_what_is_no_amount_and_no_number_of_a_claim_is_hexadecimal() -> None:
    wide = {name for name, field in FIELDS.items() if field.type.strip("[]") == "u64"}
    lengths = {"length", "before_length", "after_length", "line_lengths", "cut_length"}

    assert wide - lengths - {"moved", "cut_offset", "claim", "fence"} == HEXADECIMAL


def test_the_page_has_the_mapping_of_every_field() -> None:
    page = (ROOT / "docs" / "shipping.md").read_text()

    assert mapping_table() in page
    assert all(f"`{name}`" in page for name in FIELDS)
