"""CALLs that are refused, with each error that the page lists for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.service import wire

if TYPE_CHECKING:
    from service.test_listed_errors import Asker


async def ask_calls(it: Asker) -> None:
    """Errors of CALL; the last machine's CPU has no ranges that NetBSD knows."""
    net, bare = await it.open("net:/dev/mem"), await it.open("bare-net:/dev/mem")
    other = await it.two.open("net:/dev/mem")
    entry = b"[3489660928,4096,%d,%d,0]"
    private, wrong = entry % (1, 5), entry % (1, 3)

    def call(handle: int, op: str, args: bytes) -> wire.Call:
        return wire.Call(0, handle, op, args)

    await it.ask(call(net, "set", b'{"entries":[%s]}' % private))
    await it.ask(call(other, "set", b'{"entries":[%s]}' % (entry % (1, 4))), it.two)
    await it.ask(call(net, "set", b'{"entries":[%s]}' % wrong))
    await it.ask(call(net, "get", b'{"null":"count"}'))
    await it.ask(call(net, "get", b"[]"))
    await it.ask(call(net, "get", b'{"n":{"int":"x"}}'))
    await it.ask(call(net, "get", b"[" * 100_000))
    await it.ask(call(bare, "get", b""))
    await it.ask(call(await it.open("no-wc:/dev/mem"), "set", b'{"entries":[%s]}' % private))
    await it.ask(call(await it.open("pat:/dev/mem"), "get", b""))
    for handle in (net, bare):
        await it.ask(wire.Close(0, handle))

    await it.ask(wire.Close(0, other), it.two)
