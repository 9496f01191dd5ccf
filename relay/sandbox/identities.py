"""The identities of one account in one region: what they are, and which of them may send. Asks the DNS nothing."""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, unique

from relay.sandbox.accounts import Account, covering
from relay.sandbox.refusals import Refusal
from relay.sandbox.rules import check_address

SIGNING_ZONE = "dkim.amazonses.com"
DEFAULT_BEHAVIOR = "USE_DEFAULT_VALUE"
_MOST = 10_000  # identities per account and region (SES developer guide, Service quotas)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"({_LABEL}\.)+{_LABEL}")


@unique
class Status(Enum):
    """How far a verification has come. A domain and its DKIM share one; a MAIL FROM domain has its own."""

    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    TEMPORARY_FAILURE = "TEMPORARY_FAILURE"  # was SUCCESS, and the DNS cannot be asked now
    FAILED = "FAILED"  # a script said so


@dataclass(frozen=True, slots=True)
class MailFrom:
    """A custom MAIL FROM domain. `behavior` is what SES does while its MX is wrong."""

    domain: str
    status: Status = Status.PENDING
    behavior: str = DEFAULT_BEHAVIOR


@dataclass(frozen=True, slots=True)
class Identity:
    """A domain or an address, lower-case. `tokens` are a domain's three DKIM tokens.

    `is_given` marks what the account was born with: verified, whatever the DNS says. `error` is the ErrorType of the
    last check, made at `checked_at`.
    """

    name: str
    created_at: datetime
    tokens: tuple[str, ...] = ()
    is_given: bool = False
    status: Status = Status.PENDING
    error: str | None = None
    checked_at: datetime | None = None
    verified_at: datetime | None = None
    mail_from: MailFrom | None = None
    configuration_set: str | None = None
    forwards_feedback: bool = True  # bounces and complaints come by mail, until it is turned off
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_domain(self) -> bool:
        return "@" not in self.name

    @property
    def domain(self) -> str:
        return self.name.rpartition("@")[2]

    @property
    def is_verified(self) -> bool:
        return self.status in (Status.SUCCESS, Status.TEMPORARY_FAILURE)

    def is_trusted(self, mail_from: str) -> bool:
        """Whether the account was born with that MAIL FROM domain."""
        return self.is_given and mail_from == f"send.{self.name}"


class Identities:
    """Those of one account and region, by name. Begins with those the account was born with."""

    def __init__(self, account: Account, region: str, now: datetime) -> None:
        self._account = account
        self._region = region
        self._held = {name: self._given(name, now) for name in account.identities}

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._held.values())

    def find(self, name: str) -> Identity:
        """Raises Refusal. A subdomain inherits the right to send, but is no identity itself."""
        identity = self._held.get(name.lower())
        if identity is None:
            raise Refusal("NotFoundException", f"Email identity {name} does not exist.")
        return identity

    def create(self, name: str, now: datetime, configuration_set: str | None, tags: Mapping[str, str]) -> Identity:
        """A new one, not verified yet. Raises Refusal."""
        _check_name(name)
        name = name.lower()
        if name in self._held:
            raise Refusal("AlreadyExistsException", f"Email identity {name} already exist.")
        if len(self._held) >= _MOST:
            raise Refusal("LimitExceededException", f"An account has at most {_MOST} identities in a region.")
        tokens = self._tokens(name)
        identity = Identity(name, now, tokens, configuration_set=configuration_set, tags=tags)
        self._held[name] = identity
        return identity

    def change(self, seen: Identity, changed: Identity) -> None:
        """Put the one in the other's place, unless somebody was faster."""
        if self._held.get(seen.name) is seen:
            self._held[seen.name] = changed

    def delete(self, name: str) -> None:
        """Raises Refusal."""
        del self._held[self.find(name).name]

    def has_verified(self, address: str, lost: Collection[str] = ()) -> bool:
        """Whether the address, its domain or a parent domain is a verified identity (SES: subdomains inherit).

        Those in `lost` are not, whatever they were.
        """
        names = (name for name in covering(address) if name not in lost)
        return any(name in self._held and self._held[name].is_verified for name in names)

    def configuration_set(self, sender: str) -> str | None:
        """The default configuration set of the identity closest to the sender."""
        closest = next((self._held[name] for name in covering(sender) if name in self._held), None)
        return None if closest is None else closest.configuration_set

    def with_mail_from(self, identity: Identity, domain: str, behavior: str) -> Identity:
        """The identity with that MAIL FROM domain, none when it is empty. Raises Refusal."""
        if not domain:
            return replace(identity, mail_from=None)
        domain = domain.lower()
        if not _DOMAIN.fullmatch(domain) or not domain.endswith(f".{identity.domain}"):
            text = f"Provided MAIL-FROM domain <{domain}> is not subdomain of the domain of the identity"
            raise Refusal("BadRequestException", f"{text} <{identity.name}>.")
        known = identity.mail_from
        status = known.status if known is not None and known.domain == domain else Status.PENDING
        if identity.is_trusted(domain):
            status = Status.SUCCESS
        return replace(identity, mail_from=MailFrom(domain, status, behavior))

    def _given(self, name: str, now: datetime) -> Identity:
        tokens = self._tokens(name)
        mail_from = None if "@" in name else MailFrom(f"send.{name}", Status.SUCCESS)
        return Identity(
            name,
            created_at=now,
            tokens=tokens,
            is_given=True,
            status=Status.SUCCESS,
            checked_at=now,
            verified_at=now,
            mail_from=mail_from,
        )

    def _tokens(self, name: str) -> tuple[str, ...]:
        """The same for the same account, region and domain, so that records published once stay right."""
        if "@" in name:
            return ()
        seeds = (f"{self._account.name}/{self._region}/{name}/{number}" for number in range(3))
        return tuple(b32encode(hashlib.sha256(seed.encode()).digest()[:20]).decode().lower() for seed in seeds)


def _check_name(name: str) -> None:
    if "@" in name:
        check_address(name)
    domain = name.rpartition("@")[2].lower()
    if "/" in name or not _DOMAIN.fullmatch(domain) or len(domain) > 253:  # a slash would split the path of its GET
        raise Refusal("BadRequestException", f"Invalid email address or domain name: {name[:320]}")
