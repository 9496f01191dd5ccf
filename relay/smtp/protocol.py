"""One SMTP conversation: who speaks, command after command, and how it ends. What the verbs do is in verbs.py.

The read loop, every verb and DATA are ours, because aiosmtpd's decode encoded words in envelopes, have no memory bound
in DATA and answer our faults as the client's (SMTP facts 0.1 to 0.5). Octets come and go by channel.py.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from relay import log
from relay.errors import Kind, Problem
from relay.routing.senders import Credential
from relay.smtp import proxy, replies, tls
from relay.smtp.channel import LINGER, Channel
from relay.smtp.conversation import Closed, Refused, Transaction
from relay.smtp.edge import Edge, Rules
from relay.smtp.patience import Wait
from relay.smtp.replies import Reply
from relay.smtp.verbs import IDLE_VERBS, VERBS
from relay.store.smtp_failures import Reason

COMMAND_LINE = 2048  # octets (SMTP fact 1.6)
ENDLESS = 1 << 20  # octets without a line end before the client is let go
ERRORS = 20  # commands in a connection that were not understood (SMTP fact 1.2)
IDLE_COMMANDS = 100  # in a row, without a message
STRESSED_ERRORS = 1  # of both, when slots run out (SMTP fact 1.3)
STRESSED_IDLE_COMMANDS = 10


class Connection(Channel):
    """One client. `edge` is the core and the limits, `rules` the listener's."""

    def __init__(self, edge: Edge, rules: Rules) -> None:
        super().__init__(rules.name)
        self.edge = edge
        self.rules = rules
        self.credential: Credential | None = None
        self.transaction: Transaction | None = None
        self.helo = ""
        self.is_esmtp = False
        self.is_authenticated = False
        self.has_quit = False
        self.has_sent = False
        self.logins = 0
        self._is_admitted = False
        self._is_stopping = False
        self._is_beneath = False  # the conversation: a proxy's header or a handshake is waited for
        self._errors = 0
        self._idle_commands = 0

    # -- the connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.rules.implicit_tls is not None or self.rules.proxies:
            cast(asyncio.Transport, transport).pause_reading()  # what comes first is not for the conversation
        super().connection_made(transport)
        self.edge.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.edge.connections.discard(self)
        super().connection_lost(error)

    def expire(self, now: float, *, is_stressed: bool) -> None:
        """Let go of a client that took too long. The edge asks of every connection, each second."""
        if self._closed_at:
            if now > self._closed_at + LINGER:
                self._transport_of_now().abort()
            return
        overdue = self.edge.patience.overdue(
            self.waiting,
            now,
            connected_at=self._connected_at,
            is_known=self.credential is not None,
            is_stressed=is_stressed,
        )
        if overdue is not None:
            if self.transaction is not None or not self.has_sent:  # many keep a connection for their next message
                self.record.failed(Reason.TIMEOUT, overdue.sentence)
            self._let_go(overdue.reply)

    def stop(self) -> None:
        """The server is stopping: a waiting client is told at once, one in hand after its answer."""
        self._is_stopping = True
        if self._is_beneath:
            self._transport_of_now().abort()
        elif self.waiting.what is not Wait.NOTHING:
            self._let_go(Reply.SHUTTING_DOWN)

    def _let_go(self, reply: Reply | None) -> None:
        """In the middle of a wait: say why, and close. None: it does not read, so there is nothing to say."""
        self.waiting.what = Wait.NOTHING
        self._is_ended = True
        if reply is None:
            self._transport_of_now().abort()
        else:
            self.say(reply.wire)
            self._close()

    # -- what the verbs ask ------------------------------------------------------------------------------------------

    @property
    def can_start_tls(self) -> bool:
        return self.rules.starttls is not None and not self.is_tls

    @property
    def may_authenticate(self) -> bool:
        return self.is_tls or self.rules.auth_without_tls

    def extensions(self) -> list[str]:
        """What EHLO offers now."""
        offered = ["PIPELINING", f"SIZE {self.edge.max_message_size}", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES"]
        if self.can_start_tls:
            offered.append("STARTTLS")
        if self.may_authenticate:
            offered.append("AUTH PLAIN LOGIN")
        return [*offered, "HELP"]

    def take(self, credential: Credential | None) -> None:
        """Who is speaking, from now on."""
        self.credential = credential
        if credential is not None:
            self.record.by(credential.tenant_id, credential.key_id)

    def require_step(self) -> None:
        """The command must be the last of its group (RFC 2920 section 3.1): what follows depends on its answer.

        A client that does not wait may be led by somebody else, who hides commands in what it sends. Raises Refused.
        """
        if self.buffer:
            raise Refused(Reply.OUT_OF_STEP, is_final=True)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Raises Closed where the handshake fails."""
        self._transport_of_now().pause_reading()  # what comes now is for TLS
        await self._flush()
        # What was sent in clear after the command could have been put there by anyone (RFC 3207 section 5).
        self.buffer.clear()
        self._is_beneath = True
        try:
            self.tls_version = await tls.start(
                self._writer, context, self.rules.min_tls, min(tls.TIMEOUT, self.edge.patience.login)
            )
        except tls.TlsFailed as failed:
            if str(failed) != tls.ONLY_LOOKED:  # as monitors do
                log.event("smtp.tls_failed", client=self.client, listener=self.rules.name, reason=str(failed))
                self.record.failed(Reason.TLS, str(failed))
            raise Closed from failed
        finally:
            self._is_beneath = False
        self.transport = self._writer.transport
        self.take(self.rules.trusted(self.client, self.tls_version))

    # -- the conversation --------------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        try:
            await self._enter()
            while not self._is_stopping:
                line = await self.line(COMMAND_LINE)
                self.record.said(line)
                await self._command(line)
            self.say(Reply.SHUTTING_DOWN.wire)
        except (Closed, ConnectionError, ssl.SSLError, TimeoutError):
            pass
        finally:
            self._leave()

    async def _enter(self) -> None:
        """From the first octet to the greeting."""
        if self.rules.proxies:
            await self._hear_of_client()
        trusted = self.rules.trusted(self.client)
        reply = self.edge.admit(self.client, is_trusted=trusted is not None)
        self._is_admitted = True
        if reply is not None:
            self.record.failed(Reason.OVERLOAD, reply.text)
            if self.rules.implicit_tls is None:  # a client in a handshake would not understand
                self.say(reply.wire)
            raise Closed
        if self.rules.implicit_tls is not None:
            await self.start_tls(self.rules.implicit_tls)
        else:
            if self.rules.proxies:
                self._transport_of_now().resume_reading()
            self.take(trusted)
        if self.buffer:
            self._recognise_tls()
            self.record.failed(Reason.PROTOCOL, "spoke before it was greeted")
            self.say(Reply.OUT_OF_STEP.line("Wait for the greeting before you speak"))
            raise Closed
        self.say(replies.greeting(self.edge.hostname))

    async def _hear_of_client(self) -> None:
        """A proxy says for whom it speaks. Raises Closed where it does not."""
        self._is_beneath = True
        try:
            self.client = await proxy.client_of(self._transport_of_now(), self.rules.proxies)
        except proxy.ProxyFailed as failed:
            log.event("smtp.proxy_failed", client=self.client, listener=self.rules.name, reason=str(failed))
            self.record.failed(Reason.PROTOCOL, str(failed))
            raise Closed from failed
        finally:
            self._is_beneath = False
        self.record.client = self.client

    def _leave(self) -> None:
        if self._is_admitted:
            self.edge.admission.leave(self.client)
        if self.transaction is not None and not (self.has_quit or self._is_stopping):
            self.record.failed(Reason.CUT, "left in the middle of a message")
        self._close()
        if (failure := self.record.failure()) is not None:
            self.edge.failures.note(failure)

    async def _command(self, line: bytes) -> None:
        word, _, argument = line.partition(b" ")
        word = word.upper()
        verb = VERBS.get(word)
        try:
            if verb is None:
                is_bogus = bool(word) and not word[:1].isalpha()
                raise Refused(Reply.SYNTAX, "command not known; try HELP", is_final=is_bogus)
            await verb(self, argument.strip(b" "))
            self._count_idle(word)
        except Refused as refused:
            self.record.failed(Reason.PROTOCOL, refused.text)
            self.refuse(refused.reply.line(refused.text))
            if refused.is_final:
                raise Closed from refused
        except Problem as problem:
            self._refuse_mail(problem)
        except (Closed, ConnectionError, ssl.SSLError, TimeoutError):
            raise
        except Exception as exc:
            self.transaction = None
            self._refuse_mail(self.edge.fault(exc))

    def _count_idle(self, word: bytes) -> None:
        """A client that only keeps its slot is let go."""
        self._idle_commands = self._idle_commands + 1 if word in IDLE_VERBS else 0
        if self._idle_commands > (STRESSED_IDLE_COMMANDS if self.edge.is_stressed else IDLE_COMMANDS):
            self.record.failed(Reason.PROTOCOL, f"sent {self._idle_commands} commands without a message")
            self.say(Reply.TOO_MANY_ERRORS.line("Too many commands without a message"))
            raise Closed

    def _refuse_mail(self, problem: Problem) -> None:
        if problem.kind is Kind.INTERNAL and not problem.reference:
            problem = self.edge.fault(problem)
        elif problem.kind is not Kind.INTERNAL:
            self.edge.refused(problem, self.client)
        self.record.refused(problem)
        self.say(replies.refusal(problem))
        if problem.kind.smtp == Reply.SHUTTING_DOWN.code:  # 421 says that we close (RFC 5321 section 3.8)
            raise Closed from problem

    def refuse(self, reply: bytes) -> None:
        """A reply to what was not understood. A client that understands nothing is let go."""
        self._errors += 1
        if self._errors >= (STRESSED_ERRORS if self.edge.is_stressed else ERRORS):
            self.say(Reply.TOO_MANY_ERRORS.wire)
            raise Closed
        self.say(reply)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def line(self, limit: int) -> bytes:
        """The next line without its end, which may be a bare LF. An over-long one is passed over and refused."""
        dropped = 0
        buffer, waiting = self.buffer, self.waiting
        if (end := buffer.find(b"\n")) < 0:  # the clock runs for the whole line
            waiting.what, waiting.since = Wait.COMMAND, self.loop.time()
        while True:
            if end >= 0 and dropped + end <= limit + 1:  # the CR is not of the line
                waiting.what = Wait.NOTHING
                line = bytes(buffer[:end]).rstrip(b"\r")
                del buffer[: end + 1]
                return line
            if end >= 0:
                del buffer[: end + 1]
                dropped = 0
                self.record.failed(Reason.PROTOCOL, f"sent a line of more than {limit} octets")
                self.refuse(Reply.LINE_TOO_LONG.wire)
            elif len(buffer) > limit:
                dropped += len(buffer)
                buffer.clear()
                if dropped > ENDLESS:
                    await self.dismiss(Reply.LINE_TOO_LONG.wire)
                    raise Closed
            if end < 0:
                await self.fill()
                if not self.helo:
                    self._recognise_tls()
            end = buffer.find(b"\n")

    async def secret_line(self, limit: int, what: str) -> bytes:
        """The same for a line that may hold a secret: the record only says `what` it was."""
        line = await self.line(limit)
        self.record.hid(what)
        return line

    def _recognise_tls(self) -> None:
        """A client that speaks TLS where none is spoken yet would wait for ever. Raises Closed."""
        if not self.is_tls and self.buffer.startswith(b"\x16\x03"):
            sentence = tls.hello_sentence(bytes(self.buffer))
            log.event("smtp.tls_on_plain_port", client=self.client, listener=self.rules.name, reason=sentence)
            self.record.failed(Reason.TLS, sentence)
            raise Closed
