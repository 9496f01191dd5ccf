"""What the configuration file may say, within which bounds, and what holds where it is silent."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from relay.container import Gateways
from relay.declared import (
    DEFAULT_TENANT,
    AccountFields,
    Credentials,
    DomainFields,
    Endpoint,
    ImportedSecret,
    KeyFields,
    MxPolicy,
    SenderRule,
    TenantFields,
    TlsVersion,
)
from relay.delivery import OnUnknown
from relay.errors import Fault, Problem
from relay.following import Feedback, Standing, Webhooks
from relay.memory import allowed
from relay.message import Address as Mailbox
from relay.message import Mode, canonical_domain
from relay.values import (
    MB,
    Address,
    Domain,
    Email,
    Label,
    LocalPath,
    Name,
    Nameserver,
    Network,
    Origin,
    PublicUrl,
    Secret,
    Section,
    Size,
    Span,
    Yes,
    network,
    read_secret,
)

SES_MESSAGE_LIMIT = 40 * MB  # SES fact 1.2: counted on the MIME message
LEAST_MEMORY = 64 * MB  # for messages: a large one has to fit, whatever else is being received
MOST_MEMORY = 256 * MB  # for messages, where nobody asked for more


class Tls(Enum):
    """How a listener speaks TLS."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Certificate(Section):
    certificate: LocalPath
    key: LocalPath


class TrustedNetwork(Section):
    """Who may send without logging in. A bare network stands for one that acts as no key.

    `key`: as whose, by its id, name or prefix; None: as anyone of the default tenant. `sender`: what replaces senders
    that cannot be, by a SenderRule.
    """

    network: Network
    key: Label | None = None
    sender: Email | None = None


def _trusted(value: Any) -> Any:
    """Of a bare network nothing says where in it a fault is: its path is its own."""
    return value if isinstance(value, Mapping | TrustedNetwork) else {"network": network(value)}


class SmtpListener(Section):
    address: Address
    tls: Tls = Tls.STARTTLS  # on port 465 implicit: that is what it is for (RFC 8314 section 7.3)
    min_tls: TlsVersion = TlsVersion.V1_2
    auth_without_tls: Yes = False
    trusted_networks: tuple[Annotated[TrustedNetwork, BeforeValidator(_trusted)], ...] = ()
    proxy_from: tuple[Network, ...] = ()  # who may say by the PROXY protocol for whom it speaks
    sender_rule: SenderRule | None = None

    @model_validator(mode="before")
    @classmethod
    def _tls_of_port(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and "tls" not in raw and str(raw.get("address")).endswith(":465"):
            return raw | {"tls": Tls.IMPLICIT}
        return raw


class Smtp(Section):
    listeners: tuple[SmtpListener, ...] = ()
    max_recipients: Annotated[int, Field(ge=100, le=50_000)] = 1000  # RFC 5321 section 4.5.3.1.8: at least 100
    idle_timeout: Annotated[Span, Field(ge=timedelta(seconds=10))] = timedelta(minutes=5)  # RFC 5321 section 4.5.3.2.7
    login_delay: Annotated[Span, Field(le=timedelta(seconds=5))] = timedelta(seconds=1)  # times the failures so far
    login_timeout: Annotated[Span, Field(ge=timedelta(seconds=5))] = timedelta(minutes=1)
    data_timeout: Annotated[Span, Field(ge=timedelta(minutes=3))] = timedelta(minutes=30)
    min_data_rate: Annotated[int, Field(ge=1)] = 500  # octets a second, over a minute
    max_connections: Annotated[int, Field(ge=1)] = 500
    max_connections_per_address: Annotated[int, Field(ge=1)] = 50


class DialectRates(Section):
    """Requests a minute in the dialects of hosted products, as published; MailerLogic's is of a whole tenant."""

    sendfleet: Annotated[int, Field(ge=1)] = 60
    mailerlogic: Annotated[int, Field(ge=1)] = 600
    sendmux: Annotated[int, Field(ge=1)] = 1800


class Http(Section):
    address: Address
    tls: Yes = False
    allow_plain: Yes = False
    metrics: Literal["loopback", "key", "none"] = "loopback"
    # Of one key, where neither the key nor its tenant's plan says otherwise.
    requests_per_minute: Annotated[int, Field(ge=1)] = 1800
    management_requests_per_minute: Annotated[int, Field(ge=1)] = 600
    dialect_requests_per_minute: DialectRates = DialectRates()
    public_url: PublicUrl | None = None  # how clients reach it
    trusted_proxies: tuple[Network, ...] = ()  # who may say by X-Forwarded-For for whom it speaks
    cors_origins: tuple[Origin, ...] = ()  # whose pages may call it from a browser
    max_connections: Annotated[int, Field(ge=1)] = 1000
    max_connections_per_address: Annotated[int, Field(ge=1)] = 200

    @model_validator(mode="after")
    def _is_private(self) -> Http:
        if not (self.tls or self.allow_plain or self.address.is_loopback):
            raise ValueError(
                "API keys would cross the network in clear: set `tls: true`, or `allow_plain: true` behind a proxy "
                "that speaks TLS"
            )
        return self


class Aws(Section):
    """Who asks STS for the roles that SES accounts are reached by."""

    credentials: Credentials = Credentials()
    sts_endpoint_url: Endpoint | None = None

    @model_validator(mode="after")
    def _is_no_role(self) -> Aws:
        if self.credentials.role_arn is not None:
            raise ValueError("give the credentials that assume roles, not another role")
        return self


class DeclaredTenant(TenantFields):
    """A tenant as the file declares it. `approved`: for shared sending, without a request."""

    approved: Yes = False


class DeclaredKey(KeyFields):
    """A key as the file declares it. It has to exist already: the file is no place to be told a new one."""

    secret: ImportedSecret


class Plan(Section):
    """How much a tenant may send. `None`: without a limit. `needs`: what a tenant must have to be put on it."""

    monthly: Annotated[int, Field(ge=0)] | None = None  # recipients in a UTC month
    rate_per_minute: Annotated[int, Field(ge=1)] | None = None
    daily_guideline: Annotated[int, Field(ge=1)] | None = None
    modes: tuple[Mode, ...] = tuple(Mode)
    needs: tuple[Literal["approval", "contact"], ...] = ()


class Logins(Section):
    """When failed logins block whoever makes them."""

    failures: Annotated[int, Field(ge=1)] = 10  # with keys of one prefix, from one address
    failures_per_address: Annotated[int, Field(ge=1)] = 100
    within: Annotated[Span, Field(ge=timedelta(seconds=1))] = timedelta(seconds=60)
    block_for: Annotated[Span, Field(ge=timedelta(seconds=1))] = timedelta(minutes=10)
    exempt: tuple[Network, ...] = ()


class Notices(Section):
    """How people are told about their account: from whom, through which SES account, and who gets a copy."""

    sender: Annotated[Email, Field(alias="from")]
    account: Name
    to: Email | None = None


class Dns(Section):
    nameservers: tuple[Nameserver, ...] | None = None
    timeout: Annotated[Span, Field(ge=timedelta(seconds=1))] = timedelta(seconds=2)


class OnTrouble(Enum):
    """What happens under `enforce` while nothing can be looked up. It is never the sender's fault."""

    ACCEPT = "accept"
    DEFER = "defer"  # answer "try again later"


class Mx(Section):
    policy: MxPolicy = MxPolicy.ENFORCE
    on_trouble: OnTrouble = OnTrouble.ACCEPT


class Delivery(Section):
    max_age: Span = timedelta(hours=24)
    on_unknown: OnUnknown = OnUnknown.RETRY
    quota_reserve: Annotated[float, Field(ge=0, le=1)] = 0.1  # of an account's daily quota, for transactional mail only
    unknown_window: Span = timedelta(seconds=120)


class Bounces(Section):
    """Whether and when who sent mail over SMTP is told by mail what became of it."""

    enabled: Yes = True
    delay_after: Annotated[Span, Field(ge=timedelta(minutes=1))] = timedelta(hours=4)
    per_hour: Annotated[int, Field(ge=1)] = 10  # reports to one address


class Retention(Section):
    """How long mail is kept once nothing of it is open. `attachments`: of kept content, and not longer than that."""

    content: Span = timedelta(days=90)
    attachments: Span = timedelta(0)
    log: Annotated[Span, Field(ge=timedelta(days=1))] = timedelta(days=90)


class Limits(Section):
    max_message_size: Annotated[Size, Field(ge=64 << 10, le=SES_MESSAGE_LIMIT)] = SES_MESSAGE_LIMIT
    message_memory: Annotated[Size, Field(ge=LEAST_MEMORY)] = Field(default_factory=lambda: _message_memory())


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Settings(Section):
    """The whole file."""

    database: Annotated[str, BeforeValidator(read_secret)] = Field("relay.db", repr=False)
    master_key: Secret | None = None
    previous_master_keys: tuple[Secret, ...] = ()  # they open what they sealed, until that is sealed anew
    hostname: Domain = Field(default_factory=lambda: _own_name())
    certificate: Certificate | None = None
    smtp: Smtp = Smtp()
    http: Http | None = None
    aws: Aws = Aws()
    ses_accounts: dict[Name, AccountFields] = {}
    plans: dict[Name, Plan] = {}
    tenants: dict[Name, DeclaredTenant] = {}
    domains: dict[Domain, DomainFields] = {}
    keys: tuple[DeclaredKey, ...] = ()
    logins: Logins = Logins()
    notices: Notices | None = None
    dns: Dns = Dns()
    mx: Mx = Mx()
    delivery: Delivery = Delivery()
    bounces: Bounces = Bounces()
    retention: Retention = Retention()
    feedback: Feedback = Feedback()
    standing: Standing = Standing()
    webhooks: Webhooks = Webhooks()
    limits: Limits = Field(default_factory=lambda: Limits())
    log: Log = Log()
    folder: Path
    master_key_file: Path | None = None  # that `master_key` was read from

    def account_of(self, domain: DomainFields) -> str | None:
        """The name of the account that a domain of this file sends through: the one it names, or the only one."""
        if domain.account is None and len(self.ses_accounts) == 1:
            return next(iter(self.ses_accounts))
        return domain.account

    def cross_faults(self, gateways: Gateways = frozenset()) -> list[Fault]:
        """What only shows when sections are seen together. `gateways`: of the container this runs in, if it does."""
        faults = [fault for name, domain in self.domains.items() for fault in self._faults_of_domain(name, domain)]
        for name, account in self.ses_accounts.items():
            faults += self._faults_of_tenant(f"ses_accounts.{name}.tenant", account.tenant)
        for name, tenant in self.tenants.items():
            faults += self._faults_of_plan(name, tenant)
        for number, key in enumerate(self.keys):
            faults += self._faults_of_tenant(f"keys.{number}.tenant", key.tenant)
        for number, listener in enumerate(self.smtp.listeners):
            faults += _faults_of_trust(f"smtp.listeners.{number}.trusted_networks", listener, gateways)
        faults += _repeated("name", [key.name for key in self.keys])
        faults += _repeated("secret", [key.secret.get_secret_value() for key in self.keys])
        if self.notices is not None and self.notices.account not in self.ses_accounts:
            said = _unknown("SES account", self.notices.account, self.ses_accounts)
            faults.append(Fault("notices.account", said))
        if not self.smtp.listeners and self.http is None:
            faults.append(Fault("", "nothing listens: name at least one of smtp.listeners and http"))
        return faults

    def _faults_of_tenant(self, path: str, name: str | None) -> list[Fault]:
        known = {DEFAULT_TENANT, *self.tenants}
        return [] if name is None or name in known else [Fault(path, _unknown("tenant", name, known))]

    def _faults_of_plan(self, name: str, tenant: DeclaredTenant) -> Iterator[Fault]:
        if tenant.plan is None:
            return
        plan = self.plans.get(tenant.plan)
        if plan is None:
            yield Fault(f"tenants.{name}.plan", _unknown("plan", tenant.plan, self.plans))
        elif "contact" in plan.needs and tenant.contact is None:
            yield Fault(f"tenants.{name}.contact", f"is required by the plan {tenant.plan}")

    def _faults_of_domain(self, name: str, domain: DomainFields) -> Iterator[Fault]:
        path = f"domains.{name}"
        if (sender := domain.default_sender) is not None:
            theirs = Mailbox.parse(sender).domain
            if theirs != name and not (domain.include_subdomains and theirs.endswith(f".{name}")):
                yield Fault(f"{path}.default_sender", f"{sender} is not an address of {name}")
        if faults := self._faults_of_tenant(f"{path}.tenant", domain.tenant):
            yield from faults
            return
        named = self.account_of(domain)
        if named is None:
            yield Fault(f"{path}.account", f"is required; {_listed(self.ses_accounts)} in ses_accounts")
            return
        account = self.ses_accounts.get(named)
        if account is None:
            yield Fault(f"{path}.account", _unknown("SES account", named, self.ses_accounts))
        elif account.tenant is not None and (domain.mode is Mode.SHARED or account.tenant != domain.tenant):
            theirs = f"{named} belongs to the tenant {account.tenant}"
            yield Fault(f"{path}.account", f"{theirs}: a {domain.mode.value} domain of {domain.tenant} cannot use it")


def _faults_of_trust(path: str, listener: SmtpListener, gateways: Gateways) -> Iterator[Fault]:
    seen: set[Network] = set()
    for number, each in enumerate(listener.trusted_networks):
        if each.network in seen:
            yield Fault(f"{path}.{number}", f"{each.network} is listed twice")
        seen.add(each.network)
        if each.network.num_addresses == 1 and each.network[0] in gateways:
            yield Fault(
                f"{path}.{number}",
                f"{each.network[0]} is the gateway of this container: whoever comes through a published port may seem "
                "to come from there, and could send; use the host's network, or let clients log in",
            )


def _repeated(what: str, values: Iterable[str]) -> Iterator[Fault]:
    """Where a key says what one before it said. Never the value: it may be a secret."""
    first: dict[str, int] = {}
    for number, value in enumerate(values):
        if first.setdefault(value, number) != number:
            yield Fault(f"keys.{number}.{what}", f"is the {what} of keys.{first[value]}, too")


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    return f"there is no {what} {name!r}; {_listed(known)}"


def _listed(names: Iterable[str]) -> str:
    return f"there is {', '.join(sorted(names)) or 'none'}"


def _message_memory() -> int:
    """A third of what the process may have: the rest is for the process itself, buffers and mail being sent."""
    return max(LEAST_MEMORY, min(MOST_MEMORY, allowed() // 3))


def _own_name() -> str:
    try:
        return canonical_domain(socket.gethostname())
    except Problem:
        return "localhost"
