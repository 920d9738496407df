"""Certificates for the tests of TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trustme

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> dict[str, Any]:
    """The server's certificate, its key and the authority's certificate, as files."""
    cert = authority.issue_cert("localhost")
    paths = {name: tmp_path / f"{name}.pem" for name in ("certfile", "keyfile", "ca")}
    cert.private_key_pem.write_to_path(str(paths["keyfile"]))
    authority.cert_pem.write_to_path(str(paths["ca"]))
    paths["certfile"].write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))

    return paths
