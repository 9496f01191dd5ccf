"""The AUTH verb (RFC 4954): who is speaking, by an API key as the password."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.errors import Kind, Problem
from relay.routing.devices import check_device
from relay.smtp import auth, replies
from relay.smtp.conversation import Closed, Refused
from relay.smtp.replies import Reply
from relay.store.smtp_failures import Reason

if TYPE_CHECKING:
    from relay.smtp.protocol import Connection

LOGINS = 3  # failures on one connection (SMTP fact 1.6)
LONGEST_DELAY = 5.0  # seconds


async def authenticate(c: Connection, argument: bytes) -> None:
    if not c.helo:
        raise Refused(Reply.SAY_HELLO)
    if c.is_authenticated:
        raise Refused(Reply.BAD_SEQUENCE, "already authenticated: go on with MAIL")
    if c.transaction is not None:
        raise Refused(Reply.BAD_SEQUENCE, "not in the middle of a message: finish it, or send RSET")
    if not c.may_authenticate:
        raise Refused(Reply.NEEDS_TLS)
    c.require_step()
    mechanism, _, initial = argument.partition(b" ")
    match mechanism.upper():  # .NET and others write it in lower case (SMTP fact 0.5)
        case b"PLAIN":
            password = _password(c, await _response(c, "PLAIN", "", initial))
        case b"LOGIN":
            await _response(c, "LOGIN user name", auth.USERNAME, initial)
            password = auth.text(await _response(c, "LOGIN password", auth.PASSWORD, b""))
        case _:
            raise Refused(Reply.UNKNOWN_MECHANISM)
    try:
        # A login with no password at all is a wrong one.
        credential = c.edge.door.authenticate(c.client, password or "-")
        check_device(credential, c.client, c.tls_version)
    except Problem as problem:
        await _failed(c, problem)
        raise
    c.take(credential.under(c.rules.sender_rule))
    c.is_authenticated = True
    c.edge.admission.remember(c.client)
    c.say(Reply.AUTHENTICATED.wire)


def _password(c: Connection, response: bytes) -> str:
    try:
        return auth.password_of_plain(response)
    except Refused as refused:
        c.record.failed(Reason.AUTH, refused.text)
        raise


async def _failed(c: Connection, problem: Problem) -> None:
    c.record.failed(Reason.AUTH, problem.detail)
    c.logins += 1
    if c.logins >= LOGINS:
        c.edge.refused(problem, c.client)
        c.say(Reply.TOO_MANY_LOGINS.wire)
        raise Closed from problem
    if problem.kind is not Kind.BLOCKED:  # who is blocked is told so at once, and let go
        await asyncio.sleep(min(c.edge.login_delay * c.logins, LONGEST_DELAY))


async def _response(c: Connection, what: str, prompt: str, initial: bytes) -> bytes:
    """What the client answers to a challenge; an initial response stands for the first."""
    if not initial:
        c.say(replies.challenge(prompt))
        initial = await c.secret_line(auth.MAX_LINE, f"AUTH {what}")
    try:
        return auth.decode(initial)
    except Refused as refused:
        if refused.reply is Reply.BAD_BASE64:
            c.record.failed(Reason.AUTH, f"AUTH {what} is not base64")
        raise
