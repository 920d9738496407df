"""Subjects of client certificates: read from a rule or a certificate, and compared as structures.

A name may hold any character, also the comma and the equals sign, so two subjects that look the
same as text may differ: `CN="rig-a,O=lab"` is one attribute, `CN=rig-a,O=lab` is two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Pair = tuple[str, str]
    Part = tuple[Pair, ...]

#: Attribute types: the short name in RFC 4514 and OpenSSL, OpenSSL's name, the number.
_TYPES: Final = (
    ("CN", "commonName", "2.5.4.3"),
    ("O", "organizationName", "2.5.4.10"),
    ("OU", "organizationalUnitName", "2.5.4.11"),
    ("C", "countryName", "2.5.4.6"),
    ("L", "localityName", "2.5.4.7"),
    ("ST", "stateOrProvinceName", "2.5.4.8"),
    ("STREET", "streetAddress", "2.5.4.9"),
    ("DC", "domainComponent", "0.9.2342.19200300.100.1.25"),
    ("UID", "userId", "0.9.2342.19200300.100.1.1"),
    ("SN", "surname", "2.5.4.4"),
    ("GN", "givenName", "2.5.4.42"),
    ("serialNumber", "serialNumber", "2.5.4.5"),
    ("title", "title", "2.5.4.12"),
    ("initials", "initials", "2.5.4.43"),
    ("generationQualifier", "generationQualifier", "2.5.4.44"),
    ("dnQualifier", "dnQualifier", "2.5.4.46"),
    ("pseudonym", "pseudonym", "2.5.4.65"),
    ("emailAddress", "emailAddress", "1.2.840.113549.1.9.1"),
)
_LONG: Final = {word.lower(): long for short, long, oid in _TYPES for word in (short, long, oid)}
_SHORT: Final = {long: short for short, long, _ in _TYPES}
_COMMON_NAME: Final = "commonName"

_OID: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_LETTER: Final = re.compile(
    r"""(?P<plain>[^\\"+,;<>\0]+)|\\(?:(?P<hex>[0-9A-Fa-f]{2})|(?P<special>[ "#+,;<=>\\]))""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a certificate.

    Attributes:
        parts: the relative names in the certificate's order; each is its pairs of attribute type
            (as OpenSSL names it, or a number with dots) and value, sorted, as it is a set.
    """

    parts: tuple[Part, ...]

    @classmethod
    def of_certificate(cls, certificate: Mapping[str, Any]) -> Subject:
        """The subject of a certificate, as `ssl.SSLObject.getpeercert` returns it."""
        return cls(tuple([tuple(sorted(part)) for part in certificate.get("subject", ())]))

    def fits(self, subject: Subject) -> bool:
        """Whether a rule with this subject applies to a client with that one."""
        return self == subject

    def __str__(self) -> str:
        """As RFC 4514 writes it, but in the certificate's order."""
        return ",".join(
            "+".join(f"{_SHORT.get(kind, kind)}={_escape_value(value)}" for kind, value in part)
            for part in self.parts
        )


@dataclass(frozen=True, slots=True)
class CommonName:
    """A rule that gives only a common name; the rest of the subject does not count.

    Attributes:
        name: the name.
    """

    name: str

    def fits(self, subject: Subject) -> bool:
        """Whether this is the only common name of a subject."""
        pairs = [pair for part in subject.parts for pair in part]

        return [value for kind, value in pairs if kind == _COMMON_NAME] == [self.name]


def parse_subject(text: str) -> Subject | CommonName:
    """Read the subject of a rule.

    Args:
        text: a subject with the escapes of RFC 4514, its parts in the certificate's order, as
            `CN=rig-a,O=lab`; or, without an unescaped `=`, a common name.

    Raises:
        ValueError: it is malformed; the message names the place and the rule.
    """
    if len(list(_split_parts(text, "="))) == 1:
        return CommonName(_read_value(text, text))

    return Subject(
        tuple(
            [
                tuple(sorted([_read_pair(pair, text) for pair in _split_parts(part, "+")]))
                for part in _split_parts(text, ",")
            ]
        )
    )


def _split_parts(text: str, separator: str) -> Iterator[str]:
    """The parts between separators that are not escaped."""
    begin = at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == separator:
            yield text[begin:at]
            begin = at + 1

        at += 1

    yield text[begin:]


def _read_pair(pair: str, text: str) -> Pair:
    kind, equals, value = pair.partition("=")
    word = kind.strip(" ")
    if not equals or not word:
        raise ValueError(
            f"{text!r} has {pair!r} where TYPE=VALUE is expected: a ',' or '+' inside a value "
            r"is written '\,' or '\+'"
        )

    long = _LONG.get(word.lower())
    if long is None and not _OID.fullmatch(word):
        known = ", ".join(short for short, _, _ in _TYPES)
        raise ValueError(
            f"{text!r} has {word!r}, which is not an attribute type: give one of {known}, or "
            "numbers with dots"
        )

    return long or word, _read_value(value, text)


def _read_value(raw: str, text: str) -> str:
    raw = raw.lstrip(" ")
    while raw.endswith(" ") and not _is_escaped(raw, len(raw) - 1):
        raw = raw[:-1]

    if not raw:
        raise ValueError(f"{text!r} has an empty value")

    if raw.startswith("#"):
        raise ValueError(
            rf"{text!r} has the value {raw!r}: a '#' at the beginning is written '\#', and "
            "values in hexadecimal digits cannot be compared"
        )

    found, at = b"", 0
    while at < len(raw):
        match = _LETTER.match(raw, at)
        if match is None:
            raise ValueError(f"{text!r} has {_say_what_is_wrong(raw, at)}")

        digits = match["hex"]
        letters = match["plain"] or match["special"] or ""
        found += bytes.fromhex(digits) if digits else letters.encode()
        at = match.end()

    try:
        return found.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{text!r} has escaped bytes in {raw!r} that are not UTF-8") from None


def _say_what_is_wrong(raw: str, at: int) -> str:
    if raw[at] == "\\":
        return (
            f"a backslash at {raw[at:]!r}: after it come two hexadecimal digits or one of "
            'space, " # + , ; < = > \\'
        )

    return f"{raw[at]!r} in a value: it is written '{_escape_letter(raw[at])}'"


def _is_escaped(text: str, at: int) -> bool:
    """Whether an odd number of backslashes precedes a place."""
    before = text[:at]

    return bool((len(before) - len(before.rstrip("\\"))) % 2)


def _escape_value(value: str) -> str:
    letters = [_escape_letter(letter) for letter in value]
    if value[:1] in (" ", "#"):
        letters[0] = f"\\{value[0]}"

    if value[-1:] == " ":
        letters[-1] = "\\ "

    return "".join(letters)


def _escape_letter(letter: str) -> str:
    if letter in '"+,;<>\\':
        return f"\\{letter}"

    if letter.isprintable():
        return letter

    return "".join(f"\\{byte:02X}" for byte in letter.encode())
