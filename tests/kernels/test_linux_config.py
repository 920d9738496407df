"""How a machine names its kernel, in a file and in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kernels.linux_kit import FIRST, text_of
from memhub import Hub
from memhub.arches import load_arches
from memhub.config import ConfigError, load_config
from memhub.core.spec import MachineSpec

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
