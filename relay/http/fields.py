"""The kinds of values that send requests are made of in every dialect, each with its JSON schema."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)

from relay.errors import Fault, Problem, printable
from relay.http.letter import Attachment, Mailbox
from relay.message import Address, canonical_domain
from relay.routing import options
from relay.values import MB, faults_of

# What a client may not set by headers of its own: it has a field, is ours or SES's to write, or would break the MIME.
RESERVED = frozenset(
    {"from", "to", "cc", "bcc", "subject", "sender", "return-path", "received", "mime-version"}
    | {"message-id", "date", "dkim-signature", "resent-bcc", "delivered-to"}
    | options.NAMES
)
RESERVED_PREFIXES = ("content-", "x-ses-", "x-relay-")
MOST_HEADERS = 100
MOST_HEADER_OCTETS = 64 << 10  # of all together
LONGEST_NAME = 320  # characters of what is shown for an address
MOST_LISTED = 1000  # addresses that are looked at before a list is refused
MOST_NAMED = 10  # unknown members
LONGEST_CALENDAR = 1 << 20  # characters

_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 section 3.6.8
_MEMBER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,23}")
_CONTENT_ID = re.compile(r"[!-;=?-~]{1,250}")  # RFC 2392: what a URL can name; without the brackets
_CALENDAR = re.compile(r"\s*BEGIN:VCALENDAR\s", re.IGNORECASE)  # RFC 5545 section 3.4
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
    if "<" in text:
        raise ValueError("must be an address alone, such as ana@example.com: a name has a field of its own")
    try:
        return Address.parse(text.strip())
    except Problem as problem:
        raise ValueError(problem.detail) from problem


def _person(value: Any) -> Mailbox:
    if isinstance(value, str):
        return Mailbox(_address(value))
    try:
        person = PersonBody.model_validate(value)
    except ValidationError as exc:
        raise ValueError("; ".join(map(str, faults_of(exc)))) from exc
    return Mailbox(person.email, person.name)


def listed(value: Any) -> Any:
    """One or a list, as Sendex takes it."""
    return [value] if isinstance(value, str | dict) else ([] if value is None else value)


def _domain(text: Any) -> str:
    if not isinstance(text, str):
        raise ValueError("must be a domain")
    try:
        return canonical_domain(text.strip())
    except Problem as problem:
        raise ValueError(problem.detail) from problem


def _content_id(text: str) -> str:
    bare = text[1:-1] if text.startswith("<") and text.endswith(">") else text
    if not _CONTENT_ID.fullmatch(bare):
        raise ValueError("must be a name such as logo, or logo@example.com, without spaces")
    return bare


def _calendar(text: str) -> str:
    if not _CALENDAR.match(text):
        raise ValueError("must be iCalendar text, which starts with BEGIN:VCALENDAR")
    return _encodable(text)


def _metadata(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise options.Wrong(options.NO_TEXTS)
    return options.metadata(list(value.items()))


def _moment(value: Any) -> int:
    return options.moment(value if isinstance(value, str) else "")


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
MediaType = Annotated[
    str, AfterValidator(_media_type), WithJsonSchema({"type": "string", "pattern": f"^{_TYPE.pattern}$"})
]
ContentId = Annotated[str, AfterValidator(_content_id), WithJsonSchema({"type": "string", "pattern": "^[!-~]{1,252}$"})]
Calendar = Annotated[str, Field(max_length=LONGEST_CALENDAR), AfterValidator(_calendar)]
Domain = Annotated[str, PlainValidator(_domain), WithJsonSchema({"type": "string", "format": "hostname"})]


class Body(BaseModel):
    """A JSON object of a send request. Unknown members are ignored, unless a dialect says otherwise."""

    model_config = ConfigDict(arbitrary_types_allowed=True, hide_input_in_errors=True, strict=True)


class PersonBody(Body):
    """An address and the name that is shown for it."""

    email: Email
    name: Annotated[Line, Field(max_length=LONGEST_NAME)] = ""


_PERSON = {
    "anyOf": [
        {"type": "string", "format": "email"},
        {
            "type": "object",
            "properties": {
                "email": {"type": "string", "format": "email"},
                "name": {"type": "string", "maxLength": LONGEST_NAME},
            },
            "required": ["email"],
        },
    ]
}
# An address, or an address with a name; one, or a list of them.
People = Annotated[
    list[Annotated[Mailbox, PlainValidator(_person)]],
    Field(max_length=MOST_LISTED),
    BeforeValidator(listed),
    WithJsonSchema({"anyOf": [*_PERSON["anyOf"], {"type": "array", "items": _PERSON, "maxItems": MOST_LISTED}]}),
]

# -- options: routing/options.py has their rules ---------------------------------------------------------------------

Tag = Annotated[str, AfterValidator(options.tag), WithJsonSchema({"type": "string", "pattern": f"^{options.TAG}$"})]
Metadata = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": options.MAX_ENTRIES,
            "propertyNames": {"minLength": 1, "maxLength": options.MAX_NAME},
            "additionalProperties": {"type": "string", "maxLength": options.MAX_VALUE},
        }
    ),
]
Moment = Annotated[int, PlainValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]


# -- files and headers -----------------------------------------------------------------------------------------------


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
    if sum(len(str(name)) + len(str(value)) for name, value in headers.items()) > MOST_HEADER_OCTETS:
        faults.append(Fault(path, f"are over {MOST_HEADER_OCTETS >> 10} KB together"))
    return faults


def ignored(value: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, ...]:
    """A warning where a request has members that nobody reads."""
    known = {field.alias or name for name, field in model.model_fields.items()}
    unknown = [name for name in value if name not in known]
    if not unknown:
        return ()
    named = [name for name in unknown if _MEMBER.fullmatch(name)][:MOST_NAMED]  # any other may be content gone astray
    others = [f"{len(unknown) - len(named)} others"] if len(named) < len(unknown) else []
    return (f"not known here, and ignored: {', '.join(named + others)}",)


def _few(value: Any) -> Any:
    """Before each is looked at: a hundred thousand would all be found fault with."""
    if isinstance(value, Mapping) and len(value) > MOST_HEADERS:
        raise ValueError(f"has more than {MOST_HEADERS} headers")
    return value


Headers = Annotated[dict[str, Line], BeforeValidator(_few)]  # with `header_faults` for their names
