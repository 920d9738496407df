"""An endpoint for OpenTelemetry logs on this computer, which answers as it is told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    Answer = tuple[int, dict[str, str], bytes]

OK: Answer = (200, {}, b"{}")


class Collector(ThreadingHTTPServer):
    """Takes logs on this computer, and answers as it is told; afterwards with success."""

    def __init__(self) -> None:
        self.answers: list[Answer | None] = []
        self.asked: list[tuple[str, dict[str, str], list[int]]] = []
        self._more = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def note(self, path: str, headers: dict[str, str], seqs: list[int]) -> None:
        """Keep what was asked."""
        with self._more:
            self.asked.append((path, headers, seqs))
            self._more.notify_all()

    def wait_for(self, count: int) -> list[int]:
        """The numbers of the records that came, once there are so many."""
        with self._more:
            found: list[int] = []

            def enough() -> bool:
                found[:] = [seq for *_, seqs in self.asked for seq in seqs]
                return len(found) >= count

            assert self._more.wait_for(enough, timeout=60)

            return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.note(self.path, dict(self.headers), list(seqs_of(body)))
        answer = self.server.answers.pop(0) if self.server.answers else OK
        if answer is None:
            self.close_connection = True
            return

        status, headers, text = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)

        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


def seqs_of(request: dict[str, Any]) -> Iterator[int]:
    for resource in request["resourceLogs"]:
        for record in resource["scopeLogs"][0]["logRecords"]:
            fields = {it["key"]: it["value"] for it in record["attributes"]}
            yield int(fields["memhub.seq"]["intValue"])


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
