"""The verbs that bring a message: MAIL, RCPT, DATA; each in four beats: parse, ask, note, answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.errors import Kind, Problem
from relay.message import Addressee, Submission, Trace
from relay.routing.limits import LARGE
from relay.routing.senders import Credential
from relay.smtp import parameters, paths, receiving
from relay.smtp.conversation import Refused, Transaction
from relay.smtp.replies import Reply

if TYPE_CHECKING:
    from relay.smtp.protocol import Connection


def _sender(c: Connection) -> Credential:
    """Who is sending. Raises Problem or Refused where nobody is known."""
    if c.credential is None:
        if c.can_start_tls and not c.may_authenticate:
            raise Refused(Reply.START_TLS_FIRST)
        raise Problem(Kind.NO_CREDENTIAL)
    return c.credential


async def mail(c: Connection, argument: bytes) -> None:
    if not c.helo:
        raise Refused(Reply.SAY_HELLO)
    if c.transaction is not None:
        raise Refused(Reply.BAD_SEQUENCE, "one message at a time: finish this one or send RSET")
    credential = _sender(c)
    given, words = paths.parse(argument, "FROM:")
    dsn, size = parameters.read_mail(words, c.edge.max_message_size)
    sender = c.edge.intake.check_sender(credential, given)
    c.transaction = Transaction(sender, dsn, size)
    c.say(Reply.SENDER_OK.wire)


async def rcpt(c: Connection, argument: bytes) -> None:
    transaction = c.transaction
    if transaction is None:
        raise Refused(Reply.BAD_SEQUENCE, "send MAIL first")
    recipient, words = paths.parse(argument, "TO:")
    notify, orcpt = parameters.read_rcpt(words)
    if recipient is None:
        raise Problem(Kind.BAD_ADDRESS, "a recipient cannot be empty")
    if len(transaction.recipients) >= c.edge.max_recipients:
        raise Problem(Kind.TOO_MANY_RECIPIENTS, f"a message takes {c.edge.max_recipients} recipients; send it again")
    await c.edge.intake.recipients.check(_sender(c), recipient)
    transaction.recipients.setdefault(recipient, Addressee(recipient, notify=notify, orcpt=orcpt))
    c.say(Reply.RECIPIENT_OK.wire)


async def data(c: Connection, argument: bytes) -> None:
    transaction = c.transaction
    if argument:
        raise Refused(Reply.BAD_ARGUMENT, "DATA takes no argument")
    if transaction is None or not transaction.recipients:
        raise Refused(Reply.BAD_SEQUENCE, "send MAIL and at least one good RCPT first")
    c.require_step()
    with c.edge.memory.share() as share:
        if transaction.size > LARGE:  # refused before it is sent for nothing
            share.expect(transaction.size)
        c.say(Reply.SEND_DATA.wire)
        try:
            content = await receiving.message(c, share)
        except Problem:
            c.transaction = None  # RFC 5321 section 4.1.1.4: it ends with its message, whatever became of that
            raise
        c.transaction = None
        submission = Submission(
            transaction.sender, tuple(transaction.recipients.values()), content, _trace(c), dsn=transaction.dsn
        )
        accepted = await c.edge.intake.accept(_sender(c), submission)
    c.has_sent = True
    c.record.accepted()
    c.say(Reply.OK.line(f"Accepted as {accepted.public_id}"))


def _trace(c: Connection) -> Trace:
    protocol = "ESMTP" if c.is_esmtp else "SMTP"
    if c.is_esmtp:  # RFC 3848
        protocol += "S" * c.is_tls + "A" * c.is_authenticated
    return Trace(protocol, c.helo)
