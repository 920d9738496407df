"""Debian's Chromium without a window, driven over a pipe; needs no library."""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import subprocess
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium")
LIMIT = 60.0


class BrowserFailed(AssertionError):
    """Raised where the browser answers with an error or not in time."""


class Browser:
    """One tab.

    Attributes:
        said: what the page wrote to the console, and exceptions that nobody caught.
        asked: what it asked the network for.
    """

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._numbers = itertools.count(1)
        self._left = b""
        self._session: str | None = None
        self.said: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and wait for its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session

        os.write(self._writes, json.dumps(message).encode() + b"\0")
        end = monotonic() + LIMIT
        while True:
            answer = self._next(end)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserFailed(f"{method}: {answer['error']}")

                found: dict[str, Any] = answer["result"]
                return found

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            if not select.select([self._reads], [], [], max(0.0, end - monotonic()))[0]:
                raise BrowserFailed(f"no answer in {LIMIT} seconds")

            block = os.read(self._reads, 1 << 20)
            if not block:
                raise BrowserFailed("the browser has ended")

            self._left += block

        line, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))

        return message

    def _note(self, method: str | None, params: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(it.get("value")) for it in params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.said.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise BrowserFailed(f"{script}: {answer['exceptionDetails']}")

        return answer["result"].get("value")

    def open(self, path: Path, width: int = 1280, height: int = 900) -> None:
        """Open a report and wait until its pictures are drawn."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self.call("Page.navigate", url=path.as_uri())
        self.run(
            """new Promise((done, fail) => {
                const look = () => {
                    const failed = document.getElementById("failed");
                    if (document.body?.dataset.ready) done(true);
                    else if (failed && !failed.hidden) fail(new Error(failed.textContent));
                    else requestAnimationFrame(look);
                };
                look();
            })"""
        )

    def press(self, key: str) -> None:
        """Press a key as a person would."""
        codes = {"Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37,
                 "ArrowRight": 39, "Tab": 9}  # fmt: skip
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=codes[key], **more,
            )  # fmt: skip

    def click(self, x: float, y: float) -> None:
        """Click with the left button."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser, ended at the end."""
    assert CHROMIUM is not None
    reads, their_writes = os.pipe()
    their_reads, writes = os.pipe()
    command = (
        f"exec {CHROMIUM} --headless --no-sandbox --disable-gpu --remote-debugging-pipe "
        f"--user-data-dir={profile} about:blank 3<&{their_reads} 4>&{their_writes}"
    )
    with subprocess.Popen(
        ["bash", "-c", command],
        pass_fds=(their_reads, their_writes),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(their_reads)
        os.close(their_writes)
        try:
            yield Browser(reads, writes)
        finally:
            process.kill()
            os.close(reads)
            os.close(writes)
