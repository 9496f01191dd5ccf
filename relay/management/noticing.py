"""Mails people what they must know about their account, past the queue: no suspension stops that."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP

from relay import log
from relay.errors import Kind, Problem
from relay.management.reaching import access_of
from relay.message import Address
from relay.sealing import SealingError
from relay.ses.access import Access
from relay.ses.clients import Accounts
from relay.settings import Notices
from relay.store import notices
from relay.store.clock import milliseconds, now_ms
from relay.store.directory import accounts
from relay.store.directory.installation import shown
from relay.store.notices import OPERATOR, Later, Notice
from relay.store.store import Store
from relay.store.writer import Rank

EVERY = 5.0  # seconds from one look at the outbox to the next
BATCH = 20
FIRST_WAIT = timedelta(minutes=1)  # doubling to LONGEST_WAIT
LONGEST_WAIT = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=3)
KEEP_UNSENDABLE = timedelta(days=1)  # for an operator who only then learns that something has to be configured
FORGET_EVERY = 3600.0  # seconds
TAG = "relay_notice"


class Notifier:
    """Empties the outbox of notices. Of processes that share a database, one does it.

    `settings` None: the file does not say whom they are from.
    """

    def __init__(self, store: Store, accounts: Accounts, settings: Notices | None) -> None:
        self._store = store
        self._accounts = accounts
        self._settings = settings
        self._forget_at = time.monotonic()

    async def run(self) -> None:
        """For ever. What goes wrong is logged, and tried again."""
        while True:
            try:
                await self.pass_once()
            except Exception as exc:
                log.trouble("notices.failed", exc)
            await asyncio.sleep(EVERY)

    async def pass_once(self) -> int:
        """Send what is due. Returns how many notices SES took."""
        if not await self._store.own("notices"):
            return 0
        await self._forget()
        settings = self._settings
        if settings is None:
            return 0
        has_operator = settings.to is not None
        due = await self._store.read(lambda db: notices.due(db, BATCH, with_operators=has_operator))
        outcomes = [await self._send(notice, settings) for notice in due]
        return sum(outcomes)

    async def _forget(self) -> None:
        """What nobody can be told must not gather for ever."""
        settings = self._settings
        if (settings is not None and settings.to is not None) or time.monotonic() < self._forget_at:
            return
        self._forget_at = time.monotonic() + FORGET_EVERY
        dropped = await self._store.change(
            lambda db: notices.forget(db, KEEP_UNSENDABLE, only_operators=settings is not None)
        )
        if dropped:
            members = "notices: {from, account, to}" if settings is None else "notices.to"
            log.trouble("notices.dropped", count=dropped, remedy=f"set {members} in the configuration file")

    async def _send(self, notice: Notice, settings: Notices) -> bool:
        """Whether SES took it. Sent before it is taken off the outbox: better twice than never."""
        people = list(dict.fromkeys(each for each in (notice.address, settings.to) if each and each != OPERATOR))
        try:
            async with self._accounts.using(await self._access(settings.account)) as account:
                await account.send(
                    mime(notice, settings.sender, people[0]),
                    people,
                    domain=Address.parse(settings.sender).domain,
                    tags={TAG: shown(notice.id)},
                    configuration_set=None,
                )
        except (Problem, SealingError) as problem:
            await self._failed(notice, problem)
            return False
        await self._store.write(notices.remove, notice.id, Rank.SWEEP)
        log.event("notice.sent", notice=shown(notice.id), tenant=shown(notice.tenant_id))
        return True

    async def _access(self, name: str) -> Access:
        """Raises Problem where it has gone or does not send now, or SealingError."""
        row = await self._store.read(lambda db: accounts.find(db, name))
        if row.paused_at is not None or row.disabled_at is not None:
            raise Problem(Kind.SES_PAUSED, f"the SES account {name} is paused or no longer in the configuration file")
        return access_of(row, self._store.sealer)

    async def _failed(self, notice: Notice, problem: Problem | SealingError) -> None:
        reason = problem.kind.slug if isinstance(problem, Problem) else "secret_lost"
        now, which, whose, said = now_ms(), shown(notice.id), shown(notice.tenant_id), str(problem)
        if now - notice.created_at > milliseconds(GIVE_UP_AFTER):
            await self._store.write(notices.remove, notice.id, Rank.SWEEP)
            log.trouble("notice.given_up", notice=which, tenant=whose, reason=reason, said=said)
            return
        later = Later(notice.id, now + milliseconds(wait_after(notice.failures)))
        await self._store.write(notices.postpone, later, Rank.SWEEP)
        log.event("notice.postponed", notice=which, tenant=whose, reason=reason, said=said)


def wait_after(failures: int) -> timedelta:
    """How long after a failure to wait, so many having come before it."""
    return min(FIRST_WAIT * (1 << min(failures, 10)), LONGEST_WAIT)


def mime(notice: Notice, sender: str, to: str) -> bytes:
    """The mail. RFC 3834: it says that a program wrote it, so that no other program answers."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = to
    mail["Subject"] = " ".join(notice.subject.split())
    mail["Date"] = datetime.now(UTC)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(notice.text, cte="quoted-printable")
    return mail.as_bytes()
