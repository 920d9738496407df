"""Logs sent to an endpoint: what is repeated, what is not, and what is told."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from memhub.shipping.failure import ShippingFailed
from memhub.shipping.follow import Found
from memhub.shipping.otlp_http import OtlpEndpoint, parse_delay
from memhub.shipping.retry import Retry, backoff_delay
from shipping.collector import OK, Collector, collector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shipping.collector import Answer


__all__ = ("collector",)


class Sender:
    """An endpoint whose waits pass at once."""

    def __init__(self, url: str, patience: float = 300, **options: Any) -> None:
        self.told: list[str] = []
        self.waited: list[float] = []
        retry = Retry(
            patience=patience,
            tell=self.told.append,
            wait=self.waited.append,
            clock=lambda: sum(self.waited),
            chance=lambda: 1.0,
        )
        self.endpoint = OtlpEndpoint(
            url, host="bench-7", retry=retry, tell=self.told.append, wall=lambda: 5, **options
        )

    def send(self, *seqs: int) -> None:
        common = {"event": "log.close", "wall_ns": 1}
        self.endpoint.send([Found(b"", {**common, "seq": seq}, "a-log") for seq in seqs])


@pytest.fixture
def sender(collector: Collector) -> Iterator[Sender]:
    sender = Sender(collector.url)
    yield sender
    sender.endpoint.close()


def test_batches_are_posted_as_json_over_one_connection(collector: Collector) -> None:
    sender = Sender(f"{collector.url}/in/logs?x=1", headers={"Authorization": "Bearer t"})
    sender.send(1, 2)
    sender.send(3)
    sender.endpoint.close()

    (path, headers, first), (_, _, second) = collector.asked
    assert (path, first, second) == ("/in/logs?x=1", [1, 2], [3])
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer t"
    assert sender.told == []


def test_the_path_is_that_of_logs_if_none_is_given(collector: Collector, sender: Sender) -> None:
    sender.send(1)

    assert collector.asked[0][0] == "/v1/logs"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_fails_for_now_is_sent_again(
    collector: Collector, sender: Sender, status: int
) -> None:
    message = json.dumps({"message": "busy\x1b[31m"}).encode()
    collector.answers = [(status, {}, message)] * 3
    sender.send(1, 2)

    assert [it[2] for it in collector.asked] == [[1, 2]] * 4
    assert sender.waited == [1.0, 2.0, 4.0]
    assert f"{status} " in sender.told[0]
    assert sender.endpoint.refused == 0


def test_the_endpoint_says_when(collector: Collector, sender: Sender) -> None:
    collector.answers = [(503, {"Retry-After": "17"}, b"")]
    sender.send(1)

    assert sender.waited == [17.0]


def test_a_connection_that_breaks_is_made_anew(collector: Collector, sender: Sender) -> None:
    collector.answers = [None]
    sender.send(1)
    assert [it[2] for it in collector.asked] == [[1], [1]]
    assert sender.waited == [1.0]

    # one that was idle and is closed by the other side costs no wait
    collector.answers = [OK, None]
    sender.send(2)
    sender.send(3)
    assert [it[2] for it in collector.asked[2:]] == [[2], [3], [3]]
    assert sender.waited == [1.0]


def test_it_gives_up_in_the_end_and_names_the_reason(collector: Collector) -> None:
    sender = Sender(collector.url, patience=60)
    collector.answers = [(503, {}, b"no json")] * 9
    with pytest.raises(ShippingFailed, match="503 Service Unavailable; given up after 6 attempts"):
        sender.send(1)

    assert sum(sender.waited) <= 60
    sender.endpoint.close()


@pytest.mark.parametrize("status", [301, 400, 401, 404, 500])
def test_what_is_refused_as_such_is_not_sent_again(
    collector: Collector, sender: Sender, status: int
) -> None:
    collector.answers = [(status, {"Location": "/elsewhere"}, b'{"message": "not you"}')]
    with pytest.raises(ShippingFailed, match=f"{status} .*: not you"):
        sender.send(1)

    assert len(collector.asked) == 1


def test_a_partial_success_is_told_and_not_sent_again(collector: Collector, sender: Sender) -> None:
    partial = {"rejectedLogRecords": "2", "errorMessage": "too old"}
    warning = {"errorMessage": "soon full"}
    collector.answers = [
        (200, {}, json.dumps({"partialSuccess": it}).encode()) for it in (partial, warning)
    ]
    sender.send(1, 2, 3)
    sender.send(4)

    assert len(collector.asked) == 2
    assert sender.endpoint.refused == 2
    assert "2 records were refused: too old" in sender.told[0]
    assert "soon full" in sender.told[1]


def test_a_batch_that_is_too_large_is_halved_and_a_record_left_out(
    collector: Collector, sender: Sender
) -> None:
    large: Answer = (413, {}, b"")
    collector.answers = [large, OK, large, large, OK]
    sender.send(1, 2, 3, 4)

    assert [it[2] for it in collector.asked] == [[1, 2, 3, 4], [1, 2], [3, 4], [3], [4]]
    assert sender.endpoint.refused == 1
    assert "record 3 is too large" in sender.told[0]


def test_an_answer_that_is_not_of_the_protocol_counts_as_taken(
    collector: Collector, sender: Sender
) -> None:
    for text in (b"", b"[]", b"\xff", b'{"partialSuccess": 3}', b'{"partialSuccess": {"x": 1}}'):
        collector.answers = [(200, {}, text)]
        sender.send(1)

    assert (sender.endpoint.refused, sender.told) == (0, [])


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "http://x:port/", "http://u:p@x/", "http://[::1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ShippingFailed, match="give it as http://HOST:4318/v1/logs"):
        Sender(url)


def test_delays_grow_are_scattered_and_bounded() -> None:
    assert [backoff_delay(it, None, 1.0) for it in (1, 2, 5, 6, 9999)] == [1, 2, 16, 32, 32]
    assert backoff_delay(3, None, 0.0) == 2.0
    assert backoff_delay(1, 90.0, 0.5) == 90.0
    assert backoff_delay(6, 1.0, 1.0) == 32.0


def test_a_retry_after_is_a_number_of_seconds_or_a_date() -> None:
    assert parse_delay("120", 0) == 120
    assert parse_delay("Thu, 01 Jan 1970 00:02:00 GMT", 20) == 100
    assert parse_delay("Thu, 01 Jan 1970 00:00:10 GMT", 20) == 0
    assert parse_delay("soon", 0) is None
    assert parse_delay(None, 0) is None


def test_a_certificate_is_checked_and_not_tried_again(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    collector.socket = context.wrap_socket(collector.socket, server_side=True)
    sender = Sender(collector.url.replace("http:", "https:"))
    with pytest.raises(ShippingFailed, match="unable to get local issuer certificate"):
        sender.send(1)

    assert (sender.waited, collector.asked) == ([], [])
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    sender.send(2)
    sender.endpoint.close()
    assert [seqs for *_, seqs in collector.asked] == [[2]]
