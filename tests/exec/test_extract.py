"""An unmodified program asks MEM_EXTRACT_PADDR of a machine."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

from kvm.kernel_rig import APART, kernel_machine
from memhub.exec import run
from memhub.exec.over_client import ClientBackend
from memhub.service.local import LocalClient

if TYPE_CHECKING:
    import pytest

PATHS = {"/dev/mem": "pc:/dev/mem", "/dev/kmem": "old:/dev/kmem"}
PROGRAM = f"""
    import errno, fcntl, os, struct
    for path in "/dev/mem", "/dev/kmem":
        fd = os.open(path, os.O_RDONLY)
        argument = bytearray(struct.pack("QQii40x", {APART + 5:#x}, 0, 7, 7))
        try:
            fcntl.ioctl(fd, 0xC0406D34, argument)
            print(*map(hex, struct.unpack("QQii40x", argument)))
        except OSError as error:
            print(errno.errorcode[error.errno])
"""


def test_a_program_gets_the_physical_address(
    facility: None, capfd: pytest.CaptureFixture[str]
) -> None:
    specs = (kernel_machine(options={"release": "14"}), kernel_machine("old"))
    code = textwrap.dedent(PROGRAM)
    with LocalClient(specs, name="prog") as client:
        capfd.readouterr()
        argv = (sys.executable, "-I", "-S", "-c", code)
        status = run(argv, ClientBackend(client, PATHS), device_names=PATHS)

    lines = capfd.readouterr().out.splitlines()
    assert status == 0
    assert lines == [f"{APART + 5:#x} 0x300005 0x0 0x2", "ENOTTY"]
