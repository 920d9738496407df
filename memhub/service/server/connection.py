"""One client: the handshake, the turns, and the end, however it comes."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio

from memhub.abi import Errno
from memhub.audit.rows.columns import process_columns
from memhub.core.service_events import ClientConnected, ClientGone, ClientRefused
from memhub.errors import AccessDenied, DeviceError, LogFailed, NotSupported
from memhub.escape import escape_controls
from memhub.service import wire
from memhub.service.server.handlers import HANDLERS, LEAVING
from memhub.service.server.later import Later
from memhub.service.server.rights import unknown_process
from memhub.service.server.session import Session
from memhub.service.wire.protocol import CLOSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import TaskGroup

    from memhub.process import Process
    from memhub.service.link import Link
    from memhub.service.server.gate import Gate
    from memhub.service.server.rights import Peer

_FAREWELL: Final = 1.0  # seconds in which a client may read the last words
_LABEL_MAX: Final = 64
_LOOKS: Final = (wire.IoctlDone, wire.Data, wire.Error)

log: Final = logging.getLogger("memhub.service")


class Connection:
    """One client of the service.

    Args:
        gate: what it is held to.
        link: the stream.
        peer: who it is, before it has shown a token.
        tasks: the connection's own task group; cancelling it ends the connection.

    Attributes:
        turns: rises with every receive.
        answered: requests answered at once.
    """

    def __init__(self, gate: Gate, link: Link, peer: Peer, tasks: TaskGroup) -> None:
        self.gate = gate
        self.link = link
        self.peer = peer
        self.turns = 0
        self.answered = 0
        self._tasks = tasks
        self._protocol = wire.ServerProtocol(gate.limits())
        self._session: Session | None = None
        self._process: Process | None = None
        self._began = gate.hub.engine.now().mono_ns
        self._high = gate.settings.limits.queued_bytes // 2
        self._end: tuple[str, str | None] = ("disconnect", None)
        self._leaving = False
        self._ended = False
        self._over = False
        self._handlers = HANDLERS
        self._serving = anyio.CancelScope()

    @property
    def greeted(self) -> bool:
        """Whether the handshake is over."""
        return self._session is not None

    @property
    def busy(self) -> bool:
        """Whether a request is not answered."""
        return bool(self._protocol.in_flight)

    # The turns

    async def run(self) -> None:
        """Serve the client until one side ends it; then end all it held, at once."""
        try:
            with self._serving:
                await self._serve()
        finally:
            self.close()

        with anyio.move_on_after(_FAREWELL):
            await self.link.room(0)

    async def _serve(self) -> None:
        link = self.link
        while not self._over:
            await link.feed(self._turn)
            if not self._over:
                await link.room(self._high)

    def _turn(self, data: bytes) -> bool:
        """Answer what one receive brought.

        Returns:
            whether to go on at once: the client is still there, and takes its answers.
        """
        protocol = self._protocol
        if not data:
            self._over = True
            return False

        self.turns += 1
        try:
            messages = protocol.receive(data)
        except wire.ProtocolError as error:
            self._break_off(error)
            self._over = True
            return False

        if self._session is None:
            self._over = not self._greet()
            return not self._over

        self._answer(messages)
        if protocol.state == CLOSED or (self._gone and not self.busy):
            self._over = True
            return False

        return self.link.queued <= self._high

    @property
    def _gone(self) -> bool:
        return self._protocol.peer_left or self._leaving

    def _answer(self, messages: Sequence[wire.Message]) -> None:
        """Answer what one receive brought, with one write of the log and one send."""
        session = self._session
        assert session is not None
        session.later.turn = 0
        if len(messages) == 1:
            reply = self._handle(session, messages[0])
            if reply is not None:
                self.answered += 1
                self.link.send(self._protocol.send(reply))

            return

        replies: list[wire.Message] = []
        try:
            with self.gate.hub.batch():
                for message in messages:
                    reply = self._handle(session, message)
                    if reply is not None:
                        replies.append(reply)
        except LogFailed as error:
            replies = [self._unlogged(reply, error) for reply in replies]

        if replies:
            self.answered += len(replies)
            send = self._protocol.send
            self.link.send([frame for reply in replies for frame in send(reply)])

    def _handle(self, session: Session, message: wire.Message) -> wire.Message | None:
        try:
            return self._handlers[type(message)](session, message)
        except DeviceError as error:
            return session.later.error(message.request, error)

    def _unlogged(self, reply: wire.Message, error: LogFailed) -> wire.Message:
        """What becomes of an answer whose record may be lost: a change that was made stands."""
        if isinstance(reply, _LOOKS) and not (isinstance(reply, wire.IoctlDone) and not reply.op):
            assert self._session is not None

            return self._session.later.error(reply.request, error)

        return reply

    # The beginning

    def _greet(self) -> bool:
        """Answer HELLO, if it is there whole.

        Returns:
            whether the connection goes on.
        """
        hello = self._protocol.hello
        if hello is None:
            return self._protocol.state != "closed"

        try:
            self._admit(hello)
        except DeviceError as error:
            self._reject(error)
            code = error.code
            self.link.send((self._protocol.refuse(code.value, code.name, error.reason),))
            return False

        return True

    def _admit(self, hello: wire.Hello) -> None:
        gate, settings = self.gate, self.gate.settings
        if self._protocol.version() is None:
            raise NotSupported(
                f"the client speaks versions {hello.version_min} to {hello.version_max}, "
                f"and the service {wire.VERSION_MIN} to {wire.VERSION_MAX}"
            )

        if gate.crowd() > settings.limits.connections:
            raise AccessDenied(
                f"{settings.limits.connections} clients are connected, which is the limit"
            )

        self.peer = self._identify(hello.token)
        process = gate.hub.process(label_of(hello.label), pid=self.peer.pid, uid=self.peer.uid)
        engine = gate.hub.engine
        engine.note(ClientConnected(process.principal, str(self.peer), engine.now()))
        self._process = process
        features = wire.FEATURE_MAP if self.peer.uid is not None else 0
        self.link.send((self._protocol.accept(gate.software, features),))
        later = Later(
            gate.hub.engine,
            self.link,
            self._protocol,
            self._tasks,
            settings.limits,
            self._end_if_idle,
        )
        self._session = Session(
            gate.hub, settings, self.peer, process, hello.model, later, gate.facts
        )

    def _identify(self, token: bytes) -> Peer:
        """Who the client is, its token considered.

        Raises:
            AccessDenied: EACCES; it may not connect.
        """
        peer, settings, tokens = self.peer, self.gate.settings, self.gate.tokens
        if peer.uid is not None:
            if settings.allowed_uids and peer.uid not in settings.allowed_uids:
                raise AccessDenied(f"uid {peer.uid} is not among the users that may connect")

            return peer

        name = tokens.name_of(token) if tokens is not None and token else None
        if name is None and (token or peer.subject is None):
            raise AccessDenied("the token is not known" if token else "a token is needed here")

        return replace(peer, token=name)

    # The end

    def say_goodbye(self, reason: str, grace: float) -> None:
        """Take no new requests; the client is told, and gets the answers that are due."""
        if self._ended:
            return

        self._leaving = True
        self._end = ("stop", reason)
        self._handlers = LEAVING
        if self.greeted and self._protocol.state in ("open", "closing"):
            self.link.send((self._protocol.goodbye(reason, round(grace * 1000)),))

        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._gone and not self.busy:
            self._serving.cancel()

    def cut(self, cause: str, reason: str) -> None:
        """End the connection now; what the client has not read is lost."""
        if self._ended:
            return

        self._end = (cause, reason)
        if not self.greeted:
            self._reject(AccessDenied(reason))
        elif self._protocol.state == "open":
            self.link.send((self._protocol.goodbye(reason),))

        self._tasks.cancel_scope.cancel()

    def _break_off(self, error: wire.ProtocolError) -> None:
        """The client broke a rule: answer what came before, name the rule, and end."""
        if self._session is not None:
            self._answer(error.messages)

        self._end = ("protocol", error.reason)
        self._reject(DeviceError(error.reason, code=Errno.EPROTO), "protocol")
        self.link.send((self._protocol.abort(error),))

    def failed(self, error: BaseException) -> None:
        """A fault of the service's own: it ends this connection, and nobody else's."""
        self._end = ("error", f"{type(error).__name__}: {error}")
        log.error("a connection of %s failed", self._shown(), exc_info=error)

    def close(self) -> None:
        """End the client's process: its handles close and its claims end, now. Once only."""
        self._ended = True
        process, self._process = self._process, None
        if process is None:
            return

        cause, reason = self._end
        if cause == "disconnect" and self._protocol.peer_left:
            cause = "goodbye"

        engine = self.gate.hub.engine
        with suppress(LogFailed):  # the closes are owed, and the record below stands behind them
            process.close("stop" if cause == "stop" else "disconnect")

        peer = str(self.peer)
        gone = ClientGone(process.principal, peer, engine.now(), self._began, cause, reason)
        try:
            engine.note_in_turn(gone)
        except LogFailed as error:
            log.error("the end of %s is not logged yet: %s", self._shown(), error)

    # Records

    def _reject(self, error: DeviceError, op: str = "connect") -> None:
        peer, engine = self.peer, self.gate.hub.engine
        who = unknown_process(peer)
        if self._process is not None:
            who = process_columns(self._process.principal)

        try:
            engine.note(ClientRefused(who, str(peer), engine.now(), op, error))
        except LogFailed as failure:
            log.error("a refusal of %s is not logged: %s", self._shown(), failure)

    def _shown(self) -> str:
        """The peer for a line that people read: a certificate's subject is the client's text."""
        return escape_controls(str(self.peer))


def label_of(label: str) -> str | None:
    """What a client calls itself, fit for people: printable and short."""
    return "".join(c if c.isprintable() else "?" for c in label[:_LABEL_MAX]).strip() or None
