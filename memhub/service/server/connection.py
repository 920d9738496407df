"""One client: the handshake, the answers, and the end of the connection."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from memhub.abi import Errno
from memhub.core.service_events import ClientConnected
from memhub.engine.group_commit import settle_commits
from memhub.errors import AccessDenied, DeviceError, NotSupported
from memhub.escape import escape_controls, say_error
from memhub.service import wire
from memhub.service.server.answering import Dispatch, HeldAnswers, answer_in_batch
from memhub.service.server.ending import end_process
from memhub.service.server.parting import await_reads
from memhub.service.server.request_tasks import RequestTasks
from memhub.service.server.rights import clean_label
from memhub.service.server.session import Session
from memhub.service.wire.protocol import CLOSED, OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anyio.abc import TaskGroup

    from memhub.core.files import Principal
    from memhub.handles.process import Process
    from memhub.service.link import Link
    from memhub.service.server.rights import Peer
    from memhub.service.server.terms import ServiceTerms

#: Seconds in which a client may read what was sent last, before its socket is closed.
_LAST_READ_SECONDS: Final = 1.0

log: Final = logging.getLogger("memhub.service")


class Connection:
    """One client of the service.

    Args:
        terms: the hub, and the terms on which it is served.
        link: the stream.
        peer: who the client is, before it has shown a token.
        task_group: the connection's own task group; cancelling it ends the connection.
        admit: admits the client once it has greeted, or raises AccessDenied.

    Attributes:
        receives: how many receives brought something.
        answered: requests answered at once.
        parting: whether it has ended in order.
    """

    def __init__(
        self,
        terms: ServiceTerms,
        link: Link,
        peer: Peer,
        task_group: TaskGroup,
        admit: Callable[[], None],
    ) -> None:
        self.terms = terms
        self.link = link
        self.peer = peer
        self.receives = self.answered = 0
        self.parting = False
        self._task_group = task_group
        self._admit = admit
        self._left: Sequence[wire.Message] = ()
        self._protocol = wire.ServerProtocol(terms.limits())
        self._session: Session | None = None
        self._process: Process | None = None
        self._began_ns = terms.hub.engine.now().mono_ns
        self._queue_high = terms.settings.limits.queued_bytes // 2
        self._end_cause: tuple[str, str | None] = ("disconnect", None)
        commit = terms.hub.engine.commit
        self._held = None if commit is None else HeldAnswers(commit)
        self._draining = self._closed = self._stopped = False
        self._dispatch = Dispatch()
        self._serve_scope = anyio.CancelScope()

    @property
    def greeted(self) -> bool:
        """Whether the handshake is over."""
        return self._session is not None

    @property
    def silent(self) -> bool:
        """Whether the client has not sent HELLO."""
        return self._protocol.hello is None

    @property
    def busy(self) -> bool:
        """Whether a request is in flight."""
        return self._protocol.busy

    # Answering

    async def run(self) -> None:
        """Serve the client until one side ends the connection; then end what it held, at once."""
        try:
            with self._serve_scope:
                await self._serve_client()
        finally:
            await self.close()

        patience = self.terms.settings.limits.stall_timeout  # with whoever said GOODBYE
        await await_reads(self.link, patience if self._protocol.peer_left else _LAST_READ_SECONDS)
        self.parting = True  # a client that has ended TLS is due the same

    async def _serve_client(self) -> None:
        link = self.link
        while not self._stopped:
            await link.feed(self._take_received)
            await self._send_held()
            while self._left:
                async with self.terms.turns.lock:
                    self._answer_messages(self._left)

                await self._send_held()
                self._stop_if_done()

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
        if protocol.state != OPEN or self._draining:
            self._stop_if_done()
            if self._stopped:
                return False

        if self._left or (self._held is not None and self._held.waiting):
            return False

        return self.link.queued <= self._queue_high

    def _stop_if_done(self) -> None:
        if self._protocol.state == CLOSED or (self._takes_no_more and not self.busy):
            self._stopped = True

    @property
    def _takes_no_more(self) -> bool:
        return self._protocol.peer_left or self._draining

    def _answer_messages(self, messages: Sequence[wire.Message]) -> None:
        """Answer what one receive brought, with one write of the log and one send.

        What a slice of time is not enough for is left, so that others are served in between.
        """
        session = self._session
        assert session is not None
        session.tasks.turn_room = self._queue_high - self.link.queued
        self._left = ()
        if len(messages) == 1 and self._held is None:
            reply = self._dispatch.answer(session, messages[0])
            if reply is not None:
                self.answered += 1
                self.link.send(self._protocol.send(reply))

            return

        handle = partial(self._dispatch.answer, session)
        if self._held is not None:
            self._left = messages[self._held.answer(messages, handle) :]
            return

        replies, done = answer_in_batch(self.terms.hub, session.tasks, messages, handle)
        self._left = messages[done:]
        self._send_replies(replies)

    def _send_replies(self, replies: Sequence[wire.Message]) -> None:
        if replies:
            self.answered += len(replies)
            send = self._protocol.send
            self.link.send([frame for reply in replies for frame in send(reply)])

    async def _send_held(self) -> None:
        """Send the answers that wait for the disk, once it has their records."""
        held = self._held
        if held is not None and held.waiting:
            await held.settle()
            session = self._session
            assert session is not None
            self._send_replies(held.take(session.tasks))
            self._stop_if_done()

    # The handshake

    def _handle_hello(self) -> bool:
        """Answer HELLO, once all of it has come.

        Returns:
            whether the connection goes on.
        """
        hello = self._protocol.hello
        if hello is None or self._protocol.state == CLOSED:
            return self._protocol.state != CLOSED

        try:
            self._admit_client(hello)
        except DeviceError as error:
            self._record_refusal(error)
            code, refuse = error.code, self._protocol.refuse
            self.link.send((refuse(code.value, code.name, error.reason),))
            return False

        return True

    def _admit_client(self, hello: wire.Hello) -> None:
        terms = self.terms
        if self._protocol.version() is None:
            raise NotSupported(
                f"the client speaks versions {hello.version_min} to {hello.version_max}, "
                f"and the service {wire.VERSION_MIN} to {wire.VERSION_MAX}"
            )

        self.peer = terms.identify_peer(self.peer, hello.token)
        self._admit()
        process = terms.hub.process(clean_label(hello.label), pid=self.peer.pid, uid=self.peer.uid)
        engine = terms.hub.engine
        engine.note(ClientConnected(process.principal, str(self.peer), engine.now()))
        self._process = process
        features = wire.FEATURES | (wire.MAP_FEATURES if self.peer.uid is not None else 0)
        self.link.send((self._protocol.accept(terms.software, features),))
        link, group, limits = self.link, self._task_group, terms.settings.limits
        tasks = RequestTasks(
            engine, link, self._protocol, group, limits, self._end_if_idle, terms.turns
        )
        self._session = Session(terms, self.peer, process, hello.model, tasks)

    # The end

    def begin_drain(self, reason: str, grace: float) -> None:
        """Take no new requests, and tell the client; requests that have begun are answered."""
        if self._closed:
            return

        self._draining = True
        self._end_cause = ("stop", reason)
        self._dispatch.drain()
        if self._protocol.state == "open":
            self.link.send((self._protocol.goodbye(reason, round(grace * 1000)),))

        self._end_if_idle()

    def cancel_requests(self) -> None:
        """Answer what is not answered with ECANCELED, and end."""
        if self._session is not None:
            self._session.tasks.cancel_all()

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

        if cause == "idle":
            self._serve_scope.cancel()  # its task sends what waits, and nothing is in flight
        else:
            self._task_group.cancel_scope.cancel()

    def cut_off(self, process: Principal, reason: str) -> None:
        """End the connection without a word, if it is that of `process`."""
        if self._process is not None and self._process.principal == process:
            self._end_cause = ("disconnect", reason)
            self.link.cut()
            self._task_group.cancel_scope.cancel()

    def _end_on_protocol_error(self, error: wire.ProtocolError) -> None:
        """Answer what came before the broken rule, tell the client which rule it is, and end."""
        self._left = () if self._session is None else error.messages
        while self._left:
            self._answer_messages(self._left)

        if self._session is not None and self._held is not None:
            settle_commits(self.terms.hub.engine.commit)
            self._send_replies(self._held.take(self._session.tasks))

        self._end_cause = ("protocol", error.reason)
        self._record_refusal(DeviceError(error.reason, code=Errno.EPROTO), "protocol")
        if error.answered:
            self.link.send((self._protocol.abort(error),))

    def record_failure(self, error: BaseException) -> None:
        """Log a fault of the service; it ends this connection alone."""
        self._end_cause = ("error", say_error(error))
        log.error("a connection of %s failed", escape_controls(str(self.peer)), exc_info=error)

    async def close(self) -> None:
        """End the client's process: close its handles and end its claims. Twice is once.

        Others are served between its steps. It ends whether or not the caller is cancelled.
        """
        self._closed = True
        process, self._process = self._process, None
        if process is not None:
            with anyio.CancelScope(shield=True):
                await self.terms.turns.work_off(self._close_each(process))

    def _close_each(self, process: Process) -> Iterator[None]:
        cause, reason = self._end_cause
        if cause == "disconnect" and self._protocol.peer_left:
            cause = "goodbye"

        engine, began_ns = self.terms.hub.engine, self._began_ns
        yield from end_process(engine, process, self.peer, began_ns, cause, reason)
        if self._session is not None:
            yield from self._session.tasks.events.stop_each()
            self._session = None  # its tasks lead back here: garbage in a cycle

    def _record_refusal(self, error: DeviceError, op: str = "connect") -> None:
        self.terms.record_refusal(self.peer, error, op, self._process)
