"""What a failing test shows: claims, the state in which it failed, and its own faults as text."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from rig.inner_runs import NEITHER, run_inner

if TYPE_CHECKING:
    import pytest

CLAIMS = """
import pytest

@pytest.mark.memhub(over="each")
def test_claims(memhub_client):
    memhub_client("Xorg").open().claim(0xD0000000, 0x1000, lease=60)
    memhub_client("driver").open().claim(0xE0000000, 0x1000)
    assert False

@pytest.mark.memhub(over="each", arch="arm64")
def test_claims_without_a_table(memhub_client):
    memhub_client("Xorg").open().claim(0xD0000000, 0x1000)
    assert False
"""

BLOCKS = """
import pytest, anyio

@pytest.mark.anyio
@pytest.mark.memhub(over="each")
async def test_awaits(memhub_client):
    async with memhub_client("Xorg") as xorg:
        async with anyio.create_task_group(), memhub_client("driver") as driver:
            await (await xorg.open()).set_range(0xD0000000, 0x1000, "write-combine", owner="X")
            with pytest.raises(ZeroDivisionError):
                async with memhub_client("other"):
                    1 / 0

            await (await driver.open()).claim(0xE0000000, 0x1000)
            pytest.fail("here")

@pytest.mark.memhub(over="each")
def test_blocks(memhub_client):
    with memhub_client("Xorg") as xorg, memhub_client("driver") as driver:
        xorg.open().set_range(0xD0000000, 0x1000, "write-combine", owner="X")
        driver.open().claim(0xE0000000, 0x1000)
        assert xorg is driver

@pytest.mark.memhub(over="each")
def test_later(memhub_client):
    with pytest.raises(ZeroDivisionError), memhub_client("Xorg") as xorg:
        xorg.open().set_range(0xD0000000, 0x1000, "write-combine", owner="X")
        1 / 0

    assert False
"""

BROKEN = """
import pytest

def test_breaks_the_report(memhub_hub, memhub_log, monkeypatch):
    monkeypatch.setattr(memhub_hub.engine, "tick", lambda: 1 / 0)
    assert False

def test_breaks_the_fixtures_values(memhub_hub, request):
    from memhub.rig.pytest_plugin import _SHOWN
    del request.node.stash[_SHOWN]["hub_log"]
    assert False

def test_another():
    pass
"""


def test_claims_of_addresses_are_shown(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(CLAIMS)
    result = run_inner(pytester, *NEITHER)
    result.assert_outcomes(failed=4)
    lines = result.outlines

    assert lines.count("  claims of addresses") == 4
    assert lines.count("    0xd0000000+4K of Xorg, fence 1, with a lease") == 2
    assert lines.count("    0xe0000000+4K of driver, fence 2") == 2
    assert lines.count("    0xd0000000+4K of Xorg, fence 1") == 2


def test_the_state_is_that_in_which_the_test_failed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(BLOCKS)
    result = run_inner(pytester, *NEITHER)
    result.assert_outcomes(failed=8)
    lines = result.outlines

    assert lines.count("     89 0xd0000000/0x1000 X write-combine active claimed by Xorg") == 6
    assert lines.count("    0xe0000000+4K of driver, fence 2") == 6
    assert lines.count("     89 0xd0000000/0x1000 X write-combine active") == 2


def test_a_report_that_fails_is_shown_as_such_and_loses_no_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(BROKEN)
    result = run_inner(pytester, *NEITHER)

    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        ["machine pc, i386, *", "not shown: ZeroDivisionError: *", "not shown: KeyError: 'hub_log'"]
    )


def test_the_report_fits_80_columns(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.memhub(over="each")
        def test_fails(memhub_client):
            memhub_client("a process of a long name").open().claim(0xD0000000, 0x1000)
            with pytest.raises(OSError):
                memhub_client("driver").open().claim(0xD0000000, 0x1000)
            assert False
        """
    )
    lines = run_inner(pytester, *NEITHER).outlines
    begins = [number for number, line in enumerate(lines) if "- memhub -" in line]
    shown = [list(takewhile(_is_text, lines[it + 1 :])) for it in begins]

    assert len(shown) == 2
    for part in shown:
        assert "EBUSY" in "".join(part)
        assert max(len(line) for line in part) <= 80


def _is_text(line: str) -> bool:
    return line[:2] not in ("==", "__")


def test_a_machine_of_another_kernel_shows_what_that_has(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from memhub import MachineSpec

        LINUX = MachineSpec(name="lin", arch="amd64", kernel="linux-6.18")
        NETBSD = MachineSpec(name="nb", arch="amd64", kernel="netbsd-7")

        @pytest.mark.memhub(machines=[LINUX, NETBSD])
        @pytest.mark.anyio
        async def test_it(memhub_client):
            async with memhub_client("X") as client:
                file = await client.open("lin:/proc/mtrr")
                await file.write(b"base=0xd0000000 size=0x1000000 type=write-combining")
                mem = await client.open("nb:/dev/mem")
                await mem.call_kernel("set", entries=[[0xD0000000, 1 << 24, 1, 5, 0]])
                assert False
        """
    )
    result = run_inner(pytester, *NEITHER, "-k", "asyncio")
    result.stdout.fnmatch_lines(
        [
            "machine lin, amd64*",
            "  ranges of linux-6.18",
            "    reg01 0xd0000000/0x1000000 write-combining, count 1",
            "  effective types",
            "machine nb, amd64*",
            "  ranges of netbsd-7",
            "    0xd0000000/0x1000000 type 1, private to process *",
            '*kernel.call write lin X {"data":"base=0xd0000000*',
            '*kernel.call set nb X {"entries":*',
            '      {"done":1}',
        ]
    )
    result.stdout.no_fnmatch_line("*64 slots*")
