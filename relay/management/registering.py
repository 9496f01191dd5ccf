"""Finds a sender domain's identity in its SES account, and makes it where there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from relay.management.checks import zones
from relay.ses.errors import SesProblem
from relay.ses.identity import Identity, create_identity, find_identity, set_mail_from
from relay.ses.wire import SesAccount
from relay.store.directory.domains import SenderDomain

Turn: TypeAlias = Callable[[], Awaitable[None]]  # waited for before each call to SES


async def at_once() -> None:
    """For someone who waits for the answer."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The identity as SES has it, None where it has none; and why SES did not take the MAIL FROM domain."""

    identity: Identity | None
    mail_from_trouble: SesProblem | None = None


async def find(account: SesAccount, domain: SenderDomain, turn: Turn) -> Registered:
    """What there is, and nothing is changed. An identity of a parent domain serves as well: subdomains inherit it.

    Raises SesProblem.
    """
    for name in zones(domain.name):
        await turn()
        if (identity := await find_identity(account, name)) is not None:
            return Registered(identity)
    return Registered(None)


async def register(account: SesAccount, domain: SenderDomain, turn: Turn) -> Registered:
    """The identity, made where there is none, with its MAIL FROM domain. One that is there keeps what it has.

    Raises SesProblem.
    """
    await turn()
    identity = await find_identity(account, domain.name)
    if identity is None:
        await turn()
        await turn()  # creating is two calls
        identity = await create_identity(account, domain.name)
    wanted = domain.mail_from_domain
    if wanted is None or not _may_set_mail_from(domain, identity):
        return Registered(identity)
    await turn()
    try:
        await set_mail_from(account, domain.name, wanted)
    except SesProblem as problem:
        return Registered(identity, problem)
    return Registered(replace(identity, mail_from_domain=wanted, mail_from_status="PENDING"))


def _may_set_mail_from(domain: SenderDomain, identity: Identity) -> bool:
    """Someone else may use an identity that is verified already: a mere claim changes nothing about it."""
    is_ours = domain.is_claimed or not identity.is_verified_for_sending
    # SES looks for 72 hours, and then only again when it is told again (SES fact 6).
    is_given_up = identity.mail_from_domain == domain.mail_from_domain and identity.mail_from_status == "FAILED"
    return is_ours and (identity.mail_from_domain is None or is_given_up)
