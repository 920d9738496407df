"""One client: the handshake, the answers, and the end of the connection."""

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
from memhub.service.server.handlers import DRAINING_HANDLERS, HANDLERS
from memhub.service.server.request_tasks import RequestTasks
from memhub.service.server.rights import clean_label, unknown_process
from memhub.service.server.session import Session
from memhub.service.wire.protocol import CLOSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import TaskGroup

    from memhub.process import Process
    from memhub.service.link import Link
    from memhub.service.server.rights import Peer
    from memhub.service.server.terms import ServiceTerms

#: Seconds in which a client may read what was sent last, before its socket is closed.
_LAST_READ_SECONDS: Final = 1.0
#: Replies that show something and change nothing.
_READ_REPLIES: Final = (wire.IoctlDone, wire.Data, wire.Error)

log: Final = logging.getLogger("memhub.service")


class Connection:
    """One client of the service.

    Args:
        terms: the hub, and the terms on which it is served.
        link: the stream.
        peer: who the client is, before it has shown a token.
        tasks: the connection's own task group; cancelling it ends the connection.

    Attributes:
        receives: how many receives brought something.
        answered: requests answered at once.
    """

    def __init__(self, terms: ServiceTerms, link: Link, peer: Peer, task_group: TaskGroup) -> None:
        self.terms = terms
        self.link = link
        self.peer = peer
        self.receives = 0
        self.answered = 0
        self._task_group = task_group
        self._protocol = wire.ServerProtocol(terms.limits())
        self._session: Session | None = None
        self._process: Process | None = None
        self._began_ns = terms.hub.engine.now().mono_ns
        self._queue_high = terms.settings.limits.queued_bytes // 2
        self._end_cause: tuple[str, str | None] = ("disconnect", None)
        self._draining = False
        self._closed = False
        self._stopped = False
        self._handlers = HANDLERS
        self._serve_scope = anyio.CancelScope()

    @property
    def greeted(self) -> bool:
        """Whether the handshake is over."""
        return self._session is not None

    @property
    def busy(self) -> bool:
        """Whether a request is not answered."""
        return bool(self._protocol.in_flight)

    # Answering

    async def run(self) -> None:
        """Serve the client until one side ends the connection; then end what it held, at once."""
        try:
            with self._serve_scope:
                await self._serve()
        finally:
            self.close()

        with anyio.move_on_after(_LAST_READ_SECONDS):
            await self.link.room(0)

    async def _serve(self) -> None:
        link = self.link
        while not self._stopped:
            await link.feed(self._take_received)
            if not self._stopped:
                await link.room(self._queue_high)

    def _take_received(self, data: bytes) -> bool:
        """Answer what one receive brought.

        Returns:
            whether to go on at once: the client is still there, and takes its answers.
        """
        protocol = self._protocol
        if not data:
            self._stopped = True
            return False

        self.receives += 1
        try:
            messages = protocol.receive(data)
        except wire.ProtocolError as error:
            self._end_on_protocol_error(error)
            self._stopped = True
            return False

        if self._session is None:
            self._stopped = not self._handle_hello()
            return not self._stopped

        self._answer_messages(messages)
        if protocol.state == CLOSED or (self._takes_no_more and not self.busy):
            self._stopped = True
            return False

        return self.link.queued <= self._queue_high

    @property
    def _takes_no_more(self) -> bool:
        return self._protocol.peer_left or self._draining

    def _answer_messages(self, messages: Sequence[wire.Message]) -> None:
        """Answer what one receive brought, with one write of the log and one send."""
        session = self._session
        assert session is not None
        session.tasks.turn_bytes = 0
        if len(messages) == 1:
            reply = self._handle_message(session, messages[0])
            if reply is not None:
                self.answered += 1
                self.link.send(self._protocol.send(reply))

            return

        replies: list[wire.Message] = []
        try:
            with self.terms.hub.batch():
                for message in messages:
                    reply = self._handle_message(session, message)
                    if reply is not None:
                        replies.append(reply)
        except LogFailed as error:
            replies = [self._replace_unlogged(reply, error) for reply in replies]

        if replies:
            self.answered += len(replies)
            send = self._protocol.send
            self.link.send([frame for reply in replies for frame in send(reply)])

    def _handle_message(self, session: Session, message: wire.Message) -> wire.Message | None:
        try:
            return self._handlers[type(message)](session, message)
        except DeviceError as error:
            return session.tasks.error_reply(message.request, error)

    def _replace_unlogged(self, reply: wire.Message, error: LogFailed) -> wire.Message:
        """The answer in place of one whose record may be lost.

        A reply that only shows something becomes an error. A change that was made stands, and so
        does its reply.
        """
        if isinstance(reply, _READ_REPLIES) and not (
            isinstance(reply, wire.IoctlDone) and not reply.op
        ):
            assert self._session is not None

            return self._session.tasks.error_reply(reply.request, error)

        return reply

    # The handshake

    def _handle_hello(self) -> bool:
        """Answer HELLO, once all of it has come.

        Returns:
            whether the connection goes on.
        """
        hello = self._protocol.hello
        if hello is None:
            return self._protocol.state != "closed"

        try:
            self._admit_client(hello)
        except DeviceError as error:
            self._record_refusal(error)
            code = error.code
            self.link.send((self._protocol.refuse(code.value, code.name, error.reason),))
            return False

        return True

    def _admit_client(self, hello: wire.Hello) -> None:
        terms, settings = self.terms, self.terms.settings
        if self._protocol.version() is None:
            raise NotSupported(
                f"the client speaks versions {hello.version_min} to {hello.version_max}, "
                f"and the service {wire.VERSION_MIN} to {wire.VERSION_MAX}"
            )

        most = settings.limits.connections
        if terms.count_connections() > most:
            full = f"{most} clients are connected, which is the limit"
            raise DeviceError(full, code=Errno.EAGAIN)

        self.peer = self._identify_peer(hello.token)
        process = terms.hub.process(clean_label(hello.label), pid=self.peer.pid, uid=self.peer.uid)
        engine = terms.hub.engine
        engine.note(ClientConnected(process.principal, str(self.peer), engine.now()))
        self._process = process
        features = wire.FEATURES | (wire.MAP_FEATURES if self.peer.uid is not None else 0)
        self.link.send((self._protocol.accept(terms.software, features),))
        tasks = RequestTasks(
            terms.hub.engine,
            self.link,
            self._protocol,
            self._task_group,
            settings.limits,
            self._end_if_idle,
        )
        self._session = Session(
            terms.hub,
            settings,
            self.peer,
            process,
            hello.model,
            tasks,
            terms.describe_service,
        )

    def _identify_peer(self, token: bytes) -> Peer:
        """Who the client is, by its socket, its certificate or its token.

        Raises:
            AccessDenied: EACCES; it may not connect.
        """
        peer, settings, tokens = self.peer, self.terms.settings, self.terms.tokens
        if peer.uid is not None:
            if settings.allowed_uids and peer.uid not in settings.allowed_uids:
                raise AccessDenied(f"uid {peer.uid} is not among the users that may connect")

            return peer

        name = tokens.name_of(token) if tokens is not None and token else None
        if name is None and (token or peer.subject is None):
            raise AccessDenied("the token is not known" if token else "a token is needed here")

        return replace(peer, token=name)

    # The end

    def begin_drain(self, reason: str, grace: float) -> None:
        """Take no new requests, and tell the client; requests that have begun are answered."""
        if self._closed:
            return

        self._draining = True
        self._end_cause = ("stop", reason)
        self._handlers = DRAINING_HANDLERS
        if self.greeted and self._protocol.state in ("open", "closing"):
            self.link.send((self._protocol.goodbye(reason, round(grace * 1000)),))

        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._takes_no_more and not self.busy:
            self._serve_scope.cancel()

    def end_now(self, cause: str, reason: str) -> None:
        """End the connection now; the client loses what it has not read."""
        if self._closed:
            return

        self._end_cause = (cause, reason)
        if not self.greeted:
            self._record_refusal(AccessDenied(reason))
        elif self._protocol.state == "open":
            self.link.send((self._protocol.goodbye(reason),))

        self._task_group.cancel_scope.cancel()

    def _end_on_protocol_error(self, error: wire.ProtocolError) -> None:
        """Answer what came before the broken rule, tell the client which rule it is, and end."""
        if self._session is not None:
            self._answer_messages(error.messages)

        self._end_cause = ("protocol", error.reason)
        self._record_refusal(DeviceError(error.reason, code=Errno.EPROTO), "protocol")
        self.link.send((self._protocol.abort(error),))

    def record_failure(self, error: BaseException) -> None:
        """Log a fault of the service; it ends this connection and no other."""
        self._end_cause = ("error", f"{type(error).__name__}: {error}")
        log.error("a connection of %s failed", self._describe_peer(), exc_info=error)

    def close(self) -> None:
        """End the client's process: close its handles and end its claims. Twice is once."""
        self._closed = True
        process, self._process = self._process, None
        if process is None:
            return

        cause, reason = self._end_cause
        if cause == "disconnect" and self._protocol.peer_left:
            cause = "goodbye"

        engine = self.terms.hub.engine
        with suppress(LogFailed):  # the closes are owed, and the record below stands behind them
            process.close("stop" if cause == "stop" else "disconnect")

        peer = str(self.peer)
        gone = ClientGone(process.principal, peer, engine.now(), self._began_ns, cause, reason)
        try:
            engine.note_in_turn(gone)
        except LogFailed as error:
            log.error("the end of %s is not logged yet: %s", self._describe_peer(), error)

    # Records

    def _record_refusal(self, error: DeviceError, op: str = "connect") -> None:
        peer, engine = self.peer, self.terms.hub.engine
        who = unknown_process(peer)
        if self._process is not None:
            who = process_columns(self._process.principal)

        try:
            engine.note(ClientRefused(who, str(peer), engine.now(), op, error))
        except LogFailed as failure:
            log.error("a refusal of %s is not logged: %s", self._describe_peer(), failure)

    def _describe_peer(self) -> str:
        """The peer, escaped for a log line: a certificate's subject is text of the client."""
        return escape_controls(str(self.peer))
