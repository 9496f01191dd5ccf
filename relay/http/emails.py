"""The native API: `POST /api/v1/emails` and `GET /api/v1/emails/{id}`, a superset of Sendex's."""

from __future__ import annotations

import base64
import binascii
import re
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.declared import Permission
from relay.delivery import State as DeliveryState
from relay.errors import Fault, Kind, Problem, printable
from relay.http import compose
from relay.http.requests import read_body, read_json, validated
from relay.http.state import State
from relay.message import Acceptance, Address, Addressee, Submission, Trace
from relay.message import Field as AddressField
from relay.routing.limits import beside_the_loop
from relay.store import listing
from relay.store.clock import rfc3339
from relay.store.listing import MessageView
from relay.values import MB

MAX_RECIPIENTS = 50  # to, cc and bcc together (Sendex)
MAX_FILE = 7 * MB  # per attachment (Sendex)
MAX_FILES = 10 * MB  # all attachments (Sendex)
MAX_BODY = 40 * MB  # of the request

# What a client may not set by `headers`: it has a field of its own, is ours or SES's to write, or would break the MIME.
RESERVED = frozenset(
    {"from", "to", "cc", "bcc", "reply-to", "subject", "sender", "return-path", "received", "mime-version"}
    | {"message-id", "date", "dkim-signature", "resent-bcc"}
)
_NAME = re.compile(r"[!-9;-~]{1,76}")
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")


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


def _listed(value: Any) -> Any:
    """A string or a list, as Sendex takes it."""
    return [value] if isinstance(value, str) else ([] if value is None else value)


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError("must be base64 in a string")
    try:
        content = base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError("is not base64") from exc
    if len(content) > MAX_FILE:
        raise ValueError(f"is over {MAX_FILE // MB} MB")
    return content


def _content_type(text: str) -> str:
    if not _TYPE.fullmatch(text) or text.lower().startswith(("multipart/", "message/")):
        raise ValueError("must be a type such as application/pdf")
    return text


OneLine = Annotated[str, AfterValidator(_one_line)]
Text = Annotated[str, AfterValidator(_encodable)]
Mailbox = Annotated[Address, BeforeValidator(_address)]
Mailboxes = Annotated[list[Mailbox], BeforeValidator(_listed)]


class _Model(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True, hide_input_in_errors=True, strict=True)


class AttachmentBody(_Model):
    filename: Annotated[OneLine, Field(min_length=1, max_length=255)]
    content: Annotated[bytes, BeforeValidator(_decoded)] = Field(repr=False)
    content_type: Annotated[str, AfterValidator(_content_type)] = "application/octet-stream"


class EmailBody(_Model):
    """The request of `POST /api/v1/emails`. Unknown members are ignored, as Sendex does."""

    sender: Mailbox | None = Field(default=None, alias="from")
    from_name: OneLine = ""
    to: Mailboxes
    cc: Mailboxes = []
    bcc: Mailboxes = []
    reply_to: Mailboxes = []
    subject: Annotated[OneLine, Field(min_length=1, max_length=998)]
    text: Text | None = None
    html: Text | None = None
    headers: dict[str, OneLine] = {}
    attachments: list[AttachmentBody] = []

    @property
    def addressees(self) -> tuple[Addressee, ...]:
        """Every recipient once, in the field that names it first."""
        named: dict[Address, AddressField] = {}
        for field, addresses in ((AddressField.TO, self.to), (AddressField.CC, self.cc), (AddressField.BCC, self.bcc)):
            for address in addresses:
                named.setdefault(address, field)
        return tuple(Addressee(address, field) for address, field in named.items())


def together(value: dict[str, Any], default: Address | None) -> list[Fault]:
    """What is wrong with fields together, whatever is wrong with each: so that one answer lists every fault.

    `default`: whom the mail is from where it does not say.
    """
    faults: list[Fault] = []
    if value.get("from") is None and default is None:
        faults.append(Fault("from", "is required: no domain here has a default sender"))
    if value.get("text") is None and value.get("html") is None:
        faults.append(Fault("text", "text or html missing"))
    listed = {field: _listed(value.get(field)) for field in ("to", "cc", "bcc")}
    total = sum(len(each) for each in listed.values() if isinstance(each, list))
    if total > MAX_RECIPIENTS:
        faults.append(
            Fault(
                "to", f"to, cc and bcc have {total} recipients together; {MAX_RECIPIENTS} is the most for one message"
            )
        )
    if listed["to"] == [] and "to" in value:
        faults.append(Fault("to", "must name at least one recipient"))
    headers = value.get("headers")
    for name in headers if isinstance(headers, dict) else ():
        if not _NAME.fullmatch(name) or name.lower() in RESERVED or name.lower().startswith("content-"):
            faults.append(Fault(f"headers.{printable(name, 76)}", "cannot be set here"))
    return faults


def _read(body: bytes, default: Address | None) -> EmailBody:
    value = read_json(body)
    email = validated(EmailBody, value, partial(together, default=default))
    if sum(len(file.content) for file in email.attachments) > MAX_FILES:
        raise Problem(Kind.BAD_REQUEST, faults=(Fault("attachments", f"are over {MAX_FILES // MB} MB together"),))
    return email


def _compose(body: EmailBody, author: Address) -> bytes:
    return compose.compose(
        compose.Parts(
            sender=author,
            sender_name=body.from_name,
            to=body.to,
            cc=body.cc,
            reply_to=body.reply_to,
            subject=body.subject,
            text=body.text,
            html=body.html,
            headers=list(body.headers.items()),
            attachments=[
                compose.Attachment(file.filename, file.content, file.content_type) for file in body.attachments
            ],
        )
    )


async def send(request: Request) -> Response:
    """202: durable and on its way. A refusal queues nothing."""
    state: State = request.app.state.relay
    credential = state.authenticate(request)
    with state.memory.share() as share:
        octets = await read_body(request, MAX_BODY, share)
        share.take(2 * len(octets))  # the parsed request and the composed message
        intake = state.intake
        default = intake.senders.default_sender(credential)
        body = await beside_the_loop(len(octets), lambda: _read(octets, default))
        author = body.sender or default
        assert author is not None  # or `together` had found a fault
        intake.check_author(credential, author, len(body.addressees))
        paths = [(addressee.field.value, addressee.address) for addressee in body.addressees]
        warnings = await intake.recipients.check_all(credential, paths)
        raw = await beside_the_loop(len(octets), lambda: _compose(body, author))
        submission = Submission(author, body.addressees, raw, Trace("HTTP"), body.subject)
        accepted = await intake.accept(credential, submission)
    return JSONResponse(_echo(body, author, accepted, warnings), HTTPStatus.ACCEPTED)


def _echo(body: EmailBody, author: Address, accepted: Acceptance, warnings: list[str]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": accepted.public_id,
        "message_id": accepted.message_id,
        "from": str(author),
        "to": [str(address) for address in body.to],
        "cc": [str(address) for address in body.cc],
        "bcc": [str(address) for address in body.bcc],
        "subject": body.subject,
        "created_at": rfc3339(accepted.accepted_at),
    }
    said = [*warnings, *accepted.warnings]
    return answer | ({"warnings": said} if said else {})


async def retrieve(request: Request) -> Response:
    """What became of one message of the key's tenant. Needs a `full` key."""
    state: State = request.app.state.relay
    credential = state.authenticate(request)
    credential.require(Permission.FULL)
    public_id: str = request.path_params["id"]
    found = await state.store.read(lambda db: listing.message(db, public_id, credential.tenant_id))
    if found is None:
        raise Problem(Kind.NOT_FOUND, "there is no message with this id")
    if credential.scope is not None and found.domain not in credential.scope:
        raise Problem(Kind.NOT_FOUND, "there is no message with this id")
    return JSONResponse(view(found, state.held(found.domain)))


def view(message: MessageView, held: tuple[Kind, str] | None) -> dict[str, Any]:
    """A message for its sender. Addresses are null once they are forgotten.

    `held`: what keeps its domain's mail; what is queued shows as held then, with the reason, though no row has moved.
    """
    everyone = [(each, person) for each in message.deliveries for person in each.recipients]

    def named(field: str) -> list[str | None]:
        return [person.address for _, person in everyone if person.field == field]

    answer: dict[str, Any] = {
        "id": message.public_id,
        "message_id": message.rfc_message_id,
        "from": message.header_from,
        "to": named("to"),
        "cc": named("cc"),
        "bcc": named("bcc"),
        "subject": message.subject,
        "created_at": rfc3339(message.accepted_at),
        "status": message.state,
        "mode": message.mode,
        "stream": message.stream,
        "scheduled_at": message.scheduled_at and rfc3339(message.scheduled_at),
        "tag": message.tag,
        "metadata": message.metadata,
        "track_opens": message.track_opens,
        "track_clicks": message.track_clicks,
        "dsn": {"ret": message.ret, "envid": message.envid},
        "content_destroyed_at": message.destroyed_at and rfc3339(message.destroyed_at),
        "changes": list(message.ledger),
        "recipients": [
            {
                "address": person.address,
                "status": person.state,
                "updated_at": rfc3339(person.updated_at),
                "dsn": {"notify": person.notify, "orcpt": person.orcpt},
            }
            for _, person in everyone
        ],
        "deliveries": [
            {
                "status": each.state,
                "attempts": each.attempts,
                "failures": each.failures,
                "possible_duplicates": each.possible_duplicates,
                "next_attempt_at": each.due_at and rfc3339(each.due_at),
                "finished_at": each.finished_at and rfc3339(each.finished_at),
                "ses_message_id": each.ses_message_id,
                "reason": each.kind,
                "detail": each.detail,
            }
            for each in message.deliveries
        ],
    }
    if held is not None and message.state == DeliveryState.QUEUED.value:
        kind, detail = held
        answer |= {"status": "held", "held": {"reason": kind.slug, "detail": detail}}
    return answer
