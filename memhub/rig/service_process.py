"""A service of a rig: `memhub serve` as a process of its own, on a private socket."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self, final

from memhub.audit.reading.reader import read_records
from memhub.config import to_toml
from memhub.core.caches.hazards import Hazard
from memhub.engine.pending import UNANSWERED
from memhub.errors import NeverAnswered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.spec import MachineSpec

#: Seconds that a service may take to start, and to stop.
_LIMIT: Final = 30.0


class ServiceFailed(RuntimeError):
    """Raised when a rig's service does not start or stop; says what it wrote on standard error."""


@final
class ServiceStarter:
    """A process that forks services, which takes a tenth of starting an interpreter for each.

    Use it in `with`, once for many services; it kills those that still run.
    """

    def __init__(self) -> None:
        self._line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, on itself
                [sys.executable, "-m", "memhub.cli.service_starter", str(other.fileno())],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the tests
            )

        self._receive()

    def start_service(self, arguments: list[str], folder: Path, out: int, err: int) -> int:
        """Run `memhub` with some arguments; its process id.

        Args:
            arguments: as on the command line.
            folder: removed when the starter ends, if it is still there.
            out: a file descriptor for its standard output.
            err: one for its standard error.
        """
        message = json.dumps({"start": arguments, "folder": str(folder)}).encode()
        socket.send_fds(self._line, [message], [out, err])

        return int(self._receive())

    def wait_for(self, pid: int) -> int:
        """Wait until a service has ended; its exit code, or the negative number of a signal."""
        self._line.send(json.dumps({"wait": pid}).encode())

        return int(self._receive())

    def _receive(self) -> Any:  # noqa: ANN401 - JSON
        self._line.settimeout(_LIMIT)
        data = self._line.recv(1 << 16)
        if not data:
            raise ServiceFailed("the process that starts services has ended")

        return json.loads(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()
        self._process.wait()


@final
class ServiceProcess:
    """A service that serves some machines until it is stopped; use it in `with`.

    Args:
        starter: what starts it.
        specs: the machines; the first is the default one.
        arguments: further ones of `memhub serve`.

    Attributes:
        pid: its process id.
        socket_path: its socket.
        address: of the socket, for `memhub.connect` and `MEMHUB_SOCKET`.
        log_path: its audit log.
        exit_code: how it ended; None while it runs.

    Raises:
        ServiceFailed: it did not start.
    """

    def __init__(
        self,
        starter: ServiceStarter,
        specs: Iterable[MachineSpec],
        arguments: Iterable[str] = (),
        *,
        answer_limit: float | None = None,
    ) -> None:
        self._starter = starter
        self._answer_limit = answer_limit
        self._folder = Path(tempfile.mkdtemp(prefix="memhub-rig-"))  # a short path, of mode 0700
        self.socket_path = self._folder / "socket"
        self.address = f"unix:{self.socket_path}"
        self.log_path = self._folder / "audit.jsonl"
        self.exit_code: int | None = None
        try:
            self._start(list(specs), arguments)
        except BaseException:
            shutil.rmtree(self._folder)
            raise

    def _start(self, specs: list[MachineSpec], arguments: Iterable[str]) -> None:
        config = self._folder / "machines.toml"
        self._default = specs[0].name
        default = json.dumps(self._default)
        tables = "\n".join(to_toml(spec) for spec in specs)
        if self._answer_limit is not None:
            tables += f"\n[service.limits]\nunanswered_timeout = {self._answer_limit!r}\n"

        config.write_text(f"default = {default}\n{tables}", encoding="utf-8")
        words = ["serve", str(config), "--socket", str(self.socket_path)]
        words += ["--log", str(self.log_path), *arguments]
        self._out, out = os.pipe()
        try:
            with (self._folder / "stderr").open("wb") as err:
                self.pid = self._starter.start_service(words, self._folder, out, err.fileno())
        finally:
            os.close(out)

        try:
            self._await_output("start", b"ready on")
        except BaseException:
            os.close(self._out)
            raise

    def _await_output(self, what: str, awaited: bytes | None) -> None:
        """Read its output until it says something, or has ended."""
        said, end = b"", monotonic() + _LIMIT
        while True:
            ready, _, _ = select.select([self._out], [], [], max(0, end - monotonic()))
            data = os.read(self._out, 4096) if ready else b""
            said += data
            if awaited is not None and awaited in said and said.endswith(b"\n"):
                return

            if ready and not data and awaited is None:
                return

            if not data:
                raise ServiceFailed(f"the service did not {what}: {self.errors or 'it is silent'}")

    @property
    def errors(self) -> str:
        """What it wrote on standard error."""
        return (self._folder / "stderr").read_text(errors="replace").strip()

    def require_answers(self) -> None:
        """Fail where a fault rule left a request without an answer for too long.

        Who asked may have taken ETIMEDOUT for an answer of the machine.

        Raises:
            NeverAnswered: with what the service said of it.
        """
        said = self.errors
        if UNANSWERED in " ".join(said.split()):
            raise NeverAnswered(said)

    def read_log(self) -> list[dict[str, Any]]:
        """The records of its audit log so far."""
        return list(read_records(self.log_path))

    def read_hazards(self, machine: str | None = None) -> list[Hazard]:
        """The hazards of a machine, the first met first; see `Hub.hazards`.

        Args:
            machine: its name; None is the default one.

        Raises:
            NoSuchDevice: ENOENT; there is no such machine.
            ServiceGone: the service has ended.
        """
        from memhub.service.blocking import BlockingClient

        name = self._default if machine is None else machine
        with BlockingClient(self.address, label="the rig") as client:
            (row,) = client.report("hazards", name)["machines"]

        return [Hazard(*(it[field] for field in Hazard._fields)) for it in row.get("hazards", ())]

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send it a signal that ends it, and wait for the end.

        Returns:
            its exit code, or the negative number of the signal.
        """
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

            self._await_output("stop", None)
            self.exit_code = self._starter.wait_for(self.pid)

        return self.exit_code

    def stop(self) -> int:
        """Let it end in order, and wait for the end; its exit code."""
        return self.kill(signal.SIGTERM)

    def remove_files(self) -> None:
        """Remove its log and its socket; it has to be stopped."""
        os.close(self._out)
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self.remove_files()
