"""Asks the DNS what it says of a domain: whether it takes mail, which records it holds. Decides nothing from that."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TypeVar

import dns.asyncresolver
import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.MX import MX

from relay import log
from relay.dns.breaker import Breaker
from relay.dns.question import CONTROL_SHARE, Silence, name_of, question, recursive
from relay.dns.records import RecordType, as_text

Found = TypeVar("Found")

# Seconds an answer is kept. A refusal is final for its sender, so someone who has just put a zone right must not wait
# for the hours its SOA may ask for (RFC 2308 section 5 lets us keep it for less).
SHORTEST_TTL = 1
LONGEST_TTL = 86_400
LONGEST_NEGATIVE_TTL = 900
# A domain whose own servers are broken is left alone this long (RFC 9520 section 3.2), or each of its mails costs 2 s.
TROUBLE_TTL = 30
CACHE_ENTRIES = 20_000  # a few MB
MOST_AT_ONCE = 100  # each question is a socket, and the edges need theirs
MOST_RECORDS_AT_ONCE = 25  # of these; mail waits for the others, and checks of a hundred dead domains must not stop it

# A resolver that hangs on a domain whose servers are dead looks like a resolver that is dead itself: both say nothing.
# So silence only counts here, three in a row being more than a lost datagram, and then the resolver is asked what
# every resolver holds in memory. The last quarter of the time is kept for that. A resolver that knows its roots may be
# cut off from the world all the same, so its word is taken only if a real question was answered in the last minute.
SILENCES = 3
CONTROL = (dns.name.root, dns.rdatatype.NS)
CONTROL_TRUST = 60.0  # seconds


class MailExchange(Enum):
    """What the DNS says about mail for a domain."""

    ACCEPTS = "accepts"  # an MX, or the implicit one: an A or AAAA record (RFC 5321 section 5.1)
    NULL_MX = "null_mx"  # "no mail here" (RFC 7505)
    NONE = "none"  # no such domain, or nothing at it that could take mail
    TROUBLE = "trouble"  # nothing is known now: no resolver, or no answer, or one that cannot be used


class Resolver:
    """Looks up domains through recursive resolvers: caches, asks once for many, leaves a dead resolver alone.

    `nameservers` are `IP`, `IP:port` or `[IPv6]:port`; None means those in `resolv_conf`, read once. With none at all,
    every answer is TROUBLE. `timeout` is the budget of one call, however many questions that takes.
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
        self._stub = recursive(nameservers, resolv_conf, self._timeout)
        self._clock = clock
        self._cache = _Cache(cache_entries)
        self._breaker = Breaker()
        self._answered_at = clock()
        self._asking: dict[str, asyncio.Task[MailExchange]] = {}
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._record_slots = asyncio.Semaphore(MOST_RECORDS_AT_ONCE)
        self._doubting = asyncio.Lock()
        if not self._stub.nameservers and nameservers is None:  # an empty list is somebody's wish
            log.trouble("dns.not_configured")

    async def mail_exchange(self, domain: str) -> MailExchange:
        """Whether `domain` (lower-case A-labels) takes mail; RFC 5321 section 5.1. Every failure is TROUBLE."""
        if not self._stub.nameservers:
            return MailExchange.TROUBLE
        if known := self._cache.recall(domain, self._clock()):
            return known
        asking = self._asking.get(domain)
        if asking is None:
            name = name_of(domain)
            if name is None:
                return MailExchange.NONE
            if not self._breaker.lets_through(self._clock()):
                return MailExchange.TROUBLE
            asking = asyncio.create_task(self._ask(domain, name), name="mail_exchange")
            self._asking[domain] = asking
            asking.add_done_callback(lambda _: self._asking.pop(domain, None))
        # Shielded: others wait for the same answer, and the next mail will want it.
        return await asyncio.shield(asking)

    async def records(self, domain: str, kind: RecordType) -> tuple[str, ...] | None:
        """What `domain` (lower-case A-labels) holds of that type now, as text; empty for nothing, None for trouble.

        Asked anew each time: who has just published a record wants it seen. A CNAME is followed to the others.
        `timeout` begins when it is this question's turn.
        """
        if not self._stub.nameservers:
            return None
        name = name_of(domain)
        if name is None:
            return ()
        async with self._record_slots:
            if not self._breaker.lets_through(self._clock()):
                return None
            with suppress(TimeoutError, Silence):
                answer = await self._heard(lambda: question(self._stub, name, kind.rdtype))
                return None if answer is None else as_text(answer.records)
        return None

    async def close(self) -> None:
        """Let the questions in hand end: at most one `timeout`."""
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _ask(self, domain: str, name: dns.name.Name) -> MailExchange:
        try:
            found, ttl = await self._heard(lambda: _look_up(self._stub, name))
        except TimeoutError:
            return MailExchange.TROUBLE
        except Silence:
            found, ttl = MailExchange.TROUBLE, TROUBLE_TTL
        self._cache.keep(domain, found, self._clock() + ttl)
        return found

    async def _heard(self, ask: Callable[[], Awaitable[Found]]) -> Found:
        """What was answered in time. Raises Silence, and TimeoutError if the time went by in our own queue."""
        openings, is_crowded = self._breaker.openings, self._slots.locked()
        try:
            async with asyncio.timeout(self._timeout * (1 - CONTROL_SHARE)), self._slots:
                found = await ask()
        except (TimeoutError, Silence) as exc:
            if is_crowded:
                raise TimeoutError from exc  # which says nothing about the resolver
            self._breaker.silences += 1
            await self._doubt(openings)
            raise Silence from exc
        self._answered_at = self._clock()
        self._close_breaker()
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
        with suppress(TimeoutError, Silence):
            async with asyncio.timeout(self._timeout * CONTROL_SHARE):
                await question(self._stub, *CONTROL)
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


async def _look_up(stub: dns.asyncresolver.Resolver, name: dns.name.Name) -> tuple[MailExchange, float]:
    """What holds, and for how many seconds. One question after the other: most domains need the first only."""
    ttl: float = LONGEST_TTL
    for rdtype in (dns.rdatatype.MX, dns.rdatatype.A, dns.rdatatype.AAAA):
        answer = await question(stub, name, rdtype)
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
