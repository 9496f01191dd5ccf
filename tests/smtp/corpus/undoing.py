"""Compares a message that was sent with what arrived of it: the same, but for what its ledger says."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from typing import TypeAlias

Fields: TypeAlias = list[tuple[str, bytes]]


def require_nothing_else_changed(sent: bytes, ledger: Sequence[str], arrived: bytes) -> None:
    """What the ledger says is undone. A sentence that is not known here fails."""
    sent = sent if sent.endswith(b"\r\n") else sent + b"\r\n"
    has_bare = re.search(rb"\r(?!\n)|(?<!\r)\n", sent) is not None
    assert ("made every line end in CR LF" in ledger) == has_bare
    fields, body = parted(re.sub(rb"\r*\n|\r", b"\r\n", sent))
    found, found_body = parted(arrived)
    is_encoded, folded, mime_version = False, set(), ("mime-version", b"MIME-Version: 1.0\r\n")
    for entry in ledger:
        if match := re.fullmatch(r"added (Received|Message-ID|Date)", entry):
            assert found.pop(0)[0] == match[1].lower()
        elif entry == "added MIME-Version":
            if mime_version in found and mime_version not in fields:
                found.remove(mime_version)
            else:
                is_encoded = True  # it is in a part
        elif match := re.fullmatch(r"(?:dropped(?: an empty)?|took) ([a-z0-9-]+)(?: as an option)?", entry):
            fields.remove(next(each for each in fields if each[0] == match[1]))
        elif match := re.fullmatch(r"folded the header field (\S+): it had a line of [\d,]+ octets", entry):
            if match[1] in folded or all(each != match[1] or len(raw) <= 1000 for each, raw in fields):
                is_encoded = True  # it is one of a part
            folded.add(match[1])
            fields, found = unfolded(fields, match[1]), unfolded(found, match[1])
        elif re.match(r"re-encoded|put soft line breaks|wrapped a base64|broke lines of", entry):
            is_encoded = True
        else:
            assert entry in {"made every line end in CR LF", "added the empty line that ends the header"}
    if not is_encoded:
        assert (found, found_body) == (fields, body)
        return
    encoding = "content-transfer-encoding"
    assert [each for each in found if each[0] != encoding] == [each for each in fields if each[0] != encoding]
    assert leaves(found, found_body) == leaves(fields, body)


def parted(raw: bytes) -> tuple[Fields, bytes]:
    """The header fields by name, and the body."""
    header, _, body = (b"", b"", raw[2:]) if raw.startswith(b"\r\n") else raw.partition(b"\r\n\r\n")
    lines = re.split(rb"\r\n(?![ \t])", header.removesuffix(b"\r\n"))
    return [(line.partition(b":")[0].strip().lower().decode("latin-1"), line + b"\r\n") for line in lines], body


def unfolded(fields: Fields, name: str) -> Fields:
    return [(each, raw.replace(b"\r\n", b"") + b"\r\n" if each == name else raw) for each, raw in fields]


def leaves(fields: Fields, body: bytes) -> list[object]:
    """What a reader would see of each part: what it is, and its octets decoded."""
    message = message_from_bytes(b"".join(raw for _, raw in fields) + b"\r\n" + body)
    return [
        (part.get_content_type(), part.get_content_charset(), decoded(part))
        for part in message.walk()
        if not part.is_multipart()
    ]


def decoded(part: Message) -> bytes:
    """Its octets. Of base64 the letters count alone (RFC 2045 section 6.8), and not how many there should be.

    A multipart without parts is shown to nobody: it may not be encoded, so its lines are broken.
    """
    if part.get_content_maintype() == "multipart":
        return b"".join(bytes(part.get_payload(decode=True)).split())
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    if encoding != "base64":
        del part["Content-Transfer-Encoding"]  # Python does not know it by a name with white space after it
        part["Content-Transfer-Encoding"] = encoding
        return bytes(part.get_payload(decode=True))
    text = str(part.get_payload()).encode("ascii", "replace")
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", text)
    return b64decode(letters[: len(letters) - (len(letters) % 4 == 1)] + b"===")
