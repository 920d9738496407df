"""ps(1) on the simulated kernel of a machine: the list `allproc`, by the kernel's own types.

The processes are read through kvm(3) as FreeBSD's ps(1) reads those of a crash dump: the symbol
`allproc` says where the list begins, and the debug information of the kernel says where the members
of `struct proc` are. Run it on a core that `memhub image save` has written:

    python examples/ps.py KERNEL CORE
"""

import sys
from typing import NamedTuple

from memhub.kvm import KernelTypes, Kvm, KvmError, open_image

STATES = ("new", "run", "zombie")


class Row(NamedTuple):
    """One process."""

    pid: int
    ppid: int
    uid: int
    state: str
    command: str


def processes(kd: Kvm, types: KernelTypes) -> list[Row]:
    """The processes of a kernel, in the order of its list."""
    proc, cred = types["struct proc"], types["struct ucred"]
    (head,) = kd.nlist(["_allproc"])
    if not head.found:
        raise KvmError(kd.geterr())

    rows = []
    seen = set()
    address = read_value(kd, types["struct proclist"], head.n_value)["lh_first"]
    while address:
        if address in seen:
            raise KvmError(f"allproc goes in a circle at {address:#x}")

        seen.add(address)
        found = read_value(kd, proc, address)
        parent = read_value(kd, proc, found["p_pptr"])["p_pid"] if found["p_pptr"] else 0
        uid = read_value(kd, cred, found["p_ucred"])["cr_uid"]
        command = found["p_comm"].decode("latin-1")
        rows.append(Row(found["p_pid"], parent, uid, STATES[found["p_state"]], command))
        address = found["p_list"]["le_next"]

    return rows


def read_value(kd, kind, address):
    """A value of a type in kernel memory."""
    data = kd.read(address, kind.size)
    if len(data) < kind.size:
        raise KvmError(f"{kind.name} at {address:#x}: {kd.geterr()}")

    return kind.decode(data)


def show(rows):
    """The rows as ps(1) prints them."""
    yield "  PID  PPID   UID STATE   COMMAND"
    for row in rows:
        yield f"{row.pid:5} {row.ppid:5} {row.uid:5} {row.state:7} {row.command}"


def main(kernel: str, core: str) -> None:
    """Print the processes of a core."""
    with open_image(core, symbols=kernel) as kd:
        for line in show(processes(kd, KernelTypes(kernel))):
            print(line)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python ps.py KERNEL CORE")

    try:
        main(*sys.argv[1:])
    except (KvmError, ValueError, LookupError, OSError) as error:
        sys.exit(f"ps: {error}")
