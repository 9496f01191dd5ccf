"""The kinds of values that send requests are made of in every dialect, each with its JSON schema."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from relay.errors import Fault, Problem, printable
from relay.http.letter import Attachment
from relay.message import Address
from relay.routing import options
from relay.values import MB

# What a client may not set by headers of its own: it has a field, is ours or SES's to write, or would break the MIME.
RESERVED = frozenset(
    {"from", "to", "cc", "bcc", "subject", "sender", "return-path", "received", "mime-version"}
    | {"message-id", "date", "dkim-signature", "resent-bcc", "delivered-to"}
    | options.NAMES
)
RESERVED_PREFIXES = ("content-", "x-ses-", "x-relay-")
MOST_HEADERS = 100

_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 section 3.6.8
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")  # RFC 6838 section 4.2


def _one_line(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("must be one line, without control characters")
    return _encodable(text)


def _encodable(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ValueError("has half of a surrogate pair") from exc
    return text


def _address(text: Any) -> Address:
    if not isinstance(text, str):
        raise ValueError("must be an address")
    try:
        return Address.parse(text.strip())
    except Problem as problem:
        raise ValueError(problem.detail) from problem


def listed(value: Any) -> Any:
    """A string or a list, as Sendex takes it."""
    return [value] if isinstance(value, str) else ([] if value is None else value)


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError("must be base64 in a string")
    try:
        # Few encoders break lines; those that do get a copy without.
        return base64.b64decode(value if value.isalnum() else "".join(value.split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError("is not base64") from exc


def _media_type(text: str) -> str:
    if not _TYPE.fullmatch(text) or text.lower().startswith(("multipart/", "message/")):
        raise ValueError("must be a type such as application/pdf")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
Text = Annotated[str, AfterValidator(_encodable)]
Email = Annotated[Address, BeforeValidator(_address), WithJsonSchema({"type": "string", "format": "email"})]
Emails = Annotated[
    list[Email],
    BeforeValidator(listed),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "email"},
                {"type": "array", "items": {"type": "string", "format": "email"}},
            ]
        }
    ),
]
Base64 = Annotated[bytes, BeforeValidator(_decoded), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
MediaType = Annotated[str, AfterValidator(_media_type)]


class Body(BaseModel):
    """A JSON object of a send request. Unknown members are ignored, unless a dialect says otherwise."""

    model_config = ConfigDict(arbitrary_types_allowed=True, hide_input_in_errors=True, strict=True)


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What a dialect takes of files. `extensions`: the only ones, in lower case; None is any."""

    each: int
    together: int
    count: int | None = None
    extensions: frozenset[str] | None = None

    def faults(self, files: Iterable[Attachment], path: str = "attachments") -> list[Fault]:
        found: list[Fault] = []
        total = 0
        for number, file in enumerate(files):
            total += len(file.content)
            extension = file.filename.rpartition(".")[2].lower()
            if len(file.content) > self.each:
                found.append(Fault(f"{path}.{number}.content", f"is over {self.each // MB} MB"))
            if self.extensions is not None and extension not in self.extensions:
                found.append(Fault(f"{path}.{number}.filename", "has an extension that is not taken"))
            if self.count is not None and number == self.count:
                found.append(Fault(path, f"are more than {self.count}"))
        if total > self.together:
            found.append(Fault(path, f"are over {self.together // MB} MB together"))
        return found


def header_faults(headers: Mapping[Any, Any] | Any, path: str = "headers") -> list[Fault]:
    """What is wrong with the names of a client's own headers; values are the model's to check."""
    if not isinstance(headers, Mapping):
        return []
    faults = [Fault(path, f"has more than {MOST_HEADERS} headers")] if len(headers) > MOST_HEADERS else []
    seen: set[str] = set()
    for name in list(headers)[:MOST_HEADERS]:
        folded = str(name).lower()
        if not _NAME.fullmatch(str(name)) or folded in RESERVED or folded.startswith(RESERVED_PREFIXES):
            faults.append(Fault(f"{path}.{printable(str(name), 76)}", "cannot be set here"))
        elif folded in seen:
            faults.append(Fault(f"{path}.{printable(str(name), 76)}", "stands twice; case does not count"))
        seen.add(folded)
    return faults
