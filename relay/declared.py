"""What the configuration file, the API and commands may say of a tenant, an SES account, a domain, a key, a webhook."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer, Strict, model_validator

from relay.message import Mode, Stream
from relay.telling import EVENTS
from relay.telling import TELLS as TELLS
from relay.telling import Dialect as Dialect
from relay.values import Domain, Email, Label, LocalPath, Name, Network, Paragraph, Secret, Section, Span, WebUrl, Yes

DEFAULT_TENANT = "default"


class TenantStatus(Enum):
    """Whether a tenant may send at all."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class Approval(Enum):
    """Whether a tenant may send through the operator's accounts."""

    NONE = "none"  # it never asked
    REQUESTED = "requested"
    APPROVED = "approved"
    DECLINED = "declined"


class DomainStatus(Enum):
    """Whether a domain may send: only a verified one may."""

    PENDING = "pending"
    VERIFIED = "verified"
    FAILED = "failed"  # it was verified and is no longer, or was not in time


class Permission(Enum):
    """What a key may do. Each includes the one before."""

    SEND_ONLY = "send_only"
    FULL = "full"
    ADMIN = "admin"

    def includes(self, other: Permission) -> bool:
        order = list(Permission)
        return order.index(self) >= order.index(other)


class MxPolicy(Enum):
    """What a tenant wants to happen with a recipient whose domain takes no mail."""

    ENFORCE = "enforce"  # refuse it
    WARN = "warn"  # take it, and say so
    OFF = "off"  # never look


class ByocLog(Enum):
    """What stays known of a tenant's byoc mail once it is final, besides its content, which never stays."""

    MINIMAL = "minimal"  # no subject, nothing its sender said of it, addresses as keyed hashes only
    FULL = "full"  # as of shared mail


# -- tenants ---------------------------------------------------------------------------------------------------------


def _written(span: timedelta | None) -> str | None:
    return None if span is None else f"{int(span.total_seconds())}s"


class TenantSettings(Section):
    """What a tenant wants otherwise than the installation. `None`: as the installation has it."""

    mx_policy: MxPolicy | None = None
    track_opens: Yes = False
    track_clicks: Yes = False
    # How long the content of its shared mail is kept.
    retention_content: Annotated[Span | None, PlainSerializer(_written)] = None
    store_content: Yes = True  # False: as if retention_content were 0
    byoc_log: ByocLog = ByocLog.MINIMAL


class TenantFields(Section):
    """A tenant."""

    plan: Name | None = None
    tier: Name | None = None
    contact: Email | None = None
    settings: TenantSettings = TenantSettings()


class Application(Section):
    """What a tenant says when it asks to send through the operator's accounts."""

    use_case: Paragraph
    company: Label
    website: Label
    expected_volume: Annotated[int, Field(ge=1, le=10**9)]  # recipients a month


# -- SES accounts ----------------------------------------------------------------------------------------------------


class Credentials(Section):
    """Static keys, a profile, or a role to assume. None: the AWS default chain (environment, files, instance role)."""

    access_key_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None
    secret_access_key: Secret | None = None
    profile: Label | None = None
    role_arn: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[A-Za-z0-9_+=,.@/-]{1,512}$")] | None = (
        None
    )

    @model_validator(mode="after")
    def _is_one_sort(self) -> Credentials:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        if sum(each is not None for each in (self.profile, self.access_key_id, self.role_arn)) > 1:
            raise ValueError("give a profile, an access key or a role, not several of them")
        return self


class Egress(Section):
    """How calls leave for AWS."""

    proxy: Annotated[str, Field(pattern=r"^https?://[^/\s@]+/?$")] | None = None
    ca_bundle: LocalPath | None = None


Endpoint = Annotated[str, Field(pattern=r"^https?://[^/\s@]+/?$")]


class Via(Enum):
    """How the events of an SES account come here."""

    SQS = "sqs"  # its queue is asked: that works from behind any firewall
    SNS = "sns"  # SNS posts them to /api/ses-notifications
    NONE = "none"


QueueName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
TopicArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$")]


class FeedbackFields(Section):
    """How the events of an SES account come here. `queue` is in the account's region; `topics`: whose posts are
    believed (`via: sns`). `endpoint_url`: of SQS and SNS; None: AWS's own, or that of the stand-in for all of AWS that
    the account is reached at."""

    via: Via = Via.SQS
    queue: QueueName = "relay-events"
    topics: Annotated[tuple[TopicArn, ...], Field(max_length=20)] = ()
    endpoint_url: Endpoint | None = None


Rate = Annotated[float, Field(gt=0, le=100_000)]
Concurrency = Annotated[int, Field(ge=1, le=1000)]


class AccountFields(Section):
    """An SES account. `tenant` None: the operator's own. `rate` is recipients a second until SES says its own."""

    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")]
    tenant: Name | None = None
    credentials: Credentials = Credentials()
    endpoint_url: Endpoint | None = None
    egress: Egress = Egress()
    rate: Rate = 1.0
    concurrency: Concurrency | None = None
    feedback: FeedbackFields = FeedbackFields()


class AccountChange(Section):
    """What may change of an SES account. What is not named stays."""

    credentials: Credentials = Credentials()
    endpoint_url: Endpoint | None = None
    egress: Egress = Egress()
    rate: Rate = 1.0
    concurrency: Concurrency | None = None
    feedback: FeedbackFields = FeedbackFields()


# -- domains ---------------------------------------------------------------------------------------------------------

ConfigurationSet = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
RECIPIENTS_PER_CALL = 50  # the most SES takes (SES fact 1.2)
PerCall = Annotated[int, Field(ge=1, le=RECIPIENTS_PER_CALL)]
ALL_STREAMS = tuple(Stream)


def _each_once(streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
    if not streams:
        raise ValueError("must name at least one stream")
    return tuple(stream for stream in Stream if stream in streams)


class DomainOptions(Section):
    """What may be chosen, and changed, of a sender domain."""

    include_subdomains: Yes = False
    # The SES configuration set of every stream, and of single streams where they differ.
    configuration_set: ConfigurationSet | None = None
    configuration_sets: dict[Stream, ConfigurationSet] = {}
    streams: Annotated[tuple[Stream, ...], AfterValidator(_each_once)] = ALL_STREAMS
    default_sender: Email | None = None
    ses_tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    # How many recipients of one message go out in one SES call. None: as many as SES takes.
    recipients_per_call: PerCall | None = None

    @property
    def sets(self) -> dict[Stream, str]:
        """The configuration set of each stream that has one."""
        every = dict.fromkeys(Stream, self.configuration_set) if self.configuration_set else {}
        return {stream: name for stream, name in (every | self.configuration_sets).items() if name}


class DomainFields(DomainOptions):
    """A sender domain. `account` None: the one the mode and the tenant leave no choice about."""

    mode: Mode
    tenant: Name = DEFAULT_TENANT
    account: Name | None = None
    # The label of its MAIL FROM domain: send.example.com for example.com. None: SES's own.
    mail_from: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] | None = "send"


class DomainChange(DomainOptions):
    """What may change of a domain. What is not named stays; `mode` is here to be refused with the reason."""

    mode: Mode | None = None
    account: Name | None = None


# -- keys ------------------------------------------------------------------------------------------------------------


_PATTERN = re.compile(r"[!-;=?A-~]{1,64}@[A-Za-z0-9*.-]{1,255}")
_FORM = "write it as an address, in which * stands for any characters: *@example.com"


def _address_pattern(text: str) -> str:
    if not _PATTERN.fullmatch(text):
        raise ValueError(_FORM)
    return text


def _sender_pattern(text: str) -> str:
    if text not in {"missing", "<>"} and not _PATTERN.fullmatch(text):
        raise ValueError(f"{_FORM}; or as missing, or <>")
    return text


AddressPattern = Annotated[str, AfterValidator(_address_pattern)]
SenderPattern = Annotated[str, AfterValidator(_sender_pattern)]
LOCAL_SENDERS = ("*@localhost", "*@localhost.*", "*@*.local", "*@*.localdomain", "root@*", "missing")


class SenderRule(Section):
    """Whose address mail goes out under where its own cannot. The original From stays in Reply-To.

    `replaces`: addresses, in which `*` stands for any run of characters on its side of the @; `missing`, a message
    without From; `<>`, the null envelope sender.
    """

    sender: Email
    replaces: Annotated[tuple[SenderPattern, ...], Field(min_length=1, max_length=100)] = LOCAL_SENDERS


class TlsVersion(Enum):
    """The least a client must speak."""

    V1_0 = "1.0"
    V1_1 = "1.1"
    V1_2 = "1.2"
    V1_3 = "1.3"

    @classmethod
    def _missing_(cls, value: object) -> TlsVersion | None:
        """1.2 without quotes is a number in YAML and JSON."""
        return {float(each.value): each for each in cls}.get(value) if isinstance(value, float) else None


class Device(Section):
    """What a key for a device, such as a printer, is kept to. It is for SMTP alone.

    `sender` replaces every author and every envelope sender. `recipients`: addresses with `*` as above; None: anyone.
    `daily`: recipients in a UTC day. `min_tls` None: as the listener has it.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1, max_length=100)]
    sender: Email
    recipients: Annotated[tuple[AddressPattern, ...], Field(min_length=1, max_length=1000)] | None = None
    daily: Annotated[int, Field(ge=1)] | None = None
    min_tls: TlsVersion | None = None


RequestRate = Annotated[int, Field(ge=1, le=1_000_000)]
ImportedSecret = Annotated[Secret, Field(min_length=16, max_length=512)]


class KeyOptions(Section):
    """What may be chosen, and changed, of a key. `domains` None: every domain of its tenant.

    `sender_rule`: of its mail over SMTP. A device needs none, for its sender replaces all others.
    """

    domains: Annotated[tuple[Domain, ...], Field(min_length=1, max_length=1000)] | None = None
    rate_per_minute: RequestRate | None = None
    expires_at: AwareDatetime | None = None
    sender_rule: SenderRule | None = None
    device: Device | None = None


class KeyFields(KeyOptions):
    """An API key. `secret`: one that exists already, so that an application that moves here keeps it."""

    name: Label
    tenant: Name | None = None
    permission: Permission = Permission.SEND_ONLY
    secret: ImportedSecret | None = None


class KeyChange(KeyOptions):
    """What may change of a key."""

    name: Label = ""


# -- webhooks --------------------------------------------------------------------------------------------------------


_PATTERNS = ("*", *dict.fromkeys(f"{name.partition('.')[0]}.*" for name in EVENTS))


def _event_pattern(text: str) -> str:
    if text not in EVENTS and text not in _PATTERNS:
        raise ValueError(f"is no event of ours; write a name such as email.bounced, or one of {', '.join(_PATTERNS)}")
    return text


EventPattern = Annotated[str, AfterValidator(_event_pattern)]
EventPatterns = Annotated[tuple[EventPattern, ...], Field(min_length=1, max_length=50)]
MOST_RETRIES = 8
Retries = Annotated[int, Strict(), Field(ge=0, le=MOST_RETRIES)]  # false is no 0


def untold(dialect: Dialect, events: Sequence[str]) -> str:
    """What is wrong with a choice of events: a name that the dialect has no word for, or nothing left. "": nothing."""
    tells = TELLS[dialect]
    if tells is None:
        return ""
    if missing := [name for name in events if name not in _PATTERNS and name not in tells]:
        return f"{dialect.value} has no word for {', '.join(missing)}"
    nouns = {name.partition(".")[0] for name in events}
    if "*" in nouns or any(name.partition(".")[0] in nouns for name in tells):
        return ""
    return f"{dialect.value} has no words for any of these"


class WebhookOptions(Section):
    """What may be chosen, and changed, of a webhook. `domains` None: of all sender domains, and what is of none.

    `retries`: how often a post that failed is tried again, 30 s to 24 h later.
    """

    events: EventPatterns = ("email.*",)
    domains: Annotated[tuple[Domain, ...], Field(min_length=1, max_length=1000)] | None = None
    retries: Retries = MOST_RETRIES


class WebhookFields(WebhookOptions):
    """A webhook: where events are posted to, and in whose form."""

    url: WebUrl
    name: Label = ""
    dialect: Dialect = Dialect.NATIVE
    tenant: Name | None = None

    @model_validator(mode="after")
    def _can_be_told(self) -> WebhookFields:
        if said := untold(self.dialect, self.events):
            raise ValueError(said)
        return self


class WebhookChange(WebhookOptions):
    """What may change of a webhook. What is not named stays."""

    url: WebUrl = ""
    name: Label = ""
    enabled: Yes = True
