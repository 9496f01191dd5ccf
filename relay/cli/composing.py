"""Makes the request of `POST /api/v1/emails` of what options and files say."""

from __future__ import annotations

import base64
import json
import mimetypes
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from relay.errors import Fault, Kind, Problem
from relay.values import MB

JSON_FILES = 5 * MB  # of attachments that still go as base64; more go as they are, in a form
UNKNOWN_TYPE = "application/octet-stream"
STANDARD_INPUT = Path("-")


@dataclass(frozen=True, slots=True)
class Request:
    """What is posted. `query` are pairs, for a name may stand several times."""

    content_type: str
    body: bytes = field(repr=False)
    query: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class File:
    """A file to attach; one with a `content_id` is part of the HTML."""

    name: str
    content: bytes = field(repr=False)
    content_type: str
    content_id: str | None = None


def attached(said: str, content_id: str | None = None) -> File:
    """A file by `PATH` or `PATH;TYPE`. Raises OSError where it cannot be read."""
    path, _, given = said.partition(";")
    content_type = given.strip() or mimetypes.guess_type(path)[0] or UNKNOWN_TYPE
    return File(Path(path).name, Path(path).read_bytes(), content_type, content_id)


def inlined(said: str) -> File:
    """A file by `CID=PATH` or `CID=PATH;TYPE`. Raises Problem(BAD_REQUEST), or OSError where it cannot be read."""
    content_id, equals, path = said.partition("=")
    if not (content_id and equals and path):
        raise _wrong("--inline", f'takes CID=PATH, for example logo=logo.png for <img src="cid:logo">; not {said!r}')
    return attached(path, content_id)


async def request_of(members: dict[str, Any], files: Sequence[File]) -> Request:
    """What the API is asked: as JSON, or as a form where the files are large."""
    if sum(len(file.content) for file in files) > JSON_FILES:
        return await _form(members, files)
    if files:
        members = members | {"attachments": [*members.get("attachments", []), *map(_as_json, files)]}
    return Request("application/json", json.dumps(members).encode())


async def _form(members: dict[str, Any], files: Sequence[File]) -> Request:
    """RFC 7578; names of files in UTF-8, as browsers write them."""
    from aiohttp import MultipartWriter

    with MultipartWriter("form-data") as form:
        email = form.append(json.dumps(members).encode(), {"Content-Type": "application/json"})
        email.set_content_disposition("form-data", name="email")
        for file in files:
            inline = {} if file.content_id is None else {"Content-ID": f"<{file.content_id}>"}
            part = form.append(BytesIO(file.content), {"Content-Type": file.content_type, **inline})
            part.set_content_disposition("form-data", quote_fields=False, name="attachments", filename=file.name)
    return Request(form.headers["Content-Type"], await form.as_bytes())


def _as_json(file: File) -> dict[str, Any]:
    inline = {} if file.content_id is None else {"content_id": file.content_id}
    content = base64.b64encode(file.content).decode("ascii")
    return {"filename": file.name, "content": content, "content_type": file.content_type} | inline


# -- what options say ------------------------------------------------------------------------------------------------


def text_of(said: str | None, file: Path | None) -> str | None:
    """A text that is given, or stands in a file; `-` is standard input. Raises Problem(BAD_REQUEST) for no UTF-8."""
    if file is None:
        return said
    try:
        return octets_of(file).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise _wrong(str(file), f"is not UTF-8 at octet {exc.start}") from exc


def octets_of(file: Path) -> bytes:
    """What stands in a file, or comes by standard input. Raises OSError."""
    return sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()


def pairs(option: str, said: Sequence[str], separator: str) -> dict[str, str]:
    """`NAME=VALUE` and its like, each name once. Raises Problem(BAD_REQUEST)."""
    found: dict[str, str] = {}
    for each in said:
        name, found_one, value = each.partition(separator)
        if not found_one or not name.strip():
            raise _wrong(option, f"takes NAME{separator}VALUE; not {each!r}")
        if name.strip() in found:
            raise _wrong(option, f"names {name.strip()} twice")
        found[name.strip()] = value.strip() if separator == ":" else value
    return found


def json_of(file: Path, option: str) -> dict[str, Any]:
    """The JSON object in a file. Raises Problem(BAD_REQUEST), or OSError where it cannot be read."""
    try:
        found = json.loads(octets_of(file))
    except ValueError as exc:
        raise _wrong(option, f"{file} is not JSON") from exc
    if not isinstance(found, dict):
        raise _wrong(option, f"{file} is no JSON object")
    return found


def value_of(text: str) -> Any:
    """A variable: JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _wrong(option: str, message: str) -> Problem:
    return Problem(Kind.BAD_REQUEST, faults=(Fault(option, message),))
