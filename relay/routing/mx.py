"""Refuses recipients whose domain takes no mail, before they are queued. Looks nothing up itself."""

from __future__ import annotations

from datetime import timedelta

from relay.config import OnTrouble
from relay.declared import MxPolicy
from relay.dns import MailExchange, Resolver
from relay.errors import Kind, Problem, printable

# The SES mailbox simulator: its addresses are for SES alone, whatever the DNS says.
SIMULATOR = "simulator.amazonses.com"
RETRY_AFTER = timedelta(minutes=1)


class MxCheck:
    """The check of one recipient domain, as one tenant wants it."""

    def __init__(self, resolver: Resolver, policy: MxPolicy, on_trouble: OnTrouble) -> None:
        self._resolver = resolver
        self._policy = policy
        self._on_trouble = on_trouble

    async def check(self, domain: str, wanted: MxPolicy | None = None) -> str | None:
        """A warning for the sender, or None. `domain` is lower-case A-labels; `wanted` is the tenant's own policy.

        Raises Problem: NULL_MX or INVALID_RECIPIENT (both final), DNS_DOWN (temporary).
        """
        policy = wanted or self._policy
        if policy is MxPolicy.OFF or domain == SIMULATOR:
            return None
        verdict = decide(await self._resolver.mail_exchange(domain), policy, self._on_trouble, domain)
        if isinstance(verdict, Problem):
            raise verdict
        return verdict


def decide(found: MailExchange, policy: MxPolicy, on_trouble: OnTrouble, domain: str) -> Problem | str | None:
    """What follows from an answer: a refusal, a warning, or nothing."""
    if policy is MxPolicy.OFF or found is MailExchange.ACCEPTS:
        return None
    name = printable(domain)
    if found is MailExchange.TROUBLE:
        if policy is MxPolicy.WARN:
            return f"{name} could not be looked up, so nobody knows yet whether it takes mail; check its spelling"
        if on_trouble is OnTrouble.ACCEPT:
            return None
        return Problem(Kind.DNS_DOWN, f"{name} cannot be looked up now; try again later", retry_after=RETRY_AFTER)
    if found is MailExchange.NULL_MX:
        kind, text = Kind.NULL_MX, f"{name} says that it takes no mail (RFC 7505); use another address"
    else:
        kind, text = Kind.INVALID_RECIPIENT, f"{name} has no MX, A or AAAA record; check the spelling of the address"
    return text if policy is MxPolicy.WARN else Problem(kind, text)
