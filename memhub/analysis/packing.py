"""Records sorted into spools by machine and day, and the spools into Parquet files.

This thread reads and checks the next lines while another has DuckDB convert those before.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from memhub.analysis.manifest import Chain, LogState, Manifest, PackedFile
from memhub.analysis.spools import Converter, Spool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from memhub.analysis.sound_lines import Block

#: A spool becomes a file at this many bytes, and the largest at this many of all.
SPOOL_SIZE: Final = 64 << 20
ALL_SPOOLS: Final = 512 << 20

#: Bytes of a spool that are written at once: many short writes take twice the time.
STORED_AT: Final = 256 << 10

#: Files that are open at most.
MAX_SPOOLS: Final = 128

#: Names of machines that are remembered.
MAX_NAMES: Final = 1 << 16

#: Conversions that may wait.
_WAITING: Final = 2

_DAY_NS: Final = 86_400_000_000_000
_EPOCH: Final = date(1970, 1, 1).toordinal()

#: Records behind which a hub starts, and all after which something may have started.
_OPENS: Final = frozenset({"log.open", "log.resume"})
_TABLES: Final = frozenset({"device.attach", "device.restore", "held.machine"})
_CHANGES_START: Final = frozenset({*_OPENS, *_TABLES, "held.part"})

#: Machine and day; machine alone or neither where they are not kept apart.
Key = tuple[str | None, int]


class Packing:
    """One transaction: what it makes lies in a folder of its own until it is complete.

    Args:
        manifest: what the set holds; it is brought up to date in place.
        folder: for what is made.
        divided: whether machines and days get files of their own.
        memory: the most memory that DuckDB takes.

    Attributes:
        made: the files so far.
    """

    def __init__(self, manifest: Manifest, folder: Path, *, divided: bool, memory: str) -> None:
        self.made: list[PackedFile] = []
        self._manifest = manifest
        self._folder = folder
        self._divided = divided
        self._spools: dict[Key, Spool] = {}
        self._numbers = 0
        self._engine = Converter(folder, memory)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="memhub-pack")
        self._waiting: list[Future[None]] = []
        self._log = LogState()
        self._begins = False
        self._tells: tuple[int, bool] | None = None
        self._names: dict[bytes, str] = {}
        self._name = self._source = ""

    # Logs

    def begin(self, log: str, source: str, chain: Chain | None, first: int) -> Chain:
        """Take lines of a log from now on.

        Args:
            log: its identity.
            source: what it is called in messages.
            chain: the chain that they are of; None for a new one.
            first: `seq` of the first record of a new one.
        """
        self._name, self._source = log, source
        self._log = state = self._manifest.logs.setdefault(log, LogState())
        if chain is None:
            chain = Chain(first, state.n - (first - 1), first - 1, "")
            state.chains.append(chain)

        return chain

    def is_last(self, chain: Chain) -> bool:
        """Whether a chain is the last one of its log."""
        return self._log.chains[-1] is chain

    def add(self, block: Block, chain: Chain, start: int = 0) -> None:
        """Take the records of a block.

        Args:
            block: the records.
            chain: which chain of the log they belong to.
            start: the index of the first that is taken.
        """
        begin = start
        for index, record in block.records.items():
            if index >= start and record["event"] in _CHANGES_START:
                self._add_lines(block, chain, begin, index)
                self._note_start(record)
                begin = index

        self._add_lines(block, chain, begin, len(block.lines))
        self._store()

    def _add_lines(self, block: Block, chain: Chain, begin: int, end: int) -> None:
        """Take some records between which nothing starts."""
        if begin == end:
            return

        lines, seqs = block.lines[begin:end], block.seqs[begin:end]
        walls, machines = block.walls[begin:end], block.machines[begin:end]
        day = min(walls) // _DAY_NS
        places: Sequence[Any] = machines
        one = max(walls) // _DAY_NS == day
        if not one:
            places = [*zip(machines, (wall // _DAY_NS for wall in walls), strict=True)]

        # the places in the order in which they come
        last = dict(zip(places, seqs, strict=True))
        parts = _part_lines(places, lines) if self._divided else {places[-1]: lines}
        for place, seq in last.items():
            machine, number = (place, day) if one else place
            key = (self._name_of(machine), number)
            spool = self._spool(key, seqs[places.index(place)], chain)
            spool.last = max(spool.last, seq)
            spool.add(parts.get(place, ()))

        self._log.n += end - begin
        chain.seq, chain.hash = seqs[-1], block.digests[end - 1]

    def end(self) -> None:
        """Close the log; what follows is another."""
        for key in [*self._spools]:
            self._convert(key)

    def finish(self) -> None:
        """Wait until everything is converted."""
        self.end()
        while self._waiting:
            self._waiting.pop(0).result()

        self.made.sort(key=lambda it: (it.log, it.chain, it.first))

    def close(self) -> None:
        """End the threads and the engine, whatever has happened."""
        self._worker.shutdown(wait=True, cancel_futures=True)
        for spool in self._spools.values():
            spool.close()
        self._engine.close()

    def _name_of(self, quoted: bytes | None) -> str | None:
        """A machine's name, given as JSON."""
        if quoted is None:
            return None

        name = self._names.get(quoted)
        if name is None:
            name = str(orjson.loads(quoted))
            if len(self._names) < MAX_NAMES:
                self._names[quoted] = name

        return name

    # Starts

    def _note_start(self, record: dict[str, Any]) -> None:
        """Count starts of the hub and of machines.

        A table that a segment or a rotated file begins with is no start of a machine that is
        known.
        """
        state = self._log
        if record["event"] in _OPENS:
            state.opened = True
            return

        machine = record["machine"]
        if record["event"] == "held.part":
            self._note_part(machine)
            return

        told_again = record["event"] != "device.attach" or record.get("cause") is not None
        goes_on = told_again and machine in state.starts
        if not goes_on and (state.opened or not state.run):
            state.run += 1
            self.end()

        if not goes_on:
            state.starts[machine] = state.starts.get(machine, 0) + 1
            for key in [key for key, it in self._spools.items() if machine in it.starts]:
                self._convert(key)

        state.opened = False
        self._begins = not goes_on
        self._expect_parts(record, goes_on=goes_on)

    def _expect_parts(self, record: dict[str, Any], *, goes_on: bool) -> None:
        """Note whether the records that follow tell something new of a machine."""
        parts, machine = self._log.parts, record["machine"]
        parts.pop(machine, None)
        returned = record["event"] == "device.restore"
        if record.get("count") and (returned or not goes_on):
            whole = not goes_on or record["cause"] == "fork"
            parts[machine] = (self._log.n + 1, record["count"], whole)

    def _note_part(self, machine: str) -> None:
        parts = self._log.parts
        if machine in parts:
            n, left, whole = parts.pop(machine)
            self._tells = (n, whole)
            if left > 1:
                parts[machine] = (n, left - 1, whole)

    # Spools

    def _spool(self, key: Key, seq: int, chain: Chain) -> Spool:
        """The spool of a record, with what is added to that."""
        machine, day = key
        place = key if self._divided else (None, 0)
        spool = self._spools.get(place)
        if spool is None:
            spool = self._spools[place] = self._open(machine, day, seq, chain)

        start = self._log.starts.get(machine) if machine is not None else None
        if machine is not None and start is not None:
            spool.starts[machine] = start
            if self._begins:
                spool.begun.append(seq)

            if self._tells is not None:
                spool.told[seq] = self._tells

        self._begins, self._tells = False, None

        return spool

    def _open(self, machine: str | None, day: int, seq: int, chain: Chain) -> Spool:
        self._numbers += 1
        number = self._log.chains.index(chain) + 1
        name = f"{_short(self._name)}-{number:04}-{seq:012}.parquet"
        target = f"{_day(day)}/{_folder(machine)}/{name}" if self._divided else name
        path = self._folder / f"{self._numbers:08}.jsonl"

        return Spool(
            path, target, self._source, self._name, number, chain.before, self._log.run, seq
        )

    def _store(self) -> None:
        """Write what waits, and convert what has become large."""
        for key, spool in [*self._spools.items()]:
            if spool.waiting >= STORED_AT:
                spool.store()
            if spool.size >= SPOOL_SIZE:
                self._convert(key)

        sizes = {key: spool.size for key, spool in self._spools.items()}
        while sizes and (sum(sizes.values()) > ALL_SPOOLS or len(sizes) > MAX_SPOOLS):
            largest = max(sizes, key=lambda key: sizes[key])
            del sizes[largest]
            self._convert(largest)

    def _convert(self, key: Key) -> None:
        spool = self._spools.pop(key)
        spool.close()
        file = PackedFile(spool.target, spool.log, spool.chain, spool.first, spool.last, spool.rows)
        self.made.append(file)
        while len(self._waiting) >= _WAITING:
            self._waiting.pop(0).result()

        into = self._folder / "made" / spool.target
        self._waiting.append(self._worker.submit(self._engine.convert, spool, into))


def _part_lines(places: Sequence[Any], lines: Sequence[bytes]) -> dict[Any, list[bytes]]:
    """The lines of each place."""
    parts: dict[Any, list[bytes]] = {place: [] for place in places}
    for place, line in zip(places, lines, strict=True):
        parts[place].append(line)

    return parts


def _short(log: str) -> str:
    return sha256(log.encode(errors="surrogatepass")).hexdigest()[:12]


def _day(number: int) -> str:
    return f"day={date.fromordinal(_EPOCH + number).isoformat()}"


def _folder(machine: str | None) -> str:
    """A machine's name as that of a folder."""
    if machine is None:
        return "-"

    name = quote(machine, safe="", errors="replace").replace(".", "%2E")

    return name if 0 < len(name) <= 200 else _short(machine)
