"""What operators and tenants ask for that takes SES or the DNS besides the store, of domains and of SES accounts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from relay import log
from relay.declared import DomainFields, DomainStatus
from relay.dns import Resolver
from relay.errors import Kind, Problem
from relay.management import policies, setting_up
from relay.management.checks import Status
from relay.management.describing import Look
from relay.management.findings import decide
from relay.management.mirror import Mirrored, mirror
from relay.management.policies import Policies
from relay.management.reaching import access_of
from relay.management.registering import Turn, at_once
from relay.management.setting_up import Asked, Setup, Told
from relay.management.surveying import survey
from relay.sealing import SealingError
from relay.ses.access import Access
from relay.ses.clients import Accounts
from relay.ses.errors import Scope, SesProblem
from relay.ses.finding import Finding as ProofFinding
from relay.ses.proof import Proof, prove
from relay.ses.wire import Quota
from relay.store.beside import Changes
from relay.store.clock import now_ms
from relay.store.directory import accounts, domains
from relay.store.directory.accounts import SesAccount
from relay.store.directory.audit import Actor
from relay.store.directory.domains import Finding, SenderDomain

__all__ = ["Changes", "Desk", "Mirrored", "Policies"]


class Desk:
    """One for a server, or for a command that needs SES or the DNS."""

    def __init__(self, store: Changes, accounts: Accounts, resolver: Resolver) -> None:
        self._store = store
        self._accounts = accounts
        self._resolver = resolver

    # -- domains -----------------------------------------------------------------------------------------------------

    async def add_domain(self, actor: Actor, name: str, fields: DomainFields, *, is_vouched: bool) -> SenderDomain:
        """Register a domain here and with SES, and look at it once. What SES refuses undoes nothing: a check says it.

        Raises Problem as `domains.add`.
        """
        made = await self._store.change(lambda db: domains.add(db, actor, name, fields, is_vouched=is_vouched))
        return await self.settle(actor, made, await self.look_at(made)) or made

    async def verify_domain(self, actor: Actor, domain: SenderDomain) -> SenderDomain:
        """Look now. Raises Problem(NOT_FOUND) where it was removed, or moved to another account, meanwhile."""
        # Who asks has just published records: one that waits is looked at often again.
        seen = domain if domain.status is DomainStatus.VERIFIED else replace(domain, misses=0)
        settled = await self.settle(actor, domain, await self.look_at(seen))
        if settled is None:
            raise Problem(Kind.NOT_FOUND, f"{domain.name} was removed or moved meanwhile: look again")
        return settled

    async def look_at(self, domain: SenderDomain, turn: Turn = at_once) -> Finding:
        """Ask SES and the DNS, and say what follows; nothing is written yet. `turn` is waited for before calls to SES.

        A domain that has no identity yet gets one, unless the file declares it. Trouble with SES or the DNS is in the
        finding. Raises Problem(NOT_FOUND) where the account has gone.
        """
        account = await self._store.read(lambda db: accounts.find(db, domain.account))
        try:
            seen = await survey(self._accounts, self._resolver, self._access(account), domain, turn)
        except SesProblem as problem:  # the secret cannot be opened
            seen = Look(None, account.name, account.region, problem, problem.remedy, domain.mail_from_domain)
        return decide(domain, seen, now_ms())

    async def settle(self, actor: Actor, domain: SenderDomain, finding: Finding) -> SenderDomain | None:
        """Write what a look came to; `domain` is what it was before. None where it has gone, or moved, meanwhile."""
        settled = await self._store.change(lambda db: domains.settle(db, actor, finding))
        if settled is not None and settled.status is not domain.status:
            _tell(settled)
        return settled

    # -- SES accounts ------------------------------------------------------------------------------------------------

    async def prove_account(self, account: SesAccount) -> Proof:
        """What AWS grants the account's credentials, and how to mend what is wrong. Raises nothing of AWS."""
        try:
            return await prove(self._accounts, self._access(account))
        except SesProblem as problem:
            found = ProofFinding("identity", False, problem.said, problem.remedy)
            return Proof(account.name, account.region, (found,), None, None)

    async def account_usage(self, account: SesAccount) -> Quota:
        """The limits SES gives the account, and what of them is used. Raises SesProblem."""
        async with self._accounts.briefly(self._access(account)) as opened:
            return await opened.quota()

    async def policies(self, account: SesAccount) -> Policies:
        """The IAM policies that the account takes. Raises SesProblem where its secret cannot be opened."""
        every = await self._store.read(domains.every)
        own = [domain for domain in every if domain.account_id == account.id]
        return await policies.gather(self._accounts, self._access(account), account, own)

    async def set_up(self, actor: Actor, account: SesAccount, asked: Asked, *, is_dry: bool, told: Told) -> Setup:
        """See `management.setting_up.set_up`. Raises SesProblem, and Problem(BAD_REQUEST) for what is asked."""
        access = self._access(account)
        return await setting_up.set_up(
            self._store, self._accounts, access, actor, account, asked, is_dry=is_dry, told=told
        )

    async def look_at_setup(self, account: SesAccount) -> list[ProofFinding]:
        """What carries the account's events, and what of that is amiss. Takes seconds. Raises SesProblem."""
        seen, wanted = await setting_up.look_at(
            self._store, self._accounts, self._access(account), account, setting_up.USUAL
        )
        return setting_up.findings(setting_up.judge(seen, wanted))

    async def mirror(
        self, actor: Actor, account: SesAccount, *, is_pushing: bool, progress: Callable[[int], None]
    ) -> Mirrored:
        """See `management.mirror`. Raises SesProblem; what was mirrored until then stays."""
        async with self._accounts.briefly(self._access(account)) as opened:
            return await mirror(self._store, account, opened, actor, is_pushing=is_pushing, progress=progress)

    def _access(self, account: SesAccount) -> Access:
        try:
            return access_of(account, self._store.sealer)
        except SealingError as exc:
            remedy = "give the account its secret again"
            raise SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, str(exc), remedy=remedy) from exc


def _tell(domain: SenderDomain) -> None:
    if domain.status is DomainStatus.VERIFIED:
        log.event("domain.verified", domain=domain.name, account=domain.account)
    elif domain.status is DomainStatus.FAILED:
        open_ = [
            check["purpose"] for check in domain.checks if check["is_required"] and check["status"] != Status.FOUND
        ]
        log.trouble("domain.failed", domain=domain.name, account=domain.account, missing=",".join(open_))
