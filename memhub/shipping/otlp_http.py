"""Sends batches of OpenTelemetry logs to an endpoint: OTLP over HTTP, in its JSON encoding."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from memhub.shipping.failure import ShippingFailed
from memhub.shipping.otlp import encode_batch
from memhub.shipping.retry import TryAgain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memhub.shipping.follow import Found
    from memhub.shipping.retry import Retry

#: Answers after which the same request is sent again.
_FOR_NOW: Final = frozenset({429, 502, 503, 504})

_TOO_LARGE: Final = 413

#: Where logs are sent to if the address has no path.
_PATH: Final = "/v1/logs"

#: Bytes of an answer that are read.
_MOST: Final = 1 << 20


class OtlpEndpoint:
    """An endpoint that takes logs.

    Args:
        url: `http://host:4318/v1/logs` or `https://…`; without a path it is `/v1/logs`.
        host: name of the host that the records are from.
        retry: repeats what failed for now.
        tell: takes what is to be reported, one line each.
        headers: further headers of each request.
        limit: how long one request may take, seconds.
        wall: wall clock, nanoseconds.

    Attributes:
        refused: records that the endpoint did not take, and will not.

    Raises:
        ShippingFailed: the address is not one of HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        host: str,
        retry: Retry,
        tell: Callable[[str], None],
        headers: Mapping[str, str] | None = None,
        limit: float = 10.0,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.refused = 0
        self._url = url
        self._host = host
        self._retry = retry
        self._tell = tell
        self._wall = wall
        self._limit = limit
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._secure, self._place, self._path = _split_url(url)
        self._link: http.client.HTTPConnection | None = None

    def send(self, batch: Sequence[Found]) -> None:
        """Send a batch; when it returns, the endpoint has taken or refused each record.

        Raises:
            ShippingFailed: the endpoint cannot be reached, or refuses the request as such.
        """
        status, body = self._retry.run(lambda: self._attempt(batch))
        if status == _TOO_LARGE:
            self._send_smaller(batch)
        elif not 200 <= status < 300:
            raise ShippingFailed(f"{self._url}: {_describe(status, body)}")
        else:
            self._count_refused(body)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _send_smaller(self, batch: Sequence[Found]) -> None:
        if len(batch) > 1:
            half = len(batch) // 2
            self.send(batch[:half])
            self.send(batch[half:])
            return

        self.refused += 1
        self._tell(f"{self._url}: record {batch[0].record['seq']} is too large for the endpoint")

    def _attempt(self, batch: Sequence[Found]) -> tuple[int, bytes]:
        """One request: the status and the body of its answer."""
        data = encode_batch(batch, self._host, self._wall())
        fresh = self._link is None
        try:
            answer, body = self._post(data)
        except ssl.SSLCertVerificationError as error:
            raise ShippingFailed(f"{self._url}: {error.verify_message}") from error
        except (OSError, http.client.HTTPException) as error:
            if not fresh:
                # the endpoint may have closed a connection that was idle
                return self._attempt(batch)

            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise TryAgain(f"{self._url}: {why}") from error

        if answer.status in _FOR_NOW:
            after = parse_delay(answer.headers.get("Retry-After"), time.time())
            raise TryAgain(f"{self._url}: {_describe(answer.status, body)}", after)

        return answer.status, body

    def _post(self, data: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        link = self._link = self._link or self._connect()
        try:
            link.request("POST", self._path, data, self._headers)
            answer = link.getresponse()
            body = answer.read(_MOST)
        except BaseException:
            # also at a signal: the answer that is due must not be taken for the next one's
            self.close()
            raise

        if not answer.isclosed() or answer.will_close:
            self.close()

        return answer, body

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection

        return kind(self._place, timeout=self._limit)

    def _count_refused(self, body: bytes) -> None:
        """Report a partial success: what was refused is not to be sent again."""
        partial = _parse_answer(body).get("partialSuccess")
        if not isinstance(partial, dict):
            return

        try:
            count = int(partial.get("rejectedLogRecords") or 0)
        except (TypeError, ValueError):
            count = 0

        said = str(partial.get("errorMessage") or "")
        if count:
            self.refused += count
            self._tell(f"{self._url}: {count} records were refused: {said or 'no reason given'}")
        elif said:
            self._tell(f"{self._url}: {said}")


def parse_delay(text: str | None, now: float) -> float | None:
    """How long a Retry-After header asks to wait, seconds; None if it says nothing.

    Args:
        text: the header: a number of seconds, or a date.
        now: wall clock, seconds.
    """
    if text is None:
        return None

    if text.strip().isdecimal():
        return float(text)

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _split_url(url: str) -> tuple[bool, str, str]:
    rule = "give it as http://HOST:4318/v1/logs"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ShippingFailed(f"{url!r} is not an address: {error}; {rule}", 2) from error

    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ShippingFailed(f"{url!r} is not an address of an endpoint: {rule}", 2)

    # http.client takes a port and brackets in the name of the host
    place = parts.netloc if port is not None else f"{parts.netloc}:{_PORTS[parts.scheme]}"
    path = _PATH if parts.path in ("", "/") else parts.path

    return parts.scheme == "https", place, f"{path}?{parts.query}" if parts.query else path


_PORTS: Final = {"http": 80, "https": 443}


def _describe(status: int, body: bytes) -> str:
    reason = http.client.responses.get(status, "an unknown status")
    said = _parse_answer(body).get("message")

    return f"{status} {reason}" + (f": {str(said)[:200]}" if said else "")


def _parse_answer(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}

    return found if isinstance(found, dict) else {}
