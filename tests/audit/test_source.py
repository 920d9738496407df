"""A log is read from whatever gives its bytes: a file, a pipe, standard input, compressed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import threading
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from audit.conftest import Opener, event
from cli.conftest import run as run
from memhub.audit import AuditError, read_records, summary, verify
from memhub.audit.reading.source import load_zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clirun import Run

VERBS = ["verify", "summary", "show"]
FORMS = ["plain", "gzip"]


def piped(verb: str, name: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "memhub", "audit", verb, name],
        input=data,
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
@pytest.mark.parametrize("form", FORMS)
def test_a_pipe_says_what_the_file_says(
    path: Path, small: bytes, run: Run, verb: str, name: str, form: str
) -> None:
    done = piped(verb, name, gzip.compress(small) if form == "gzip" else small)
    of_file = run("audit", verb, path).out.encode()

    assert (done.returncode, done.stderr) == (0, b"")
    called = b"standard input" if name == "-" else name.encode()
    assert of_file.replace(str(path).encode(), called) == done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_standard_input_that_is_a_file_is_read_from_where_it_stands(
    path: Path, small: bytes, verb: str
) -> None:
    path.write_bytes(b"not this" + small)
    with path.open("rb") as file:
        os.lseek(file.fileno(), 8, os.SEEK_SET)
        done = subprocess.run(
            [sys.executable, "-m", "memhub", "audit", verb, "-"],
            stdin=file,
            capture_output=True,
            check=False,
            timeout=60,
        )

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_fifo_verifies_and_reads(tmp_path: Path, small: bytes) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reads: list[Callable[[], int]] = [
        lambda: verify(fifo).records,
        lambda: len(list(read_records(fifo))),
        lambda: summary(fifo).records,
    ]
    for read in reads:
        writer = threading.Thread(target=fifo.write_bytes, args=(small,))
        writer.start()
        assert read() == 6
        writer.join()


def test_a_pipe_that_hands_over_byte_by_byte_and_does_not_block_is_read(small: bytes) -> None:
    for data in (small, gzip.compress(small)):
        reader, writer = os.pipe()
        os.set_blocking(reader, False)

        def feed(writer: int = writer, data: bytes = data) -> None:
            for byte in data:
                os.write(writer, bytes([byte]))
            os.close(writer)

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            verdict = verify(f"/dev/fd/{reader}")
        finally:
            thread.join()
            os.close(reader)

        assert (verdict.ok, verdict.records, verdict.size) == (True, 6, len(small))


def test_a_torn_line_in_a_pipe_is_torn(small: bytes) -> None:
    done = piped("verify", "-", small[:-1])

    assert done.returncode == 1
    assert b"standard input: broken after 5 records: line 6, " in done.stdout
    assert b"the last line is unfinished" in done.stdout


def test_an_empty_pipe_is_no_log() -> None:
    done = piped("verify", "-", b"")

    assert done.returncode == 1
    assert b"the log is empty" in done.stdout


@pytest.fixture
def zipped(tmp_path: Path, small: bytes) -> Path:
    path = tmp_path / "audit.jsonl.1"
    path.write_bytes(gzip.compress(small))

    return path


def test_gzip_is_known_by_its_first_bytes(zipped: Path, small: bytes) -> None:
    seen: list[tuple[int, int]] = []
    verdict = verify(zipped, progress=lambda done, total: seen.append((done, total)))

    assert (verdict.ok, verdict.records, verdict.size) == (True, 6, len(small))
    assert seen[-1] == (zipped.stat().st_size, zipped.stat().st_size)
    assert [r["seq"] for r in read_records(zipped)] == [1, 2, 3, 4, 5, 6]


def test_members_follow_one_another_and_zeros_are_padding(zipped: Path, small: bytes) -> None:
    halves = gzip.compress(small[:700]) + b"\0" * 100 + gzip.compress(small[700:])
    zipped.write_bytes(halves + b"\0" * 512)

    assert (verify(zipped).ok, summary(zipped).records) == (True, 6)


def test_an_altered_record_in_gzip_is_located(zipped: Path, small: bytes) -> None:
    zipped.write_bytes(
        gzip.compress(small.replace(b'"base":2199023255552', b'"base":2199023255553'))
    )
    broken = verify(zipped).broken

    assert broken is not None
    assert (broken.kind, broken.line) == ("hash", 4)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "the gzip data end early"),
        (lambda data: data[:-6] + b"xxxxxx", "the gzip data are damaged"),
        (lambda data: data + b"more", "the gzip data are damaged"),
        (lambda data: data[:40] + b"\xff" * 9 + data[49:], "the gzip data are damaged"),
    ],
)
def test_damaged_gzip_is_no_broken_chain(zipped: Path, damage: object, words: str) -> None:
    assert callable(damage)
    zipped.write_bytes(damage(zipped.read_bytes()))
    for read in (verify, summary, lambda path: list(read_records(path))):
        with pytest.raises(AuditError, match=rf"audit log not read: line \d: {words}") as caught:
            read(zipped)
        assert str(caught.value).startswith(str(zipped))


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_other_compression_is_named(zipped: Path, small: bytes, pack: object) -> None:
    assert callable(pack)
    zipped.write_bytes(pack(small))
    for read in (verify, summary):
        with pytest.raises(AuditError, match=r"compressed with (xz|bzip2); decompress it into"):
            read(zipped)


def test_zstd_is_read_frame_by_frame_and_a_torn_one_is_named(zipped: Path, small: bytes) -> None:
    zstd = load_zstd()
    frames = [zstd.compress(part) for part in (small[:900], small[900:])]
    zipped.write_bytes(b"".join(frames))

    assert (verify(zipped).ok, summary(zipped).records) == (True, 6)

    zipped.write_bytes(b"".join(frames)[:-3])
    with pytest.raises(AuditError, match="the zstd data end early"):
        verify(zipped)

    zipped.write_bytes(b"\x28\xb5\x2f\xfd....")
    with pytest.raises(AuditError, match="the zstd data are damaged"):
        verify(zipped)


@pytest.mark.parametrize("before", [b"", b"\n"])
def test_a_small_file_that_decompresses_to_much_does_not_fill_memory(
    zipped: Path, before: bytes
) -> None:
    zipped.write_bytes(gzip.compress(before + bytes(64 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(AuditError, match="line 1 is not a record"):
            summary(zipped)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 40 << 20


def test_a_log_in_use_is_read_through_standard_input(opened: Opener, path: Path) -> None:
    with opened() as log:
        log.record(event(1))
        log.flush()
        done = piped("verify", "-", path.read_bytes())

    assert done.returncode == 0
    assert b"2 records verified" in done.stdout


@pytest.mark.parametrize("head", ["abc", "", "0" * 63, "0" * 65, "g" * 64, "0x" + "0" * 62])
def test_a_head_that_is_no_hash_is_refused(path: Path, small: bytes, head: str) -> None:
    path.write_bytes(small)
    with pytest.raises(ValueError, match="64 hex digits are expected"):
        verify(path, head=head)

    done = subprocess.run(
        [sys.executable, "-m", "memhub", "audit", "verify", f"--head={head}", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"memhub: --head: {head!r} is not a hash of a record: 64 hex digits"
    )
    assert done.stderr.count("\n") == 1
