"""A mapping that was granted for reading stays one, whatever its holder does with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import memhub
from memhub.errors import NotPermitted
from memhub.service.settings import RightsRule
from service.service_rig import MIB, lab, machine

if TYPE_CHECKING:
    from memhub.service.mapped import MappedMemory

ME = os.getuid()
OTHER = 65534
WIDEN = Path(__file__).parent / "programs" / "widen_mapping.py"
ROM = (
    memhub.Region(base=0, length=MIB),
    memhub.Region(base=MIB, length=MIB, kind="rom", data=b"\x55\xaa"),
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory files are Linux's")
as_root = pytest.mark.skipif(ME != 0, reason="only root can start a process of another user")


def allowing(uid: int, *rights: Any) -> RightsRule:
    return RightsRule(uid=uid, allow=frozenset(rights))


READER = allowing(ME, "read-memory", "read-ranges")
WRITER = allowing(ME + 1, "read-memory", "write-memory")


async def widen(mapped: MappedMemory, uid: int | None = None, holds: str = "orig") -> list[str]:
    """What works of all ways to make more of a mapping that was granted for reading."""
    who = "" if uid is None else str(uid)
    command = [sys.executable, "-I", "-S", str(WIDEN), who, str(mapped.fd), str(os.getpid())]
    done = await anyio.run_process(command, pass_fds=(mapped.fd,), stderr=subprocess.PIPE)
    found = json.loads(done.stdout)
    assert (found["uid"], found["read"]) == (ME if uid is None else uid, holds)
    worked: list[str] = found["worked"]

    return worked


@as_root
async def test_another_user_makes_no_more_of_a_read_mapping(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem", "r+")
        await handle.pwrite(b"orig", 0)
        with await handle.map() as seen, await handle.map(write=True) as shared:
            assert await widen(seen, OTHER) == []
            shared.write(0, b"ours")
            assert await handle.pread(4, 0) == b"ours"


@as_root
async def test_another_user_who_may_write_only_writes(tmp_path: Path) -> None:
    """A descriptor for writing can be used and passed on; the seals stay out of its reach."""
    async with lab(tmp_path) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem", "r+")
        await handle.pwrite(b"orig", 0)
        with await handle.map(write=True) as shared:
            size = os.fstat(shared.fd).st_size
            assert "seal" not in await widen_for_writing(shared, OTHER)
            assert os.fstat(shared.fd).st_size == size


async def widen_for_writing(mapped: MappedMemory, uid: int) -> list[str]:
    """Add seals, cut the file, change its mode: what of it works with a writable descriptor."""
    code = (
        "import fcntl, json, os, sys\n"
        "os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))\n"
        "fd, worked = int(sys.argv[1]), []\n"
        "for name, way in {\n"
        " 'seal': lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0x10),\n"
        " 'cut': lambda: os.ftruncate(fd, 0),\n"
        " 'grow': lambda: os.ftruncate(fd, 1 << 40),\n"
        " 'chmod': lambda: os.fchmod(fd, 0o777),\n"
        " 'write': lambda: os.pwrite(fd, b'X', 0),\n"
        "}.items():\n"
        " try: way()\n"
        " except OSError: continue\n"
        " worked.append(name)\n"
        "print(json.dumps(worked))\n"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(mapped.fd), str(uid)]
    done = await anyio.run_process(command, pass_fds=(mapped.fd,))
    worked: list[str] = json.loads(done.stdout)
    assert worked[-1:] == ["write"]

    return worked


@pytest.mark.parametrize(
    ("changes", "rights"),
    [
        ({}, (READER,)),
        ({}, (READER, RightsRule(token="ci", allow=frozenset({"write-memory"})))),
        ({"securelevel": 1}, ()),
        ({"securelevel": 1, "memory": ROM}, ()),
    ],
    ids=["no rule lets anybody write", "a token writes", "securelevel", "securelevel, with rom"],
)
async def test_where_nobody_may_write_the_same_user_and_root_cannot(
    tmp_path: Path, changes: dict[str, Any], rights: tuple[RightsRule, ...]
) -> None:
    spec = machine(**changes)
    async with lab(tmp_path, spec, rights=rights) as it, it.connect() as hub:
        it.hub.machines["pc"].memory.write(0, b"orig")
        handle = await hub.open("/dev/mem")
        with await handle.map() as seen:
            worked = await widen(seen)
            assert worked == []
            it.hub.machines["pc"].memory.write(0, b"more")
            assert (seen.read(0, 4), await handle.pread(4, 0)) == (b"more", b"more")


@pytest.mark.parametrize("securelevel", [0, 1])
async def test_nobody_writes_the_file_with_the_rom(tmp_path: Path, securelevel: int) -> None:
    """Not its own user and not root; on a machine whose RAM clients may write, only the RAM."""
    spec = machine(memory=ROM, securelevel=securelevel)
    async with lab(tmp_path, spec) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem", "r" if securelevel else "r+")
        with await handle.map_rom() as rom:
            worked = await widen(rom, holds="\xff" * 4)
            assert set(worked) <= (set() if securelevel else {"reopen the service's"})
            with pytest.raises(PermissionError):
                os.pwrite(os.open(f"/proc/self/fd/{rom.fd}", os.O_RDWR), b"X", 0)

            with await handle.map_span(MIB, 0x1000) as seen:
                assert seen[:4] == b"\x55\xaa\xff\xff"

        assert await handle.pread(4, MIB) == b"\x55\xaa\xff\xff"


async def test_ram_beside_rom_is_written_and_the_rom_is_not(tmp_path: Path) -> None:
    async with lab(tmp_path, machine(memory=ROM)) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem", "r+")
        with await handle.map(write=True) as shared:
            size = os.fstat(shared.fd).st_size
            for place in range(0, size, 0x1000):
                os.pwrite(shared.fd, b"ours" * 0x400, place)

        assert size == MIB
        assert await handle.pread(4, MIB - 4) == b"ours"
        assert await handle.pread(4, MIB) == b"\x55\xaa\xff\xff"


async def test_memory_that_was_touched_before_is_sealed_too() -> None:
    async with memhub.Hub([machine()]) as hub:
        memory = hub.machines["pc"].memory
        memory.write(0, b"orig")
        memory.files.seal_writes()
        again = memory.open_ram(writable=True)
        try:
            with pytest.raises(PermissionError):
                os.pwrite(again, b"X", 0)
        finally:
            os.close(again)

        assert memory.read(0, 4) == b"orig"


async def test_a_rule_for_one_writer_leaves_his_mapping_open(tmp_path: Path) -> None:
    rules = (allowing(ME, "read-memory", "write-memory"), READER)
    async with lab(tmp_path, rights=rules) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem", "r+")
        with await handle.map(write=True) as shared:
            shared.write(0, b"here")
            assert await handle.pread(4, 0) == b"here"


async def test_sealed_memory_is_not_handed_out_for_writing_by_a_second_service(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        it.hub.machines["pc"].memory.files.seal_writes()
        with pytest.raises(NotPermitted, match="sealed against writing"):
            await hub.map_memory(write=True)


@as_root
async def test_a_service_that_is_not_root_hands_its_memory_out() -> None:
    """Its own file has no permission bits for it either, and it opens the file all the same."""
    code = (
        "import fcntl, os, stat\n"
        "from memhub.core.memory.backing import Store\n"
        f"os.setgroups([]); os.setgid({OTHER}); os.setuid({OTHER})\n"
        "store = Store(4096)\n"
        "read, write = store.open_again(writable=False), store.open_again(writable=True)\n"
        "os.pwrite(write, b'both', 0)\n"
        "print(stat.S_IMODE(os.fstat(read).st_mode), os.pread(read, 4, 0), store.map[:4])\n"
        "os.pwrite(read, b'X', 0)\n"
    )
    with anyio.fail_after(30):
        done = await anyio.run_process([sys.executable, "-c", code], check=False)

    assert done.stdout == b"0 b'both' b'both'\n"
    assert b"Bad file descriptor" in done.stderr


@as_root
async def test_a_client_of_another_user_with_the_right_to_read_cannot_write(
    tmp_path: Path,
) -> None:
    """The whole way: the client connects, maps, and tries, as a user of its own."""
    code = (
        "import os, subprocess, sys\n"
        "from memhub.service.blocking import BlockingClient\n"
        "import memhub.service.mapped\n"
        "uid = int(sys.argv[1])\n"
        "os.setgroups([]); os.setgid(uid); os.setuid(uid)\n"
        "with BlockingClient('unix:s') as hub, hub.open('/dev/mem') as handle:\n"
        "    fd = handle.map().fd\n"
        "    try:\n"
        "        os.pwrite(os.open(f'/proc/self/fd/{fd}', os.O_RDWR), b'X', 0)\n"
        "    except OSError as error:\n"
        "        print(type(error).__name__)\n"
        "    else:\n"
        "        print('written')\n"
    )
    reader = allowing(OTHER, "read-memory")
    os.chmod(tmp_path, 0o755)  # noqa: PTH101 - pathlib's would block no less
    async with lab(tmp_path, mode=0o666, rights=(reader, WRITER)) as it:
        it.hub.machines["pc"].memory.write(0, b"orig")
        command = [sys.executable, "-c", code, str(OTHER)]
        with anyio.fail_after(30):
            done = await anyio.run_process(command, cwd=tmp_path)

        assert done.stdout == b"PermissionError\n"
        assert it.hub.machines["pc"].memory.read(0, 4) == b"orig"
