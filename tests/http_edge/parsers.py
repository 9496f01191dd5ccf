"""What two parsers read in a message: the standard library's, and one in Rust that has nothing of it."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

import fast_mail_parser


@dataclass(frozen=True)
class Leaf:
    """A part that holds no others. `content` of a text has LFs."""

    content_type: str
    content: bytes
    filename: str
    content_id: str | None
    disposition: str | None


@dataclass(frozen=True)
class Reading:
    """A message as a parser has it. `tree`: types, each with those it holds."""

    subject: str
    people: dict[str, list[tuple[str, str]]]
    headers: dict[str, list[str]]
    tree: Any
    leaves: list[Leaf]


PEOPLE = ("From", "To", "Cc", "Reply-To")


def checked(raw: bytes) -> bytes:
    """What must hold of the octets themselves of every message that we make."""
    assert raw.isascii()
    assert b"\0" not in raw
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    assert raw.endswith(b"\r\n")
    lines = raw.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not [line for line in lines if line.startswith(b"From ") or line == b"."]
    assert not [line for line in lines if line.strip(b" \t") == b"" and line]
    return raw


def read_by_stdlib(raw: bytes) -> Reading:
    found = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    assert [part.defects for part in found.walk() if part.defects] == []
    assert [value.defects for part in found.walk() for value in part.values() if value.defects] == []
    people = {name: _stdlib_people(raw, found[name]) for name in PEOPLE}
    headers: dict[str, list[str]] = {}
    for name, value in found.items():
        headers.setdefault(name, []).append(str(value))
    return Reading(str(found["Subject"]), people, headers, _stdlib_tree(found), _stdlib_leaves(found))


def _stdlib_people(raw: bytes, header: Any) -> list[tuple[str, str]]:
    """Names by the old parser: the new one puts a space between two encoded words of a name (RFC 2047 section 6.2)."""
    if header is None:
        return []
    value = str(email.message_from_bytes(raw, policy=email.policy.compat32)[header.name]).replace("\r\n", "")
    names = [str(make_header(decode_header(name))) for name, _ in getaddresses([value])]
    return list(zip(names, [each.addr_spec for each in header.addresses], strict=True))


def _stdlib_tree(part: EmailMessage) -> Any:
    if part.is_multipart():
        return (part.get_content_type(), *(_stdlib_tree(each) for each in part.iter_parts()))
    return part.get_content_type()


def _stdlib_leaves(message: EmailMessage) -> list[Leaf]:
    return [
        Leaf(
            part.get_content_type(),
            part.get_payload(decode=True),
            part.get_filename() or "",
            part["Content-ID"].strip("<>") if part["Content-ID"] else None,
            part.get_content_disposition(),
        )
        for part in message.walk()
        if not part.is_multipart()
    ]


def read_by_rust(raw: bytes) -> Reading:
    flat = fast_mail_parser.parse_email(raw)
    assert flat.warnings == []
    root = fast_mail_parser.parse_email_tree(raw)
    people = {
        "From": [flat.from_] if flat.from_ else [],
        "To": flat.to,
        "Cc": flat.cc,
        "Reply-To": flat.reply_to,
    }
    return Reading(
        flat.subject,
        {name: [(each.display_name or "", each.address) for each in found] for name, found in people.items()},
        flat.headers,
        _rust_tree(root),
        _rust_leaves(root),
    )


def _rust_tree(part: Any) -> Any:
    return (part.content_type, *map(_rust_tree, part.children)) if part.children else part.content_type


def _rust_leaves(part: Any) -> list[Leaf]:
    if part.children:
        return [leaf for child in part.children for leaf in _rust_leaves(child)]
    return [Leaf(part.content_type, part.content, part.filename, part.content_id, part.disposition)]


PARSERS = (read_by_stdlib, read_by_rust)
