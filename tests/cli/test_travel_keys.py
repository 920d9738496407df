"""`--key` of `memhub audit state`, `diff`, `blame` and `restore`: seals are checked on the way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub import AuditLog, Hub
from memhub.abi import MDF_WRITECOMBINE
from memhub.audit import DamagedLog, read_records
from memhub.audit.history.restore import restore_machines
from memhub.audit.history.travel import Travel, state_at
from memhub.audit.reading.source import open_source
from memhub.audit.seals.note_keys import SigningKey
from shell.kit import ARCHES, PAT, M

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run

KEY = SigningKey.generate("lab.example/bench")
PUBLIC = KEY.verifier().text()
OTHER = SigningKey.generate("lab.example/other").verifier()


async def _fill(path: str, *, rotate: bool) -> None:
    with AuditLog.open(path, key=KEY) as log:
        async with Hub((PAT,), log=log, arches=ARCHES) as hub:
            file = await hub.open("/dev/mem", "r+")
            for number in range(8):
                await file.set_range((8 + number % 2) * M, 1 * M, MDF_WRITECOMBINE)
                await file.remove_range((8 + number % 2) * M, 1 * M)
                if rotate and number % 3 == 2:
                    assert hub.log_keeper is not None
                    hub.log_keeper.rotate()
                elif number == 5:
                    log.seal()

            await file.set_range(8 * M, 1 * M, MDF_WRITECOMBINE)
            file.close()


@pytest.fixture(params=["file", "folder"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A sealed log: one file with two seals, or a folder of three segments."""
    folder = request.param == "folder"
    path = tmp_path / ("log" if folder else "log.jsonl")
    anyio.run(lambda: _fill(f"{path}/" if folder else str(path), rotate=folder))

    return path


def ask(verb: str, log: Path, key: str, at: int = 12) -> tuple[str, ...]:
    arguments = {
        "state": (str(log), "--at", str(at)),
        "diff": (str(log), "6", str(at)),
        "blame": (str(log), "0x800000", "--at", str(at)),
    }[verb]

    return ("audit", verb, *arguments, "--key", key)


def last_file(log: Path) -> Path:
    return log if log.is_file() else max(log.iterdir())


def rewrite(log: Path) -> None:
    """Alter a record and compute all later hashes anew, as somebody with the log can."""
    from hashlib import sha256

    import orjson

    prev, seen = None, 0
    for path in [log] if log.is_file() else sorted(log.iterdir()):
        lines = []
        with open_source(path) as source:
            data = b"".join(source.blocks())

        for line in data.splitlines():
            record = orjson.loads(line)
            if prev is not None:
                record["prev"] = prev
            if record.get("process") is not None and record["event"] == "request.set":
                record["process"] = "innocent"
                seen += 1

            del record["hash"]
            body = orjson.dumps(record)[:-1]
            prev = sha256(body).hexdigest()
            lines.append(body + b',"hash":"%b"}\n' % prev.encode())

        path.unlink()
        path.with_name(path.name.removesuffix(".zst")).write_bytes(b"".join(lines))

    assert seen


@pytest.mark.parametrize("verb", ["state", "diff", "blame"])
def test_a_sealed_log_is_answered_from_and_a_rewritten_one_is_refused(
    run: Run, log: Path, verb: str
) -> None:
    code, out, err = run(*ask(verb, log, PUBLIC))
    assert (code, err) == (0, "")
    assert out == run(*ask(verb, log, PUBLIC)[:-2]).out
    assert "behind the last seal" not in out

    rewrite(log)
    assert run(*ask(verb, log, PUBLIC)[:-2], "--unverified").code == 0
    code, out, err = run(*ask(verb, log, PUBLIC))
    assert (code, out) == (1, "")
    assert "the records before the seal are not those that were sealed" in " ".join(err.split())


@pytest.mark.parametrize("verb", ["state", "diff", "blame"])
def test_another_key_is_refused(run: Run, log: Path, verb: str) -> None:
    code, out, err = run(*ask(verb, log, OTHER.text()))
    assert (code, out) == (1, "")
    assert "not sealed with that key" in " ".join(err.split())


def test_a_moment_behind_the_last_seal_is_answered_with_a_note(run: Run, log: Path) -> None:
    path = last_file(log)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    last = json.loads(lines[-2])["seq"]
    state = json.loads(run("audit", "state", log, "--key", PUBLIC, "--json").out)
    blame = json.loads(run("audit", "blame", log, "8M", "--key", PUBLIC, "--json").out or "[]")

    assert any(f"record {last} is behind the last seal" in it for it in state["notes"])
    assert all("behind" in it["note"] for it in blame)
    assert any("behind" in it for it in restore_machines(log, keys=[KEY.verifier()]).notes)


def test_damage_behind_the_seal_that_covers_the_moment_does_not_matter(log: Path) -> None:
    path = last_file(log)
    data = path.read_bytes()
    path.write_bytes(data[:-200] + b"#" + data[-199:])

    assert state_at(log, 6, keys=[KEY.verifier()]).seq == 6
    with pytest.raises(DamagedLog):
        state_at(log, keys=[KEY.verifier()])


@pytest.mark.campaign
def test_the_state_at_every_record_is_the_same_with_a_key(log: Path) -> None:
    seqs = [record["seq"] for record in read_records(log)]
    for seq in seqs[3:]:
        plain, sealed = state_at(log, seq), state_at(log, seq, keys=[KEY.verifier()])
        assert plain.facts() == sealed.facts()


def test_many_moments_in_one_pass_are_checked_too(log: Path) -> None:
    keys = [KEY.verifier()]
    states = Travel(log, keys=keys).states([6, 9, 12])
    assert [it.notes for it in states] == [()] * 3

    rewrite(log)
    with pytest.raises(DamagedLog, match="sealed"):
        Travel(log, keys=keys).states([6, 9, 12])


def test_restore_refuses_a_log_that_was_rewritten(run: Run, log: Path, tmp_path: Path) -> None:
    rewrite(log)
    code, _, err = run(
        "audit", "restore", log, "--socket", tmp_path / "s", "--key", PUBLIC, "--at", "12"
    )

    assert code == 1
    assert "are not those that were sealed" in " ".join(err.split())
    assert not (tmp_path / "s").exists()


def test_a_key_and_unverified_exclude_each_other(run: Run, log: Path) -> None:
    code, out, err = run("audit", "state", log, "--key", PUBLIC, "--unverified")
    assert (code, out) == (2, "")
    assert "--unverified" in err
