"""SIGHUP in this process: before, while and after it is waited for."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import anyio

from memhub import AuditLog, Cpu, Hub, MachineSpec
from memhub.audit import verify
from memhub.cli.log_file import hangups_ignored, reopen_on_hangup, watch_log

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PC = MachineSpec(name="pc", arch="amd64", cpu=Cpu(phys_bits=36))


def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


async def test_a_hangup_is_ignored_before_it_is_waited_for_and_after(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    send, receive = anyio.create_memory_object_stream[str](9)
    before = signal.getsignal(signal.SIGHUP)
    with anyio.fail_after(30), send, receive, hangups_ignored(), AuditLog.open(path) as log:
        hang_up()
        async with Hub(
            [MachineSpec(name="pc", arch="amd64", cpu=Cpu(phys_bits=36))], log=log
        ) as hub:
            async with anyio.create_task_group() as tasks:
                await tasks.start(reopen_on_hangup, hub, log, send.send_nowait)
                for number in range(3):
                    path.rename(tmp_path / f"audit.jsonl.{number}")
                    hang_up()
                    assert "reopened; the file before ends in record" in await receive.receive()

                tasks.cancel_scope.cancel()

            hang_up()

    assert before == signal.getsignal(signal.SIGHUP)
    files = [path, *(tmp_path / f"audit.jsonl.{number}" for number in range(3))]
    assert [(verify(it).ok, verify(it).closed) for it in files] == [(True, True)] * 4
    assert len({verify(it).log_id for it in files}) == 1


async def test_a_file_that_is_lost_is_told_once_and_again_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memhub.cli.log_file.LOOK_EVERY", 0.001)
    path = tmp_path / "audit.jsonl"
    send, receive = anyio.create_memory_object_stream[str](9)
    with anyio.fail_after(30), send, receive, AuditLog.open(path) as log:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_log, log, send.send_nowait)
            for _ in range(2):
                path.rename(tmp_path / "1")
                assert "was renamed" in await receive.receive()
                (tmp_path / "1").rename(path)
                assert "where it should be again" in await receive.receive()

            tasks.cancel_scope.cancel()

        assert receive.statistics().current_buffer_used == 0


async def test_a_new_file_that_takes_no_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    send, receive = anyio.create_memory_object_stream[str](9)
    left = 1 << 30

    def write(fd: int, data: bytes) -> int:
        nonlocal left
        if len(data) > left:
            raise OSError(28, "No space left on device")
        left -= len(data)
        return os.write(fd, data)

    with anyio.fail_after(30), send, receive, hangups_ignored():
        log = AuditLog.open(path, write=write)
        async with Hub(
            [MachineSpec(name="pc", arch="amd64", cpu=Cpu(phys_bits=36))], log=log
        ) as hub:
            async with anyio.create_task_group() as tasks:
                await tasks.start(reopen_on_hangup, hub, log, send.send_nowait)
                path.rename(tmp_path / "1")
                left = 900
                hang_up()
                told = await receive.receive()
                tasks.cancel_scope.cancel()
            left = 1 << 30
        log.close()

    assert "reopened, but without the machines' tables" in told
    assert "No space left on device" in told
    assert verify(path).ok
    assert verify(tmp_path / "1").closed
