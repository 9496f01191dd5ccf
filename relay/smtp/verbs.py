"""The verbs that are not about a message: greeting, TLS, and what keeps a session going or ends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from relay.smtp import login, mailing, replies
from relay.smtp.conversation import Closed, Refused
from relay.smtp.replies import Reply

if TYPE_CHECKING:
    from relay.smtp.protocol import Connection


async def _ehlo(c: Connection, argument: bytes) -> None:
    _greet(c, argument, is_esmtp=True)
    c.require_step()
    c.say(replies.hello(c.edge.hostname, c.extensions()))


async def _helo(c: Connection, argument: bytes) -> None:
    _greet(c, argument, is_esmtp=False)
    c.require_step()
    c.say(replies.hello(c.edge.hostname, []))


def _greet(c: Connection, argument: bytes, *, is_esmtp: bool) -> None:
    if not argument:
        raise Refused(Reply.BAD_ARGUMENT, "say who you are: EHLO your.host.name")
    c.transaction = None  # RFC 5321 section 4.1.4
    c.is_esmtp = is_esmtp
    c.helo = argument.decode("ascii", "replace")


async def _starttls(c: Connection, argument: bytes) -> None:
    if argument:
        raise Refused(Reply.BAD_ARGUMENT, "STARTTLS takes no argument")
    if c.is_tls or c.transaction is not None:
        raise Refused(Reply.BAD_SEQUENCE, "TLS is on already, or a message is in hand")
    if c.rules.starttls is None:
        raise Refused(Reply.TLS_UNAVAILABLE)
    c.say(Reply.READY_FOR_TLS.wire)
    await c.start_tls(c.rules.starttls)
    c.helo = ""


async def _rset(c: Connection, _argument: bytes) -> None:
    c.transaction = None
    c.say(Reply.OK.wire)


async def _noop(c: Connection, _argument: bytes) -> None:
    c.say(Reply.OK.wire)


async def _help(c: Connection, _argument: bytes) -> None:
    c.say(Reply.HELP.wire)


async def _vrfy(c: Connection, _argument: bytes) -> None:
    c.say(Reply.CANNOT_VERIFY.wire)


async def _not_implemented(c: Connection, _argument: bytes) -> None:
    raise Refused(Reply.NOT_IMPLEMENTED)


async def _bdat(c: Connection, _argument: bytes) -> None:
    """CHUNKING is not offered. What follows is a message, and not to be read as commands."""
    raise Refused(Reply.NOT_IMPLEMENTED, "CHUNKING is not offered here: send DATA", is_final=True)


async def _http(c: Connection, _argument: bytes) -> None:
    """A browser was led here, to send what follows as commands (SMTP fact 1.3)."""
    raise Refused(Reply.NOT_SMTP, is_final=True)


async def _quit(c: Connection, _argument: bytes) -> None:
    c.say(Reply.BYE.wire)
    c.has_quit = True
    raise Closed


Verb = Callable[["Connection", bytes], Awaitable[None]]
VERBS: dict[bytes, Verb] = {
    b"EHLO": _ehlo,
    b"HELO": _helo,
    b"STARTTLS": _starttls,
    b"AUTH": login.authenticate,
    b"MAIL": mailing.mail,
    b"RCPT": mailing.rcpt,
    b"DATA": mailing.data,
    b"RSET": _rset,
    b"NOOP": _noop,
    b"HELP": _help,
    b"VRFY": _vrfy,
    b"EXPN": _not_implemented,
    b"BDAT": _bdat,
    b"TURN": _not_implemented,
    b"ETRN": _not_implemented,
    b"QUIT": _quit,
    b"GET": _http,
    b"POST": _http,
    b"CONNECT": _http,
}
# They bring no mail forward. Clients that say nothing else keep a slot for nothing.
IDLE_VERBS = frozenset({b"NOOP", b"RSET", b"HELP", b"VRFY", b"EXPN", b"EHLO", b"HELO"})
