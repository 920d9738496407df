"""Seals of an audit log and proofs from them: `memhub audit keygen`, `prove` and `check`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from memhub.cli.amounts import whole_number
from memhub.cli.failures import CommandFailed
from memhub.cli.file_output import STANDARD_OUTPUT
from memhub.cli.keys import add_key_argument, parse_verifier_keys, read_at_most
from memhub.cli.terminal import late_progress, print_document, print_json, print_line

if TYPE_CHECKING:
    import argparse

    from memhub.audit.seals.tlog_proof import InclusionProof

_MOST_SEQ = (1 << 63) - 1


def add_sealing_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verbs that `run_sealing_verb` runs."""
    make = verbs.add_parser(
        "keygen",
        help="make a key that seals logs",
        description="Writes a new signing key to FILE (mode 0600), and prints its verifier key. "
        "Keep the signing key where those who can write the log cannot read it.",
    )
    make.add_argument("name", metavar="NAME", help="whose key it is: lab.example/bench-7")
    make.add_argument("--out", required=True, metavar="FILE", help="where nothing is yet")

    prove = verbs.add_parser("prove", help="prove that one record is in a sealed log")
    prove.add_argument("file", metavar="LOG", help="the log")
    prove.add_argument("seq", metavar="SEQ", type=whole_number(1, _MOST_SEQ), help="its seq")
    prove.add_argument("--out", metavar="FILE", help="a new file, instead of standard output")

    check = verbs.add_parser("check", help="check such a proof, without the log")
    check.add_argument("proof", metavar="PROOF", help="the proof's file, or - for standard input")
    check.add_argument("--record", metavar="FILE", help="the record's line; else the proof's own")
    check.add_argument("--json", action="store_true", help="one object")
    add_key_argument(check, required=True)


def run_sealing_verb(chosen: argparse.Namespace) -> int:
    """Run `keygen`, `prove` or `check`; 1 for a proof that does not hold."""
    from memhub.audit.seals.seal_text import SealError

    run = {"keygen": _keygen, "prove": _prove, "check": _check}[chosen.verb]
    try:
        return run(chosen)
    except SealError as error:
        raise CommandFailed(str(error), 1 if chosen.verb == "check" else 2) from error


def _keygen(chosen: argparse.Namespace) -> int:
    from memhub.audit.seals.note_keys import SigningKey, write_signing_key

    if chosen.out == STANDARD_OUTPUT:
        raise CommandFailed("--out -: a signing key is written to a file, and not shown")

    key = SigningKey.generate(chosen.name)
    write_signing_key(chosen.out, key)
    print_line(key.verifier().text(), whole=True)

    return 0


def _prove(chosen: argparse.Namespace) -> int:
    from memhub.audit.seals.new_file import write_new_file
    from memhub.audit.seals.prove import prove_record

    with late_progress("read") as tell:
        proof = prove_record(chosen.file, chosen.seq, progress=tell)

    if chosen.out in (None, STANDARD_OUTPUT):
        print_document(proof.text().removesuffix("\n"))
    else:
        write_new_file(chosen.out, proof.text().encode(), "proof")

    return 0


def _check(chosen: argparse.Namespace) -> int:
    from memhub.audit.seals.prove import check_proof

    keys, proof = parse_verifier_keys(chosen.key), _read_proof(chosen.proof)
    line = None if chosen.record is None else _read_record(chosen.record)
    try:
        checkpoint, record = check_proof(proof, keys, line)
    except UnicodeDecodeError as error:
        raise CommandFailed(f"the record is not UTF-8: {error.reason}", 1) from error

    if chosen.json:
        sealed = {"origin": checkpoint.origin, "size": checkpoint.size}
        print_json({"ok": True, "index": proof.index, **sealed, "record": record})
    else:
        print_line(
            f"record {record['seq']} ({record['event']}) is in the log that {checkpoint.origin} "
            f"has sealed with {checkpoint.size} records"
        )

    return 0


def _read_proof(path: str) -> InclusionProof:
    from memhub.audit.seals.tlog_proof import MAX_PROOF, InclusionProof

    data = sys.stdin.buffer.read(MAX_PROOF + 1) if path == "-" else _read_small(path, MAX_PROOF)

    return InclusionProof.parse(data)


def _read_record(path: str) -> bytes:
    from memhub.audit.line import MAX_LINE

    data = _read_small(path, MAX_LINE)
    if len(data) > MAX_LINE:
        raise CommandFailed(f"{path}: a record's line has at most {MAX_LINE} bytes")

    return data.rstrip(b"\n")


def _read_small(path: str, most: int) -> bytes:
    try:
        return read_at_most(path, most)
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from error
