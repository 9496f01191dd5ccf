"""The members of Sendmux's send request, and what is wrong with them in zod's words (contract 4.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.config import JsonDict

from relay.errors import Fault, printable
from relay.http.dialects.sendmux_files import TYPES, type_of
from relay.http.fields import MOST_HEADERS, Base64, Body, Email, Line, MediaType, Text, header_faults
from relay.http.letter import Attachment, Mailbox
from relay.values import MB, faults_of

LONGEST_BODY = 25 * MB  # characters
MOST_RECIPIENTS = 50  # to, cc and bcc together
MOST_COPIES = 49  # in cc, and in bcc
MOST_FILES = 10
MOST_GROUPS = 50
MOST_MEMBERS = 20  # of one object, unknown ones included, that are looked at one by one
LONGEST_PATH = 150
GROUP_HEADER = "x-sendmux-delivery-group"

_GROUP = re.compile(r"dgrp_[a-z0-9][a-z0-9_-]{0,122}")
_ZOD = {  # by the validator's own word
    "missing": "invalid_type",
    "string_too_short": "too_small",
    "bytes_too_short": "too_small",
    "too_short": "too_small",
    "string_too_long": "too_big",
    "too_long": "too_big",
    "literal_error": "invalid_enum_value",
    "extra_forbidden": "unrecognized_keys",
    "string_pattern_mismatch": "invalid_string",
    "value_error": "invalid_string",
}
_VARIANT = re.compile(r"(?<=^attachments)\.(\d+)\.(?:inline|uploaded)(?=\.|$)")


class _NotTaken(ValueError):
    """It has the form that it is to have; zod has no word for what is wrong then but `custom`."""


def _taken(filename: str) -> str:
    if type_of(filename) is None:
        raise _NotTaken("has an extension that is not taken")
    return filename


def _unknown(attachment_id: str) -> str:
    raise _NotTaken("names no upload of yours: give the file itself, in filename and content")


def _groups(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not 0 < len(names) <= MOST_GROUPS:
        raise ValueError(f"must be the id of a delivery group, or a list of 1 to {MOST_GROUPS}")
    if not all(isinstance(name, str) and _GROUP.fullmatch(name) for name in names):
        raise ValueError("takes ids such as dgrp_marketing")
    return tuple(names)


Groups = Annotated[
    tuple[str, ...],
    PlainValidator(_groups),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_GROUP.pattern}$"},
                {
                    "type": "array",
                    "items": {"type": "string", "pattern": f"^{_GROUP.pattern}$"},
                    "minItems": 1,
                    "maxItems": MOST_GROUPS,
                },
            ]
        }
    ),
]


class Strict(Body):
    """A member that is not known is a fault."""

    model_config = ConfigDict(extra="forbid")


class Person(Strict):
    email: Email
    name: Annotated[Line, Field(max_length=100)] | None = None

    @property
    def mailbox(self) -> Mailbox:
        return Mailbox(self.email, self.name or "")


class InlineFile(Strict):
    """A file in the request itself. Without a `type` its extension tells it."""

    filename: Annotated[Line, Field(min_length=1, max_length=255), AfterValidator(_taken)] = Field(
        json_schema_extra={"pattern": rf"\.({'|'.join(TYPES)})$"}
    )
    content: Annotated[Base64, Field(min_length=1)] = Field(repr=False, json_schema_extra={"minLength": 4})
    type: MediaType | None = None
    encoding: Literal["base64"] = "base64"

    @field_validator("content")
    @classmethod
    def _is_what_its_name_says(cls, content: bytes, info: ValidationInfo) -> bytes:
        expected = type_of(info.data.get("filename", ""))
        if expected is not None and not expected.is_of(content):
            raise _NotTaken("is no file of the type that its name says")
        return content

    @property
    def attachment(self) -> Attachment:
        known = type_of(self.filename)
        assert known is not None  # or it would not have been taken
        return Attachment(self.filename, self.content, self.type or known.media_type)


class UploadedFile(Strict):
    """A file that was uploaded before. None is known: uploads are not served here."""

    attachment_id: Annotated[str, Field(pattern=r"^att_[a-z0-9]{24}$"), AfterValidator(_unknown)]


def _variant(value: Any) -> str:
    return "uploaded" if isinstance(value, Mapping) and "attachment_id" in value else "inline"


File = Annotated[
    Annotated[InlineFile, Tag("inline")] | Annotated[UploadedFile, Tag("uploaded")], Discriminator(_variant)
]

EXAMPLE: JsonDict = {
    "from": {"email": "news@shared.example", "name": "News"},
    "to": {"email": "ana@simulator.amazonses.com"},
    "subject": "Order 9",
    "html_body": "<p>Thanks</p>",
    "text_body": "Thanks",
}


def _without_default(schema: JsonDict) -> None:
    """What stands for a member that is not there is nothing that it may be."""
    schema.pop("default", None)


class SendBody(Strict):
    """The request of `POST /api/v1/emails/send`, and of each message in a batch."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    sender: Person = Field(alias="from")
    to: Person
    subject: Annotated[Line, Field(min_length=1, max_length=998)]
    html_body: Annotated[Text, Field(min_length=1, max_length=LONGEST_BODY)] = Field(repr=False)
    text_body: Annotated[Text, Field(max_length=LONGEST_BODY)] | None = Field(default=None, repr=False)
    reply_to: Person | None = None
    return_path: Email | None = None
    cc: Annotated[list[Person], Field(max_length=MOST_COPIES)] = []
    bcc: Annotated[list[Person], Field(max_length=MOST_COPIES)] = []
    custom_headers: dict[str, Annotated[Line, Field(max_length=500)]] = Field(
        default={}, json_schema_extra={"maxProperties": MOST_HEADERS, "propertyNames": {"pattern": "^[Xx]-"}}
    )
    delivery_group: Groups = Field(default=(), json_schema_extra=_without_default)
    attachments: Annotated[list[File], Field(max_length=MOST_FILES)] = []


def issues(exc: ValidationError) -> list[Fault]:
    """Every fault, with zod's word for its sort."""
    codes: dict[str, str] = {}
    for each in exc.errors(include_url=False, include_input=False):
        codes.setdefault(".".join(str(part) for part in each["loc"] if part != "[key]"), _code(each))
    return [
        replace(fault, path=printable(_VARIANT.sub(r".\1", fault.path), LONGEST_PATH), code=codes[fault.path])
        for fault in faults_of(exc, unknown="is no member of this request")
    ]


def _code(found: Mapping[str, Any]) -> str:
    if isinstance(found.get("ctx", {}).get("error"), _NotTaken):
        return "custom"
    return "invalid_type" if found["type"].endswith("_type") else _ZOD.get(found["type"], "custom")


def crowds(value: Mapping[str, Any]) -> list[Fault]:
    """Where there is so much that a fault for each would be more than anyone reads: the rest is not looked at then."""
    lists = {"cc": MOST_COPIES, "bcc": MOST_COPIES, "attachments": MOST_FILES}
    objects: dict[str, Any] = {"": value} | {name: value.get(name) for name in ("from", "to", "reply_to")}
    faults: list[Fault] = []
    for name, most in lists.items():
        items = value.get(name)
        if isinstance(items, list) and len(items) > most:
            faults.append(Fault(name, f"must have at most {most} items", "too_big"))
        elif isinstance(items, list):
            objects |= {f"{name}.{number}": item for number, item in enumerate(items)}
    for path, item in objects.items():
        if isinstance(item, Mapping) and len(item) > MOST_MEMBERS:
            faults.append(Fault(path, "has many members that are not known", "unrecognized_keys"))
    headers = value.get("custom_headers")
    if isinstance(headers, Mapping) and len(headers) > MOST_HEADERS:
        faults.append(Fault("custom_headers", f"has more than {MOST_HEADERS} headers", "too_big"))
    return faults


def together(value: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with members together, or with names in them."""
    faults: list[Fault] = []
    copies = [each for name in ("cc", "bcc") if isinstance(each := value.get(name), list)]
    total = 1 + sum(map(len, copies))
    if total > MOST_RECIPIENTS:
        said = f"to, cc and bcc have {total} recipients together; {MOST_RECIPIENTS} is the most for one message"
        faults.append(Fault("cc", said, "too_big"))
    headers = value.get("custom_headers")
    faults += [replace(fault, code="custom") for fault in header_faults(headers, "custom_headers")]
    for name in headers if isinstance(headers, Mapping) else ():
        if not name.lower().startswith("x-") or name.lower() == GROUP_HEADER:
            path = f"custom_headers.{printable(name, 76)}"
            faults.append(Fault(path, "cannot be set here: names begin with X-", "custom"))
    return _one_each(faults)


def _one_each(faults: list[Fault]) -> list[Fault]:
    found: dict[str, Fault] = {}
    for fault in faults:
        found.setdefault(fault.path, fault)
    return list(found.values())
