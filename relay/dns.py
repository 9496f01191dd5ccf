"""Asks the DNS one thing: does this domain take mail? Decides nothing about the recipient."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX

from relay import log
from relay.config import nameserver

# Seconds an answer is kept. A refusal is final for its sender, so someone who has just put a zone right must not wait
# for the hours its SOA may ask for (RFC 2308 section 5 lets us keep it for less).
SHORTEST_TTL = 1
LONGEST_TTL = 86_400
LONGEST_NEGATIVE_TTL = 900
NO_SOA_TTL = 30  # RFC 2308 section 5: without an SOA nobody said how long "nothing" holds
# A domain whose own servers are broken is left alone this long (RFC 9520 section 3.2), or each of its mails costs 2 s.
TROUBLE_TTL = 30
CACHE_ENTRIES = 20_000  # a few MB
MOST_AT_ONCE = 100  # each question is a socket, and the edges need theirs

# A resolver that hangs on a domain whose servers are dead looks like a resolver that is dead itself: both say nothing.
# So silence only counts here, three in a row being more than a lost datagram, and then the resolver is asked what
# every resolver holds in memory. The last quarter of the time is kept for that. A resolver that knows its roots may be
# cut off from the world all the same, so its word is taken only if a real question was answered in the last minute.
SILENCES = 3
CONTROL = (dns.name.root, dns.rdatatype.NS)
CONTROL_SHARE = 0.25
CONTROL_TRUST = 60.0  # seconds
# Seconds without lookups: at most one mail in 30 s, and soon one in 5 min, pays for finding out that nothing changed.
FIRST_PAUSE = 30.0
LONGEST_PAUSE = 300.0


class MailExchange(Enum):
    """What the DNS says about mail for a domain."""

    ACCEPTS = "accepts"  # an MX, or the implicit one: an A or AAAA record (RFC 5321 section 5.1)
    NULL_MX = "null_mx"  # "no mail here" (RFC 7505)
    NONE = "none"  # no such domain, or nothing at it that could take mail
    TROUBLE = "trouble"  # nothing is known now: no resolver, or no answer, or one that cannot be used


class Resolver:
    """Looks up domains through recursive resolvers: caches, asks once for many, leaves a dead resolver alone.

    `nameservers` are `IP`, `IP:port` or `[IPv6]:port`; None means those in `resolv_conf`, read once. With none at all,
    every answer is TROUBLE. `timeout` is the budget of one `mail_exchange`, however many questions that takes.
    `clock` gives monotonic seconds. Raises ValueError for a nameserver that is not written so.
    """

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        timeout: timedelta = timedelta(seconds=2),
        *,
        cache_entries: int = CACHE_ENTRIES,
        resolv_conf: Path = Path("/etc/resolv.conf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout.total_seconds()
        self._stub = _stub(nameservers, resolv_conf, self._timeout)
        self._clock = clock
        self._cache = _Cache(cache_entries)
        self._breaker = _Breaker()
        self._answered_at = clock()
        self._asking: dict[str, asyncio.Task[MailExchange]] = {}
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._doubting = asyncio.Lock()
        if not self._stub.nameservers:
            log.trouble("dns.not_configured")

    async def mail_exchange(self, domain: str) -> MailExchange:
        """Whether `domain` (lower-case A-labels) takes mail; RFC 5321 section 5.1. Every failure is TROUBLE."""
        if not self._stub.nameservers:
            return MailExchange.TROUBLE
        if known := self._cache.recall(domain, self._clock()):
            return known
        question = self._asking.get(domain)
        if question is None:
            name = _name(domain)
            if name is None:
                return MailExchange.NONE
            if not self._breaker.lets_through(self._clock()):
                return MailExchange.TROUBLE
            question = asyncio.create_task(self._ask(domain, name), name="mail_exchange")
            self._asking[domain] = question
            question.add_done_callback(lambda _: self._asking.pop(domain, None))
        # Shielded: others wait for the same answer, and the next mail will want it.
        return await asyncio.shield(question)

    async def close(self) -> None:
        """Let the questions in hand end: at most one `timeout`."""
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _ask(self, domain: str, name: dns.name.Name) -> MailExchange:
        openings, is_crowded = self._breaker.openings, self._slots.locked()
        try:
            async with asyncio.timeout(self._timeout * (1 - CONTROL_SHARE)), self._slots:
                found, ttl = await _look_up(self._stub, name)
        except (TimeoutError, _Silence):
            if is_crowded:
                return MailExchange.TROUBLE  # its time went by in our own queue, which says nothing about the resolver
            found, ttl = MailExchange.TROUBLE, TROUBLE_TTL
            self._breaker.silences += 1
            await self._doubt(openings)
        else:
            self._answered_at = self._clock()
            self._close_breaker()
        self._cache.keep(domain, found, self._clock() + ttl)
        return found

    async def _doubt(self, openings: int) -> None:
        """After too much silence, find out whose it is. Of those who doubt at once, the first one asks for all."""
        async with self._doubting:
            if self._breaker.silences < SILENCES or self._breaker.openings != openings:
                return
            is_trusted = self._clock() - self._answered_at < CONTROL_TRUST
            if is_trusted and await self._is_answering():
                self._close_breaker()
            elif self._breaker.silences >= SILENCES:  # no other question was answered meanwhile
                log.trouble("dns.silent", pause_seconds=self._breaker.open(self._clock()))

    async def _is_answering(self) -> bool:
        with suppress(TimeoutError, _Silence):
            async with asyncio.timeout(self._timeout * CONTROL_SHARE):
                await _question(self._stub, *CONTROL)
                return True
        return False

    def _close_breaker(self) -> None:
        if self._breaker.close():
            log.event("dns.answers_again")


class _Cache:
    """What was found, until it expires. Full, it forgets what was not asked for the longest."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._found: OrderedDict[str, tuple[MailExchange, float]] = OrderedDict()

    def recall(self, domain: str, now: float) -> MailExchange | None:
        found, expires_at = self._found.get(domain, (None, now))
        if now >= expires_at:
            return None
        self._found.move_to_end(domain)
        return found

    def keep(self, domain: str, found: MailExchange, expires_at: float) -> None:
        self._found[domain] = (found, expires_at)
        self._found.move_to_end(domain)
        if len(self._found) > self._entries:
            self._found.popitem(last=False)


class _Breaker:
    """When to leave a silent resolver alone. Pauses double; after each, one question goes through as a probe.

    Only silence counts, and REFUSED: this resolver does not serve us. SERVFAIL is an answer, and says that one domain
    is broken; it must not blind us to the others.
    """

    def __init__(self) -> None:
        self.silences = 0  # in a row
        self.openings = 0
        self._pause = 0.0
        self._until = -math.inf

    def lets_through(self, now: float) -> bool:
        if now < self._until:
            return False
        self._until = now + self._pause  # who comes now is the probe, and the others wait for what it finds
        return True

    def open(self, now: float) -> float:
        """Returns the seconds until the next probe."""
        self.openings += 1
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self._until = now + self._pause
        return self._pause

    def close(self) -> bool:
        """Begin anew. Returns whether it was open."""
        was_open = self._pause > 0
        self.silences, self._pause, self._until = 0, 0.0, -math.inf
        return was_open


class _Silence(Exception):
    """No resolver gave an answer, or all refused to."""


class _Answer(NamedTuple):
    records: Sequence[object]
    is_name_unknown: bool
    ttl: float


def _name(domain: str) -> dns.name.Name | None:
    try:
        return dns.name.from_text(domain)
    except (dns.exception.DNSException, ValueError):
        return None  # an empty or a too long label, or too many: no such name can exist (RFC 1035 section 2.3.4)


async def _look_up(stub: dns.asyncresolver.Resolver, name: dns.name.Name) -> tuple[MailExchange, float]:
    """What holds, and for how many seconds. One question after the other: most domains need the first only."""
    ttl: float = LONGEST_TTL
    for rdtype in (dns.rdatatype.MX, dns.rdatatype.A, dns.rdatatype.AAAA):
        answer = await _question(stub, name, rdtype)
        if answer is None:
            return MailExchange.TROUBLE, TROUBLE_TTL
        ttl = max(SHORTEST_TTL, min(ttl, answer.ttl))
        if answer.records:
            return _exchange(answer.records), ttl
        if answer.is_name_unknown:
            break
    return MailExchange.NONE, min(ttl, LONGEST_NEGATIVE_TTL)


def _exchange(records: Sequence[object]) -> MailExchange:
    # RFC 7505 section 3 wants it alone and with preference 0. Another preference says the same: "." takes no mail.
    if all(isinstance(record, MX) and record.exchange == dns.name.root for record in records):
        return MailExchange.NULL_MX
    return MailExchange.ACCEPTS


async def _question(
    stub: dns.asyncresolver.Resolver, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> _Answer | None:
    """One answer, CNAMEs followed, over TCP if it was cut. None: answered, but to no use. Raises _Silence."""
    try:
        answer = await stub.resolve(name, rdtype, raise_on_no_answer=False)
        response, chain = answer.response, answer.chaining_result
    except dns.resolver.NXDOMAIN as exc:
        response = exc.kwargs["responses"][name]
        chain = response.resolve_chaining()
    except dns.exception.DNSException as exc:
        replies: list[dns.message.Message | None] = [error[4] for error in exc.kwargs.get("errors", ())]
        if any(reply is not None and reply.rcode() != dns.rcode.REFUSED for reply in replies):
            return None
        raise _Silence from exc
    is_name_unknown = response.rcode() == dns.rcode.NXDOMAIN
    authority = {rrset.rdtype for rrset in response.authority}
    if chain.answer is not None or dns.rdatatype.SOA in authority:
        return _Answer(list(chain.answer or ()), is_name_unknown, chain.minimum_ttl)
    if dns.rdatatype.NS in authority and not is_name_unknown:
        raise _Silence  # a referral (RFC 2308 section 2.2): this server looks nothing up for us
    return _Answer((), is_name_unknown, NO_SOA_TTL)


def _stub(nameservers: Sequence[str] | None, resolv_conf: Path, timeout: float) -> dns.asyncresolver.Resolver:
    """dnspython's resolver. It has no nameservers when none are configured."""
    stub = dns.asyncresolver.Resolver(configure=False)
    if nameservers is None:
        with suppress(dns.exception.DNSException, OSError, ValueError):
            stub.read_resolv_conf(str(resolv_conf))
    else:
        stub.nameservers = [dns.nameserver.Do53Nameserver(*nameserver(entry)) for entry in nameservers]
    stub.lifetime = timeout
    stub.timeout = timeout * (1 - CONTROL_SHARE) / max(2, len(stub.nameservers))  # each is tried, a single one twice
    stub.use_edns(0, 0, 1232)  # a larger datagram may be fragmented and lost; a larger answer comes over TCP
    return stub
