"""How a machine names its kernel, in a file and in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kernels.linux_kit import FIRST, text_of
from memhub import Hub
from memhub.arches import load_arches
from memhub.config import ConfigError, load_config, to_toml
from memhub.core.spec import MachineSpec
from memhub.errors import NoSuchDevice

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            'kernel = "linux"',
            (
                "kernel: kernel 'linux' is not installed (installed: freebsd, linux-2.6.32, "
                "linux-6.18, netbsd-7)"
            ),
        ),
        (
            'kernel = "linux-6.18"\nkernel_options = {foo = 1}',
            "machines.pc.kernel_options.foo: is not an option of Linux",
        ),
        ("kernel_options = {cmdline = ''}", "FreeBSD takes its options in `options`"),
    ],
)
async def test_a_wrong_kernel_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(f'[machines.pc]\narch = "amd64"\n{text}\n')
    with pytest.raises(ConfigError) as wrong:
        load_config(path, arches=load_arches())

    assert why in str(wrong.value)


async def test_keys_of_an_option_in_python_are_texts() -> None:
    options = {"cpus": {1: {0x2FF: 0x800}}}
    spec = MachineSpec(name="pc", arch="amd64", kernel="linux-6.18", kernel_options=options)
    with pytest.raises(ValueError, match="has the key 1, which is no text: '0x1'"):
        Hub([spec])


async def test_a_file_names_the_kernel_and_its_options(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(
        '[machines.pc]\narch = "amd64"\nkernel = "linux-6.18"\n'
        '[machines.pc.kernel_options]\ncmdline = "mtrr=debug"\n'
    )
    spec = load_config(path, arches=load_arches()).machines["pc"]
    async with Hub([spec]) as hub:
        assert await text_of(hub) == FIRST
        assert ("info", "MTRR variable ranges enabled:") in hub.kernels.of("pc").boot_log


async def test_linux_needs_an_x86_machine() -> None:
    with pytest.raises(ValueError, match="Linux is served on x86 machines"):
        Hub([MachineSpec(name="pc", arch="powerpc", kernel="linux-6.18")])


@pytest.mark.parametrize(
    "options",
    [
        {"guest": {"kind": "snp", "default": 6}},
        {"features": ["pat"]},
        {"features": []},
    ],
)
async def test_without_ranges_of_its_own_there_is_no_file(options: dict[str, Any]) -> None:
    spec = MachineSpec(name="pc", arch="amd64", kernel="linux-6.18", kernel_options=options)
    async with Hub([spec]) as hub:
        with pytest.raises(NoSuchDevice):
            await hub.open("pc:/proc/mtrr")


async def test_cpus_that_firmware_left_different_are_told_and_made_alike() -> None:
    options = {"cpus": {"1": {"0x2ff": "0x0", "0x201": 0}}}
    spec = MachineSpec(name="pc", arch="amd64", kernel="linux-6.18", kernel_options=options)
    async with Hub([spec]) as hub:
        served = hub.kernels.of("pc")
        assert ("warn", "mtrr: your CPUs had inconsistent variable MTRR settings") in (
            served.boot_log
        )
        assert served.state.cpus[1] == served.state.cpus[0]


async def test_firmware_options_are_written_to_a_file_and_read_back(tmp_path: Path) -> None:
    options = {
        "guest": {"kind": "hyperv", "hypervisor": True, "default": 6, "variable": [[6, 0x800]]},
        "cpus": {"1": {"0x2ff": "0x800"}},
        "conf": {"0xc4": 0xE0},
        "mcr": [[0, 1, 2]],
        "width_leaf": False,
    }
    spec = MachineSpec(name="pc", arch="i386", kernel="linux-2.6.32", kernel_options=options)
    path = tmp_path / "m.toml"
    path.write_text(to_toml(spec))
    assert load_config(path, arches=load_arches()).machines["pc"].kernel_options == options
