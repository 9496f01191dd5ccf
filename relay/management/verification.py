"""Looks at sender domains again when their time has come: those that wait with patience, verified ones daily."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from relay import log
from relay.management.desk import Desk
from relay.management.registering import Turn
from relay.store.directory import domains
from relay.store.directory.audit import RELAY
from relay.store.directory.domains import SenderDomain
from relay.store.store import Store

EVERY = 5.0  # seconds from one pass to the next
BATCH = 100  # domains in a pass, of which
OF_ACCOUNT = 10  # share an SES account at most
PATIENCE = 15.0  # seconds that one account has in a pass: one in trouble, which answers late, must not stop the others
AT_ONCE = 10  # accounts that are asked at the same time
AFTER_FAULT = timedelta(hours=1)  # a domain that makes us fail is left alone this long
SPACING = timedelta(seconds=1)  # between calls to one SES account: SES takes about one a second (SES fact 1.2)


class Verification:
    """The background pass. Where several processes share a database, one of them does it."""

    def __init__(self, store: Store, desk: Desk, spacing: timedelta = SPACING) -> None:
        self._store = store
        self._desk = desk
        self._spacing = spacing.total_seconds()
        self._free_at: dict[str, float] = {}  # by account: when it may be called next
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """For ever. What goes wrong is logged, and the next pass goes on."""
        while True:
            try:
                await self.pass_once()
            except Exception as exc:
                log.trouble("verification.failed", exc)
            await asyncio.sleep(EVERY)

    async def pass_once(self) -> int:
        """Forget claims that are over, and look at what is due. Returns how many domains were due."""
        if not await self._store.own("verification"):
            return 0
        if await self._store.read(domains.are_claims_over):
            for name in await self._store.change(domains.expire_claims):
                log.event("domain.claim_expired", domain=name)
        due = await self._store.read(lambda db: domains.due(db, BATCH, OF_ACCOUNT))
        by_account: dict[str, list[SenderDomain]] = {}
        for domain in due:
            by_account.setdefault(domain.account, []).append(domain)
        await asyncio.gather(*(self._look_at(account, group) for account, group in by_account.items()))
        return len(due)

    async def _look_at(self, account: str, group: list[SenderDomain]) -> None:
        """One after the other. What there was no time for is first in the next pass."""
        async with self._slots:
            ends_at = time.monotonic() + PATIENCE
            for domain in group:
                if time.monotonic() > ends_at:
                    return
                try:
                    finding = await self._desk.look_at(domain, self._turn(account))
                    await self._desk.settle(RELAY, domain, finding)
                except Exception as exc:
                    log.trouble("domain.check_failed", exc, domain=domain.name)
                    await self._put_off(domain)

    async def _put_off(self, domain: SenderDomain) -> None:
        try:
            await self._store.change(lambda db: domains.put_off(db, domain, AFTER_FAULT))
        except Exception as exc:
            log.trouble("verification.failed", exc, domain=domain.name)

    def _turn(self, account: str) -> Turn:
        async def turn() -> None:
            now = time.monotonic()
            at = max(now, self._free_at.get(account, now))
            self._free_at[account] = at + self._spacing
            await asyncio.sleep(at - now)

        return turn
