"""The SMTP verbs, each in four beats: parse, ask, note, answer. Holds no rule of its own."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from relay import log
from relay.errors import Kind, Problem
from relay.message import Addressee, Submission, Trace
from relay.routing.senders import Credential
from relay.smtp import auth, paths, replies
from relay.smtp.body import Body
from relay.smtp.conversation import Closed, Transaction
from relay.smtp.paths import Refused
from relay.smtp.replies import Reply

if TYPE_CHECKING:
    from relay.smtp.protocol import Connection

TLS_HANDSHAKE = 30.0  # seconds
LOGINS = 3  # failures on one connection


async def _hello(c: Connection, argument: bytes, *, is_esmtp: bool) -> None:
    if not argument:
        raise Refused(Reply.BAD_ARGUMENT, "say who you are: EHLO your.host.name")
    c.transaction = None
    c.is_esmtp = is_esmtp
    c.helo = argument.decode("ascii", "replace")
    extensions: list[str] = []
    if is_esmtp:
        extensions = [f"SIZE {c.edge.max_message_size}", "8BITMIME", "ENHANCEDSTATUSCODES"]
        if _can_start_tls(c):
            extensions.append("STARTTLS")
        if _may_authenticate(c):
            extensions.append("AUTH PLAIN LOGIN")
        extensions.append("HELP")
    await c.push(replies.hello(c.edge.hostname, extensions))


async def _ehlo(c: Connection, argument: bytes) -> None:
    await _hello(c, argument, is_esmtp=True)


async def _helo_verb(c: Connection, argument: bytes) -> None:
    await _hello(c, argument, is_esmtp=False)


def _can_start_tls(c: Connection) -> bool:
    return c.rules.starttls is not None and not c.is_tls


def _may_authenticate(c: Connection) -> bool:
    return c.is_tls or c.rules.auth_without_tls


async def _starttls(c: Connection, argument: bytes) -> None:
    if argument:
        raise Refused(Reply.BAD_ARGUMENT, "STARTTLS takes no argument")
    if c.is_tls or c.transaction is not None:
        raise Refused(Reply.BAD_SEQUENCE)
    if c.rules.starttls is None:
        raise Refused(Reply.TLS_UNAVAILABLE)
    await c.push(Reply.READY_FOR_TLS.line())
    # What was sent in clear after the command could have been put there by anyone (RFC 3207 section 5).
    c.buffer.clear()
    c.reader._buffer.clear()  # type: ignore[attr-defined]
    c._reset_timeout(TLS_HANDSHAKE + 1)
    try:
        await c.writer.start_tls(c.rules.starttls, ssl_handshake_timeout=TLS_HANDSHAKE)
    except (ssl.SSLError, ConnectionError, TimeoutError) as exc:
        log.event("smtp.tls_failed", client=c.client, reason=getattr(exc, "reason", "") or type(exc).__name__)
        raise Closed from exc
    c.is_tls = True
    c.helo = ""
    c.credential = c.rules.trusted(c.client)


async def _auth(c: Connection, argument: bytes) -> None:
    if not c.helo:
        raise Refused(Reply.SAY_HELLO)
    if c.transaction is not None or (c.credential is not None and c.credential.key_id is not None):
        raise Refused(Reply.BAD_SEQUENCE, "already authenticated, or in the middle of a message")
    if not _may_authenticate(c):
        raise Refused(Reply.NEEDS_TLS)
    mechanism, _, initial = argument.partition(b" ")
    match mechanism.upper():
        case b"PLAIN":
            password = auth.password_of_plain(await _response(c, "", initial))
        case b"LOGIN":
            await _response(c, auth.USERNAME, initial)
            password = auth.text(await _response(c, auth.PASSWORD, b""))
        case _:
            raise Refused(Reply.UNKNOWN_MECHANISM)
    try:
        # A login with no password at all is a wrong one.
        c.credential = c.edge.door.authenticate(c.client, password or "-")
    except Problem as problem:
        c.logins += 1
        if c.logins >= LOGINS:
            c.edge.refused(problem, c.client)
            await c.push(Reply.TOO_MANY_LOGINS.line())
            raise Closed from problem
        raise
    await c.push(Reply.AUTHENTICATED.line())


async def _response(c: Connection, prompt: str, initial: bytes) -> bytes:
    if initial:
        return auth.decode(initial)
    await c.push(replies.challenge(prompt))
    return auth.decode(await c.line(auth.MAX_LINE))


def _sender(c: Connection) -> Credential:
    """Who is sending. Raises Problem or Refused where nobody is known."""
    if c.credential is None:
        if _can_start_tls(c) and not _may_authenticate(c):
            raise Refused(Reply.START_TLS_FIRST)
        raise Problem(Kind.NO_CREDENTIAL)
    return c.credential


async def _mail(c: Connection, argument: bytes) -> None:
    if not c.helo:
        raise Refused(Reply.SAY_HELLO)
    if c.transaction is not None:
        raise Refused(Reply.BAD_SEQUENCE, "one message at a time: finish this one or send RSET")
    credential = _sender(c)
    sender, parameters = paths.parse(argument, "FROM:")
    for name, value in parameters.items():
        _check_parameter(c, name, value)
    c.edge.intake.check_sender(credential, sender)
    assert sender is not None  # check_sender refuses the null sender
    c.transaction = Transaction(sender)
    await c.push(Reply.SENDER_OK.line())


def _check_parameter(c: Connection, name: str, value: str) -> None:
    match name:
        case "SIZE":  # RFC 1870
            if not value.isdecimal():
                raise Refused(Reply.BAD_ARGUMENT, "SIZE is a number of octets")
            if int(value[:20]) > c.edge.max_message_size:
                raise Problem(Kind.TOO_LARGE, f"the message is over {c.edge.max_message_size} octets")
        case "BODY":  # RFC 6152
            if value.upper() not in {"7BIT", "8BITMIME"}:
                raise Refused(Reply.BAD_ARGUMENT, "BODY is 7BIT or 8BITMIME")
        case "AUTH" | "RET" | "ENVID":  # harmless, and widely sent without asking (SMTP fact 0.3)
            return
        case _:
            raise Refused(Reply.UNKNOWN_PARAMETER, f"the parameter {name} is not known here")


async def _rcpt(c: Connection, argument: bytes) -> None:
    transaction = c.transaction
    if transaction is None:
        raise Refused(Reply.BAD_SEQUENCE, "send MAIL first")
    recipient, parameters = paths.parse(argument, "TO:")
    for name in parameters:
        if name not in {"NOTIFY", "ORCPT"}:
            raise Refused(Reply.UNKNOWN_PARAMETER, f"the parameter {name} is not known here")
    if recipient is None:
        raise Problem(Kind.BAD_ADDRESS, "a recipient cannot be empty")
    if len(transaction.recipients) >= c.edge.max_recipients:
        raise Problem(Kind.TOO_MANY_RECIPIENTS, f"a message takes {c.edge.max_recipients} recipients; send it again")
    await c.edge.intake.recipients.check(_sender(c), recipient)
    addressee = Addressee(recipient)
    if addressee not in transaction.recipients:
        transaction.recipients.append(addressee)
    await c.push(Reply.RECIPIENT_OK.line())


async def _data(c: Connection, argument: bytes) -> None:
    transaction = c.transaction
    if argument:
        raise Refused(Reply.BAD_ARGUMENT, "DATA takes no argument")
    if transaction is None or not transaction.recipients:
        raise Refused(Reply.BAD_SEQUENCE, "send MAIL and at least one good RCPT first")
    await c.push(Reply.SEND_DATA.line())
    with c.edge.memory.share() as share:
        body = Body(c.edge.max_message_size, share)
        rest = body.feed(bytes(c.buffer))
        while rest is None:
            c.buffer.clear()
            if body.problem is not None and body.received > 3 * c.edge.max_message_size:
                c.edge.refused(body.problem, c.client)
                await c.dismiss(replies.refusal(body.problem))
            await c.fill()
            rest = body.feed(bytes(c.buffer))
        c.buffer[:] = rest
        c.transaction = None
        submission = Submission(transaction.sender, tuple(transaction.recipients), body.content(), _trace(c))
        accepted = await c.edge.intake.accept(_sender(c), submission)
    await c.push(Reply.OK.line(f"Accepted as {accepted.public_id}"))


def _trace(c: Connection) -> Trace:
    protocol = "ESMTP" if c.is_esmtp else "SMTP"
    if c.is_esmtp:  # RFC 3848
        is_known = c.credential is not None and c.credential.key_id is not None
        protocol += "S" * c.is_tls + "A" * is_known
    return Trace(protocol, c.helo)


async def _rset(c: Connection, _argument: bytes) -> None:
    c.transaction = None
    await c.push(Reply.OK.line())


async def _noop(c: Connection, _argument: bytes) -> None:
    await c.push(Reply.OK.line())


async def _help(c: Connection, _argument: bytes) -> None:
    await c.push(Reply.HELP.line())


async def _vrfy(c: Connection, _argument: bytes) -> None:
    await c.push(Reply.CANNOT_VERIFY.line())


async def _not_implemented(c: Connection, _argument: bytes) -> None:
    raise Refused(Reply.NOT_IMPLEMENTED)


async def _quit(c: Connection, _argument: bytes) -> None:
    await c.push(Reply.BYE.line())
    raise Closed


Verb = Callable[["Connection", bytes], Awaitable[None]]
VERBS: dict[bytes, Verb] = {
    b"EHLO": _ehlo,
    b"HELO": _helo_verb,
    b"STARTTLS": _starttls,
    b"AUTH": _auth,
    b"MAIL": _mail,
    b"RCPT": _rcpt,
    b"DATA": _data,
    b"RSET": _rset,
    b"NOOP": _noop,
    b"HELP": _help,
    b"VRFY": _vrfy,
    b"EXPN": _not_implemented,
    b"BDAT": _not_implemented,
    b"TURN": _not_implemented,
    b"ETRN": _not_implemented,
    b"QUIT": _quit,
}
