"""Subjects of certificates are compared as structures: text that looks alike is not enough."""

from __future__ import annotations

import datetime
import re
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from memhub.errors import NotPermitted
from memhub.service.client import connect
from memhub.service.server.rights import Grants, Peer
from memhub.service.settings import RightsRule, TcpConfig
from memhub.service.subject import CommonName, Subject, parse_subject
from service.service_rig import lab

if TYPE_CHECKING:
    from pathlib import Path

CN, ORG, UNIT = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME


def subject(*parts: tuple[tuple[str, str], ...]) -> Subject:
    """What `getpeercert` would say of it."""
    return Subject.of_certificate({"subject": parts})


RIG, LAB = ("commonName", "rig-a"), ("organizationName", "lab")


@pytest.mark.parametrize(
    ("rule", "same"),
    [
        ("CN=rig-a,O=lab", subject((RIG,), (LAB,))),
        ("cn=rig-a , organizationName=lab", subject((RIG,), (LAB,))),
        ("2.5.4.3=rig-a,O=lab", subject((RIG,), (LAB,))),
        ("O=lab,CN=rig-a", subject((LAB,), (RIG,))),
        ("CN=rig-a+O=lab", subject((LAB, RIG))),
        ("O=lab+CN=rig-a", subject((LAB, RIG))),
        (r"CN=rig-a\,O=lab", subject((("commonName", "rig-a,O=lab"),))),
        (r"CN=rig-a\2cO\3Dlab", subject((("commonName", "rig-a,O=lab"),))),
        ("CN=rig=a", subject((("commonName", "rig=a"),))),
        (r"CN=\#a\ ", subject((("commonName", "#a "),))),
        (r"CN=\C3\A9t\0A", subject((("commonName", "\u00e9t\n"),))),
        ("1.2.3.4=x", subject((("1.2.3.4", "x"),))),
        ("CN=rig-a,CN=rig-a", subject((RIG,), (RIG,))),
    ],
)
def test_a_rule_fits_the_subject_that_it_spells(rule: str, same: Subject) -> None:
    found = parse_subject(rule)

    assert found == same
    assert found.fits(same)
    assert parse_subject(str(same)) == same


DIFFERENT = [
    subject((("commonName", "rig-a,O=lab"),)),
    subject((("commonName", "CN=rig-a,O=lab"),)),
    subject((RIG, LAB)),
    subject((LAB,), (RIG,)),
    subject((RIG,), (LAB,), (LAB,)),
    subject((RIG,), (RIG,), (LAB,)),
    subject((RIG,), (LAB,), (("organizationalUnitName", ""),)),
    subject((("commonName", "rig-a"),), (("organizationName", "lab "),)),
    subject((("commonName", "RIG-A"),), (LAB,)),
    subject((("commonName", "rig-a+O=lab"),)),
    subject((("commonName", "rig-a\0,O=lab"),)),
    subject((("commonName", "rig-a"),), (("organizationalUnitName", "lab"),)),
    subject(),
]


@pytest.mark.parametrize("other", DIFFERENT)
def test_a_subject_that_only_looks_alike_has_no_rights(other: Subject) -> None:
    rules = (RightsRule(subject="CN=rig-a,O=lab", allow=frozenset({"read-memory"})),)

    assert Grants(rules, Peer(subject=subject((RIG,), (LAB,)))).on("pc") == 1
    assert Grants(rules, Peer(subject=other)).on("pc") == 0


@pytest.mark.parametrize(
    ("other", "fits"),
    [
        (subject((LAB,), (RIG,)), True),
        (subject((LAB, RIG)), True),
        (subject((RIG,), (("commonName", "rig-b"),)), False),
        (subject((RIG,), (RIG,)), False),
        (subject((("organizationName", "rig-a"),)), False),
        (subject((("commonName", "rig-a,O=lab"),)), False),
        (subject(), False),
    ],
)
def test_a_common_name_alone_means_the_only_one(other: Subject, fits: bool) -> None:
    assert parse_subject("rig-a") == CommonName("rig-a")
    assert parse_subject("rig-a").fits(other) is fits


def test_a_common_name_with_signs_in_it_is_written_with_backslashes() -> None:
    assert parse_subject(r"rig\,O\=lab") == CommonName("rig,O=lab")
    assert str(subject((("commonName", "rig, token ci"),))) == r"CN=rig\, token ci"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("CN=rig-a,lab", "has 'lab' where TYPE=VALUE is expected"),
        ("CN=rig-a,,O=lab", "has '' where TYPE=VALUE"),
        ("CN=rig-a,", "has '' where TYPE=VALUE"),
        ("CN=rig-a+", "has '' where TYPE=VALUE"),
        ("=rig-a", "has '=rig-a' where TYPE=VALUE"),
        ("CX=rig-a", "has 'CX', which is not an attribute type: give one of CN, O, OU"),
        ("1.02=x", "has '1.02', which is not an attribute type"),
        ("CN=", "has an empty value"),
        ("CN= ", "has an empty value"),
        ("CN=#0403", "values in hexadecimal digits cannot be compared"),
        ('CN="rig-a"', r"""has '"' in a value: it is written '\"'"""),
        ("CN=a;O=b", r"has ';' in a value: it is written '\;'"),
        ("CN=a\\", "after it come two hexadecimal digits or one of space"),
        ("CN=a\\g", "after it come two hexadecimal digits or one of space"),
        ("CN=a\0", r"in a value: it is written '\00'"),
        ("CN=\\ff", "are not UTF-8"),
        ("rig,a", r"has ',' in a value: it is written '\,'"),
        (" ", "has an empty value"),
    ],
)
def test_a_malformed_subject_is_refused_with_its_place_and_the_rule(rule: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        RightsRule(subject=rule)

    assert repr(rule) in str(caught.value)


kinds = st.sampled_from(["commonName", "organizationName", "userId", "1.2.3.4", "title"])
values = st.one_of(
    st.text(st.sampled_from(' #,+=\\"<>;a\0\n'), min_size=1, max_size=6),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6),
)
subjects = st.lists(
    st.lists(st.tuples(kinds, values), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3
).map(lambda parts: subject(*parts))


@given(subjects, subjects)
def test_what_is_written_is_read_back_and_no_two_are_written_alike(
    one: Subject, two: Subject
) -> None:
    assert parse_subject(str(one)) == one
    assert (str(one) == str(two)) == (one == two)


# Over TLS

Parts = list[list[tuple[x509.ObjectIdentifier, str]]]


def certify(authority: trustme.CA, folder: Path, parts: Parts) -> ssl.SSLContext:
    """A client's context with a certificate of exactly this subject."""
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    leaf = authority.issue_cert("rig@lab")
    key: Any = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    names = [
        x509.RelativeDistinguishedName([x509.NameAttribute(kind, value) for kind, value in part])
        for part in parts
    ]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    path = folder / "client.pem"
    pem = made.public_bytes(serialization.Encoding.PEM)
    path.write_bytes(leaf.private_key_pem.bytes() + pem)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.load_cert_chain(path)

    return context


@pytest.mark.parametrize(
    ("parts", "granted"),
    [
        ([[(CN, "rig-a")], [(ORG, "lab")]], True),
        ([[(CN, "rig-a,O=lab")]], False),
        ([[(CN, "CN=rig-a,O=lab")]], False),
        ([[(CN, "rig-a"), (ORG, "lab")]], False),
        ([[(ORG, "lab")], [(CN, "rig-a")]], False),
        ([[(CN, "rig-a")], [(ORG, "lab")], [(UNIT, "guests")]], False),
    ],
)
async def test_rights_go_by_the_structure_of_the_certificate(
    tmp_path: Path, parts: Parts, granted: bool
) -> None:
    authority = trustme.CA()
    cert = authority.issue_cert("localhost")
    paths: dict[str, Any] = {
        name: tmp_path / f"{name}.pem" for name in ("certfile", "keyfile", "ca")
    }
    cert.private_key_pem.write_to_path(str(paths["keyfile"]))
    authority.cert_pem.write_to_path(str(paths["ca"]))
    cert.cert_chain_pems[0].write_to_path(str(paths["certfile"]))
    rules = (RightsRule(subject="CN=rig-a,O=lab", allow=frozenset({"read-memory"})),)
    async with lab(tmp_path, tcp=TcpConfig(**paths), rights=rules) as it:
        address = it.server.addresses[1].replace("127.0.0.1", "localhost")
        context = certify(authority, tmp_path, parts)
        async with connect(address, ssl_context=context) as hub:
            if granted:
                assert await (await hub.open("/dev/mem")).pread(1, 0) == b"\0"
            else:
                with pytest.raises(NotPermitted, match="no right to anything on"):
                    await hub.open("/dev/mem")
