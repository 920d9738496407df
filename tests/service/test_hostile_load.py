"""Clients that use all they can get: another client is answered within 50 ms all the while.

What is measured: a bystander in a process of its own makes GETs and SETs on the machine under
load and on another one, and takes the time of each answer. From it is taken for how long the
bystander and the service were ready to run in that time and the host gave them no processor
(`/proc/PID/schedstat`): that depends on what else the host does. The test prints both figures.

The host shows in other ways too: a hypervisor takes the processor away, and a neighbour makes all
memory slow. So the best of some rounds counts, each with a new service. That mends a bad moment and
not a bad host: with six other programs at work, the service took 60 to 100 ms of processor time for
the answers of "one page", for which it takes 20 ms alone.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from memhub.service.blocking import BlockingClient
from rounds import rounds
from service.process_rig import Script, Served
from service.test_load import resident, wait_until

if TYPE_CHECKING:
    from pathlib import Path

WORST_MS = 50

CONFIG = """
default = "pc"
[machines.pc]
arch = "amd64"
phys_bits = 36
memory = [{ base = 0x0, length = "64M" }]
[machines.old]
arch = "amd64"
phys_bits = 36
memory = [{ base = 0x0, length = "16M" }]
[service.tcp]
port = 0
token_file = "tokens"
"""

BYSTANDER = """
import gc, json, os, select, sys, time
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.service.blocking import BlockingClient
client = BlockingClient(sys.argv[1], label="bystander")
files = {name: client.open(name + ":/dev/mem") for name in ("pc", "old")}
clocks = [os.open(f"/proc/{pid}/schedstat", os.O_RDONLY) for pid in ("self", sys.argv[2])]
def held_up():
    return sum(int(os.pread(clock, 99, 0).split()[1]) for clock in clocks) / 1e9
raw, net, asked, turn = {}, {}, 0, 0
def timed(what, ask):
    wait, began = held_up(), time.perf_counter()
    ask()
    took = time.perf_counter() - began
    raw[what] = round(max(raw.get(what, 0.0), took * 1000), 1)
    net[what] = round(max(net.get(what, 0.0), (took - held_up() + wait) * 1000), 1)
gc.disable()
while not select.select([sys.stdin], [], [], 0.001)[0]:
    turn += 1
    for name, file in files.items():
        flags = MDF_UNCACHEABLE if turn % 2 else MDF_WRITECOMBINE
        timed("get " + name, file.ranges)
        timed("set " + name, lambda: file.set_range(0xF0000000, 1 << 20, flags, owner="bystand"))
    asked += 4
    if turn == 50:
        print("ready", flush=True)
print(json.dumps({"asked": asked, "raw": raw, "net": net}), flush=True)
"""

HOSTILE = """
import socket, sys
from memhub.abi import LP64
from memhub.service import wire
address = sys.argv[1].removeprefix("unix:")
class Client:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(address)
        self.protocol, self.counts = wire.ClientProtocol(), {}
        self.socket.sendall(self.protocol.hello("hostile"))
        while self.protocol.welcome is None:
            self.take()
        self.counts = {}
    def take(self):
        messages = self.protocol.receive(self.socket.recv(1 << 20))
        for it in messages:
            name = it.name if isinstance(it, wire.Error) else type(it).NAME
            if not isinstance(it, wire.Data) or it.last:
                self.counts[name] = self.counts.get(name, 0) + 1
        return messages
    def ask(self, *messages):
        "Pipeline requests, as many as may be in flight, and take all the answers."
        left = list(messages)[::-1]
        while left or self.protocol.in_flight:
            self.post(left)
            self.take()
    def post(self, left):
        frames = []
        while left and len(self.protocol.in_flight) < 64:
            frames += self.protocol.send(left.pop())
        self.socket.sendall(b"".join(frames))
    def open(self, path="pc:/dev/mem", count=1):
        self.ask(*(wire.Open(0, 3, 0, path) for _ in range(count)))
        return 1
def set_range(base, **more):
    desc = LP64.desc.pack(base, MIB, 1, b"hostile")
    return wire.Ioctl(0, 1, LP64.set[0], LP64.op.pack(1, 0, 0), desc, **more)
def told(what):
    print(what, flush=True)
    return sys.stdin.readline()
MIB = 1 << 20
"""

LOADS = {
    "silent": """
host, _, port = sys.argv[2].removeprefix("tcp:").rpartition(":")
silent = []
for _ in range(400):
    silent.append(socket.create_connection((host, int(port))))
clients = [Client() for _ in range(160)]
for client in clients:
    client.open()
    assert client.counts == {"OPENED": 1}, client.counts
told("at work")
""",
    "subscribe": """
client = Client()
client.ask(*(wire.Subscribe(0, 64, 0, 0, "") for _ in range(20000)))
assert client.counts["DONE"] == 16 and client.counts["ENOSPC"] == 20000 - 16, client.counts
told("at work")
""",
    "unread": """
clients = [Client() for _ in range(32)]
for client in clients:
    client.ask(*(wire.Subscribe(0, 1024, 0, 0, "") for _ in range(16)))
told("at work")
""",
    "claims": """
clients = [Client() for _ in range(40)]
for number, client in enumerate(clients):
    client.open()
    first = number * 250 if number else 0
    count = 250 if number else 10000
    client.ask(*(wire.Claim(0, 1, 0, 0, (first + it) << 12, 4096) for it in range(count)))
assert clients[0].counts["ENOSPC"] > 0
for client in clients[:4]:
    client.ask(*(wire.Report(0, "", "") for _ in range(60)))
told("at work")
""",
    "waits": """
holder = Client()
holder.open()
holder.ask(*(wire.Claim(0, 1, 0, 0, it << 20, MIB) for it in range(200)))
clients = [Client() for _ in range(150)]
for number, client in enumerate(clients):
    client.open()
    waits = [wire.Claim(0, 1, 0, 0xFFFFFFFF, ((number * 16 + it) % 200) << 20, 4096)
             for it in range(8)]
    waits += [wire.Wait(0, 1, (number % 200) << 20, MIB, 0xFFFFFFFF) for it in range(4)]
    waits += [set_range((100 + number) << 20, wait_ms=0xFFFFFFFF) for it in range(4)]
    client.post(waits[::-1])
for it in range(200):
    holder.ask(wire.Release(0, 1, it << 20, MIB, 0))
told("at work")
""",
    "one page": """
for turn in range(4):
    holder = Client()
    holder.open()
    holder.ask(wire.Claim(0, 1, 0, 0, 4096, 4096))
    clients = [Client() for _ in range(100)]
    for client in clients:
        client.open()
        client.post([wire.Wait(0, 1, 4096, 4096, 0xFFFFFFFF) for _ in range(16)])
    holder.ask(wire.Release(0, 1, 4096, 4096, 0))
    for client in clients:
        while client.protocol.in_flight:
            client.take()
        assert client.counts["DONE"] == 16, client.counts
        client.socket.close()
    holder.socket.close()
told("at work")
""",
    "close": """
for number in range(20):
    client = Client()
    client.open(count=256)
    first = number * 256
    client.ask(*(wire.Claim(0, 1, 0, 0, (first + it) << 12, 4096) for it in range(256)))
    client.ask(*(wire.Subscribe(0, 1024, 0, 0, "") for _ in range(16)))
    counts = [client.counts[it] for it in ("OPENED", "CLAIMED", "DONE")]
    assert counts == [256, 256, 16], counts
    client.socket.close()
told("at work")
""",
}


class Round(NamedTuple):
    """What one round measured.

    Args:
        seen: what the bystander measured.
        grown: bytes of memory that the service has more than before.
    """

    seen: dict[str, Any]
    grown: int

    @property
    def worst(self) -> float:
        """Milliseconds of the bystander's longest answer."""
        return float(max(self.seen["net"].values()))


def play(folder: Path, backend: str, load: str) -> Round:
    """Start a service and a bystander, and put the load on."""
    with Served(folder, "--backend", backend) as service:
        tcp = next(it for it in service.ready().split() if it.startswith("tcp:")).rstrip(",")
        address, pid = f"unix:{service.socket}", service.process.pid
        with Script(BYSTANDER, address, str(pid)) as bystander:
            assert bystander.line() == "ready"  # it has been answered 200 times
            before = resident(pid)
            with Script(HOSTILE + LOADS[load], address, tcp) as hostile:
                assert hostile.line() == "at work"
                time.sleep(3)
                grown = resident(pid) - before

            with BlockingClient(address) as watch:  # also while all that is ended
                wait_until(lambda: watch.report("rates")["service"]["connections"] == 2)
                assert watch.report("claims,waits")["machines"][0]["waits"] == []
                assert len(watch.report("claims")["machines"][0]["claims"]) == 1

            bystander.say("stop")

            return Round(json.loads(bystander.line()), grown)


def laboratory(folder: Path) -> Path:
    """A folder with what a service needs."""
    folder.mkdir()
    (folder / "lab.toml").write_text(CONFIG)
    tokens = folder / "tokens"
    tokens.write_text("rig:sixteen-characters\n")
    tokens.chmod(0o600)

    return folder


@pytest.mark.campaign
@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("load", LOADS)
def test_a_bystander_is_answered_at_once(tmp_path: Path, backend: str, load: str) -> None:
    played: list[Round] = []

    def measure() -> float:
        folder = laboratory(tmp_path / str(len(played)))
        played.append(play(folder, backend, load))
        sys.stdout.write(f"\n{load} on {backend}: {played[-1]}\n")

        return played[-1].worst

    assert min(rounds(measure, WORST_MS, most=10)) <= WORST_MS
    for it in played:
        assert it.seen["asked"] > 600
        assert it.grown < 128 << 20
