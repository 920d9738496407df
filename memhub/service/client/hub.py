"""The asynchronous client: a service's machines with the face of an embedded hub."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Self, final

import anyio

from memhub.arguments import take_names, take_text
from memhub.engine.subscriptions import CHANGES, take_span_of_interest
from memhub.service import wire
from memhub.service.address import parse_address
from memhub.service.client.administration import HubRequests
from memhub.service.client.caller import Caller, Waiter
from memhub.service.client.dialing import dial_unix
from memhub.service.client.events import RemoteSubscription
from memhub.service.client.handle import RemoteHandle
from memhub.service.client_errors import (
    UNANSWERED_PAUSES,
    ClosedUnanswered,
    closed_unanswered,
    lost_connection,
    name_place,
    not_on_the_wire,
    refused_connection,
)
from memhub.service.link import SocketLink
from memhub.service.remote_hub import (
    hello_frame,
    open_request,
    take_greeting,
)
from memhub.service.stream_link import StreamLink

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import AsyncGenerator, Iterable

    from anyio.abc import TaskGroup

    from memhub.abi import DataModel
    from memhub.service.mapped import MappedMemory


def connect(
    address: str | os.PathLike[str] | None = None,
    *,
    label: str = "",
    model: DataModel | None = None,
    token: str = "",
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    timeout: float | None = 10.0,
) -> RemoteHub:
    """Connect to a service: `async with memhub.connect("unix:/run/memhub.sock") as hub`.

    The connection is one process of the hub: its handles share claims, and when it ends,
    however it ends, they end.

    Args:
        address: `unix:PATH`, a path, or `tcp:HOST:PORT`; None takes `$MEMHUB_SOCKET`.
        label: what to be called in reports and in the log.
        model: the data model of handles unless `open` says otherwise; None is the machine's.
        token: what a TCP service asks for instead of a certificate.
        ssl_context: TLS over TCP, with the client's certificate if the service wants one.
        server_hostname: the name in the service's certificate; the host's if None.
        timeout: seconds for connecting and the handshake; None or `math.inf` has no limit.

    Raises:
        ValueError: the address is malformed, or the timeout is not a time to come.
        TypeError: an argument has the wrong type.
    """
    where = parse_address(address)
    label, secret, limit, number = take_greeting(label, token, timeout, model)

    return RemoteHub(
        where,
        wire_hello=(label, secret, number),
        ssl_context=ssl_context,
        server_hostname=server_hostname,
        timeout=limit,
    )


@final
class RemoteHub(HubRequests, anyio.AsyncContextManagerMixin):
    """A service's machines; made by `connect`, used in `async with`.

    Raises:
        OSError: on entering; the service cannot be reached.
        TimeoutError: on entering; it did not answer in time.
        DeviceError: on entering; it refused the connection, and the message says why.
    """

    def __init__(
        self,
        where: tuple[str, str, int],
        *,
        wire_hello: tuple[str, bytes, int],
        ssl_context: ssl.SSLContext | None,
        server_hostname: str | None,
        timeout: float | None,
    ) -> None:
        self._where = where
        self._hello = wire_hello
        self._ssl = ssl_context
        self._hostname = server_hostname
        self._timeout = timeout
        self._caller: Caller | None = None
        self._link: SocketLink | StreamLink | None = None
        self._subscriptions: dict[int, RemoteSubscription] = {}

        #: The service's name and version.
        self.software = ""

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        failure: Exception | None = None
        link: SocketLink | StreamLink | None = None
        try:
            async with anyio.create_task_group() as tasks:
                try:
                    with anyio.fail_after(self._timeout):
                        link, self._caller = await self._connect_link(tasks)

                    self._link = link
                    tasks.start_soon(self._caller.listen)
                    yield self
                except Exception as error:  # noqa: BLE001 - raised below, bare
                    failure = error
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            if self._caller is not None:
                self._caller.lose("this client closed it")

            if link is not None:
                with anyio.CancelScope(shield=True):
                    await link.aclose()

        if failure is not None:
            raise failure

    def _end_subscriptions(self) -> None:
        for subscription in self._subscriptions.values():
            subscription.end()

    async def _connect_link(self, tasks: TaskGroup) -> tuple[SocketLink | StreamLink, Caller]:
        for pause in UNANSWERED_PAUSES:
            with suppress(ClosedUnanswered):
                return await self._connect_once(tasks)

            await anyio.sleep(pause)

        return await self._connect_once(tasks)

    async def _connect_once(self, tasks: TaskGroup) -> tuple[SocketLink | StreamLink, Caller]:
        link = await self._dial_server(tasks)
        try:
            return link, await self._send_hello(link)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await link.aclose()

            raise

    async def _dial_server(self, tasks: TaskGroup) -> SocketLink | StreamLink:
        try:
            return await self._dial_place(tasks)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            raise name_place(closed_unanswered(), self._where[1]) from None
        except OSError as error:
            raise name_place(error, self._where[1]) from error.__cause__

    async def _dial_place(self, tasks: TaskGroup) -> SocketLink | StreamLink:
        kind, place, port = self._where
        if kind == "unix":
            link = SocketLink(await dial_unix(place), tasks.start_soon)
            link.fds = deque()

            return link

        if self._ssl is None:
            return StreamLink(await anyio.connect_tcp(place, port), tasks.start_soon)

        stream = await anyio.connect_tcp(
            place,
            port,
            ssl_context=self._ssl,
            tls_standard_compatible=False,
            tls_hostname=self._hostname or place,
        )

        return StreamLink(stream, tasks.start_soon)

    async def _send_hello(self, link: SocketLink | StreamLink) -> Caller:
        label, token, model = self._hello
        protocol = wire.ClientProtocol()
        features = wire.FEATURES | (wire.MAP_FEATURES if isinstance(link, SocketLink) else 0)
        link.send((hello_frame(protocol, label, token, features, model),))
        while protocol.welcome is None:
            data = await link.receive()
            if not data:
                raise closed_unanswered()

            for message in protocol.receive(data):
                if isinstance(message, wire.Refused):
                    raise refused_connection(message)

                if isinstance(message, wire.Abort):
                    raise lost_connection(message.reason)

        self.software = protocol.welcome.server

        return Caller(link, protocol, self._take_event, self._end_subscriptions)

    def _greeted(self) -> Caller:
        if self._caller is None:
            raise lost_connection("it has not been opened: use the hub in `async with`")

        return self._caller

    def hang_up(self) -> None:
        """End the connection in the middle of the block, as if this process were killed.

        Raises:
            NotSupported: EOPNOTSUPP; over TCP.
        """
        if not isinstance(self._link, SocketLink):
            raise not_on_the_wire("a connection over TCP cannot be cut by its client")

        self._link.hang_up()

    # The face of a hub

    async def open(
        self, path: str, mode: str = "r", *, undo: bool = False, model: DataModel | None = None
    ) -> RemoteHandle:
        """Open a device file; see `Hub.open`. All handles are of one process."""
        caller = self._greeted()
        opened = await caller.ask(open_request(path, mode, undo=undo, model=model))

        return RemoteHandle(caller, opened, path)

    def subscribe(
        self,
        *,
        machine: str | None = None,
        base: int | None = None,
        length: int | None = None,
        events: Iterable[str] = CHANGES,
        failures: bool = False,
        size: int = 1024,
    ) -> RemoteSubscription:
        """Receive changes as they happen; see `Hub.subscribe`.

        The request is on its way when this returns; if the service refuses it, the first
        `receive` says so. `events` are picked here, among the changes that a service sends.

        Raises:
            ValueError: a service sends no events of that name, one of `base` and `length`
                without the other, no range, or no size.
            TypeError: an argument has the wrong type.
            NotSupported: EOPNOTSUPP; the service is of a version without `failures`.
        """
        span, size = take_span_of_interest(base, length, size)
        wanted = take_names("events", events)
        if not wanted <= CHANGES:
            raise ValueError(f"a service sends no {', '.join(sorted(wanted - CHANGES))}")

        caller = self._greeted()
        if failures and not caller.features & wire.FEATURE_REFUSALS:
            raise not_on_the_wire("the service is of a version that sends no refused requests")

        options = wire.SUBSCRIBE_REFUSED if failures else None
        subscription = RemoteSubscription(size, wanted, self._end_subscription)

        def then(reply: wire.Message) -> None:
            if isinstance(reply, wire.Error):
                subscription.fail(wire.error_from_wire(reply))
            elif isinstance(reply, wire.Done):
                self._subscriptions[reply.value] = subscription
                subscription.number = reply.value
                if subscription.closed:
                    self._end_subscription(subscription)

        base, end = span or (0, 0)
        name = "" if machine is None else take_text("machine", machine)
        caller.post(wire.Subscribe(0, size, base, end - base, name, options), Waiter(then))

        return subscription

    def _end_subscription(self, subscription: RemoteSubscription) -> None:
        caller = self._greeted()
        if subscription.number and caller.gone is None:
            self._subscriptions.pop(subscription.number, None)
            caller.post(wire.Unsubscribe(0, subscription.number), Waiter())

    def _take_event(self, event: wire.Event) -> None:
        subscription = self._subscriptions.get(event.subscription)
        if subscription is not None:
            subscription.take(event)

    async def map_memory(self, machine: str | None = None, *, write: bool = False) -> MappedMemory:
        """A machine's memory, mapped into this process; see `RemoteHandle.map`."""
        path = f"{machine}:/dev/mem" if machine else "/dev/mem"
        async with await self.open(path, "r+" if write else "r") as handle:
            return await handle.map(write=write)

    async def ping(self) -> None:
        """Return once the service has answered."""
        await self._greeted().ask(wire.Ping(0, 0))
