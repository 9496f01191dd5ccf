"""Reads a message that comes as a form (RFC 7578): a part `email` with JSON, and files as they are.

The body is in memory already, within the budget of messages; nothing of it is written anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote_to_bytes

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import Headers

from relay.errors import Fault, Kind, Problem, printable
from relay.http.emails import request
from relay.http.emails.request import MAX_FILES, Filename
from relay.http.fields import ContentId, MediaType
from relay.http.letter import Attachment, Letter
from relay.http.requests import read_json, require_plain
from relay.message import Address
from relay.routing.headers import CRLF, HeaderField, split
from relay.routing.mime import bare_value, delimiters, media_type

FORM = "multipart/form-data"
EMAIL = "email"  # the part with the JSON; every other is a file
MAX_PARTS = MAX_FILES + 1
MAX_PART_HEADER = 4 << 10  # octets
MAX_FIELDS = 20  # of a part's header
MAX_BOUNDARIES = 1000  # what looks like one is looked at one by one; a random one stands nowhere else
LONGEST_BOUNDARY = 70  # RFC 2046 section 5.1.1
AS_IT_IS = {"", "7bit", "8bit", "binary"}
UNKNOWN_TYPE = "application/octet-stream"

_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)', re.DOTALL)
_ESCAPED = re.compile(rb'\\(["\\])')  # others stand for themselves: some clients send whole paths of Windows
_FILENAME: TypeAdapter[str] = TypeAdapter(Filename)
_MEDIA_TYPE: TypeAdapter[str] = TypeAdapter(MediaType)
_CONTENT_ID: TypeAdapter[str] = TypeAdapter(ContentId)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form. `filename` None: it is no file."""

    name: str
    filename: str | None
    fields: list[HeaderField]
    content: bytes = field(repr=False)


def boundary_of(headers: Headers) -> bytes:
    """Raises Problem(UNSUPPORTED_MEDIA | BAD_REQUEST)."""
    require_plain(headers)
    given = HeaderField("content-type", b"Content-Type:" + headers.get("content-type", "").encode("latin-1"))
    _, boundary = media_type([given], "")
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise Problem(Kind.BAD_REQUEST, f"the Content-Type names no boundary of 1 to {LONGEST_BOUNDARY} characters")
    return boundary


def read(body: bytes, boundary: bytes, default: Address | None) -> Letter:
    """The letter of a form. Raises Problem(BAD_REQUEST)."""
    emails: list[Part] = []
    files: list[Attachment] = []
    faults: list[Fault] = []
    for part in parts(body, boundary):
        if part.name == EMAIL:
            emails.append(part)
        elif part.filename is None:
            said = "is no file: what is said of a message stands in the part `email`, as JSON"
            faults.append(Fault(printable(part.name, 40), said))
        else:
            try:
                files.append(_file(part))
            except ValidationError as exc:
                said = str(exc.errors(include_url=False, include_input=False)[0]["msg"]).removeprefix("Value error, ")
                faults.append(Fault(printable(part.name, 40), said))
    if len(emails) != 1:
        faults.append(Fault(EMAIL, "must be there once: the message as JSON, the files beside it"))
    if faults:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(faults))
    value: dict[str, Any] = read_json(emails[0].content)
    letter = request.read(value, default)
    return replace(letter, attachments=letter.attachments + tuple(files))


def parts(body: bytes, boundary: bytes) -> Iterator[Part]:
    """Raises Problem(BAD_REQUEST) for a form that is cut off, or that no two programs would read alike."""
    if body.count(b"--" + boundary) > MAX_BOUNDARIES:
        raise Problem(
            Kind.BAD_REQUEST, f"the boundary stands over {MAX_BOUNDARIES} times in the form: take another one"
        )
    start: int | None = None
    count = 0
    for found in delimiters(body, boundary, 0, len(body)):
        if found is None:
            continue
        begins, ends, is_last = found
        if start is not None:
            count += 1
            if count > MAX_PARTS:
                raise Problem(Kind.BAD_REQUEST, f"the form has more than {MAX_PARTS} parts")
            yield _part(body[start : begins - len(CRLF)], count)
        start = ends + len(CRLF)
        if is_last:
            return
    raise Problem(Kind.BAD_REQUEST, "the form is cut off: its last boundary is missing")


def _part(octets: bytes, number: int) -> Part:
    if octets.find(CRLF + CRLF, 0, MAX_PART_HEADER) < 0 and not octets.startswith(CRLF):
        raise Problem(Kind.BAD_REQUEST, f"part {number} has no header of at most {MAX_PART_HEADER >> 10} KB")
    fields, content = split(octets)
    if len(fields) > MAX_FIELDS:
        raise Problem(Kind.BAD_REQUEST, f"part {number} has more than {MAX_FIELDS} header fields")
    disposition = next((each.value for each in fields if each.name == "content-disposition"), b"")
    found = _PARAMETER.findall(disposition)
    parameters = {name.lower().decode("latin-1"): _unquoted(value) for name, value in found}
    name = parameters.get("name")
    if not disposition.lower().startswith(b"form-data") or not name or len(parameters) < len(found):
        raise Problem(Kind.BAD_REQUEST, f"part {number} has no Content-Disposition: form-data with one name")
    encoding = bare_value(fields, "content-transfer-encoding") or b""
    if encoding.decode("latin-1").lower() not in AS_IT_IS:
        raise Problem(Kind.BAD_REQUEST, f"part {number} is encoded: send it as it is (RFC 7578 section 4.7)")
    return Part(_text(name), _filename(parameters), fields, content)


def _filename(parameters: dict[str, bytes]) -> str | None:
    """As browsers write it, in UTF-8; or as RFC 5987 has it, which some libraries write."""
    if (extended := parameters.get("filename*")) is not None:
        charset, _, value = extended.partition(b"'")
        if charset.lower() == b"utf-8":
            return _text(unquote_to_bytes(value.partition(b"'")[2]))
    found = parameters.get("filename")
    if found is None:
        return None
    for escape, octet in ((b"%22", b'"'), (b"%0D", b"\r"), (b"%0A", b"\n")):  # HTML: multipart/form-data encoding
        found = found.replace(escape, octet)
    return _text(found)


def _unquoted(value: bytes) -> bytes:
    if len(value) > 1 and value.startswith(b'"') and value.endswith(b'"'):
        return _ESCAPED.sub(rb"\1", value[1:-1])
    return value.strip()


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Problem(Kind.BAD_REQUEST, "the form has a name that is not UTF-8") from exc


def _file(part: Part) -> Attachment:
    """Raises ValidationError."""
    content_id = bare_value(part.fields, "content-id")
    return Attachment(
        filename=_FILENAME.validate_python(part.filename),
        content=part.content,
        content_type=_type_of(part),
        content_id=None if content_id is None else _CONTENT_ID.validate_python(content_id.decode("latin-1")),
    )


def _type_of(part: Part) -> str:
    """Clients guess it by the name: what is none, or would break the MIME of the message, is a file like any other."""
    try:
        return _MEDIA_TYPE.validate_python(media_type(part.fields, UNKNOWN_TYPE)[0])
    except ValidationError:
        return UNKNOWN_TYPE
