"""Makes the MIME parts of a letter: texts, files, and what holds them. A part is its octets in pieces."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from relay.errors import Kind, Problem
from relay.http import invitation, transfer
from relay.http.letter import Attachment, Letter
from relay.http.words import parameter

Part = list[bytes]  # a header and a body; the body without the CRLF that belongs to the boundary after it

# What a part of the outermost sort may not be (RFC 2046 section 5.2.1: nothing but 7bit for these).
_COMPOSITE = ("multipart/", "message/")
_BINARY = "application/octet-stream"
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")  # RFC 6838 section 4.2
_CONTENT_ID = re.compile(r"[!-;=?-~]{1,250}")  # without brackets; in one line


def tree(letter: Letter) -> Part:
    """mixed(alternative(text, related(html, inline files), calendar), files), each level only where it is needed."""
    has_html = letter.html is not None
    inline = [each for each in letter.attachments if has_html and each.content_id is not None]
    files = [_file(each) for each in letter.attachments if not (has_html and each.content_id is not None)]
    # Random, so that no one can write a text that has it; no quoted-printable or base64 has "=_" at all.
    boundary = f"=_{secrets.token_hex(16)}_"
    ways: list[Part] = []
    if letter.text is not None:
        ways.append(_text("text/plain; charset=utf-8", letter.text))
    if letter.html is not None:
        html = _text("text/html; charset=utf-8", letter.html)
        if inline:
            shown = [html, *(_file(each, "inline") for each in inline)]
            html = _container('related; type="text/html"', boundary + "r", shown)
        ways.append(html)
    if letter.calendar is not None:
        method = invitation.method_of(letter.calendar)
        ways.append(_text(f"text/calendar; charset=utf-8; method={method}", letter.calendar))
        files.insert(0, _file(_invite(letter.calendar)))
    if not ways:
        ways.append(_text("text/plain; charset=utf-8", ""))
    body = ways[0] if len(ways) == 1 else _container("alternative", boundary + "a", ways)
    return _container("mixed", boundary + "m", [body, *files]) if files else body


def _text(content_type: str, given: str) -> Part:
    encoding, body = transfer.text(given)
    header = f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return [header.encode("ascii"), body]


def _file(file: Attachment, disposition: str = "attachment") -> Part:
    content_type = file.content_type
    if not _TYPE.fullmatch(content_type):
        raise Problem(Kind.BAD_REQUEST, "a file has a type that is none")
    if content_type.lower().startswith(_COMPOSITE):
        content_type = _BINARY
    header = f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: {disposition}"
    header += parameter("filename", file.filename)
    if file.content_id is not None:
        if not _CONTENT_ID.fullmatch(file.content_id):
            raise Problem(Kind.BAD_REQUEST, "a file has a Content-ID that is none")
        header += f"\r\nContent-ID: <{file.content_id}>"
    return [f"{header}\r\n\r\n".encode("ascii"), *transfer.file(file.content)]


def _invite(calendar: str) -> Attachment:
    lines = calendar.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")  # RFC 5545 section 3.1
    return Attachment(invitation.FILENAME, lines.encode(), invitation.FILE_TYPE)


def _container(kind: str, boundary: str, parts: Sequence[Part]) -> Part:
    pieces = [f'Content-Type: multipart/{kind};\r\n boundary="{boundary}"\r\n\r\n--{boundary}\r\n'.encode("ascii")]
    delimiter = f"\r\n--{boundary}\r\n".encode("ascii")
    for number, part in enumerate(parts):
        if number:
            pieces.append(delimiter)
        pieces += part
    pieces.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return pieces
