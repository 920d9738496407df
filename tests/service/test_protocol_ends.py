"""How handles and connections end, as `docs/protocol.md` says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.service import wire
from service.service_rig import RawClient, lab, update

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest


def refuse_records(_: object, records: Sequence[object], **__: Any) -> None:
    if records:
        raise OSError(28, "no space left")


async def test_a_close_that_cannot_be_logged_says_that_it_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what needs no record is answered while the log fails."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle, other = await client.open(), await client.open()
        with monkeypatch.context() as patch:
            patch.setattr(type(it.log.writer), "append", refuse_records)
            for asked in (
                wire.Seek(0, handle, 0, 5),
                wire.Ping(0, 1),
                wire.Explain(0, handle, 0),
                wire.Report(0, "", ""),
                wire.Subscribe(0, 0, 0, 0, ""),
                wire.Unsubscribe(0, 1),
            ):
                answer = await client.ask(asked)
                assert not isinstance(answer, wire.Error), answer

            refused: Any = await client.ask(update(handle, 0, 4096, 1))
            assert (refused.name, refused.reason.partition(",")[0]) == (
                "EIO",
                "nothing was changed",
            )
            closed: Any = await client.ask(wire.Close(0, handle))
            assert (closed.name, closed.kind) == ("EIO", "LogFailed")
            assert closed.reason.startswith("the file is closed, and what it held ends once")
            again: Any = await client.ask(wire.Close(0, handle))
            assert again.name == "EBADF"

        assert isinstance(await client.ask(wire.Close(0, other)), wire.Done)
        client.close()
