"""What answers about SES accounts and sender domains look like, as shown.py has it of the rest."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from relay.declared import DomainStatus, Via
from relay.http.management.shown import Id, Shown
from relay.message import Mode, Stream


class CredentialsShown(Shown):
    """How an SES account is reached. Of a secret, its last four characters."""

    type: str
    profile: str | None = None
    access_key_id: str | None = None
    secret_last_four: str | None = None
    role_arn: str | None = None
    external_id: str | None = None


class EgressShown(Shown):
    proxy: str | None
    ca_bundle: str | None


class FeedbackShown(Shown):
    """How the events of an SES account come here. `topics`: whose posts are believed."""

    via: Via
    queue: str
    topics: list[str]
    endpoint_url: str | None


class PoliciesShown(Shown):
    """What to paste into AWS."""

    principal: str | None
    external_id: str | None
    trust: dict[str, Any] | None
    send: dict[str, Any]
    setup: dict[str, Any]
    events: dict[str, Any] | None
    suppression: dict[str, Any]
    said: str | None


class AccountShown(Shown):
    """An SES account. `policies` come where it is reached by a role."""

    id: Id
    name: str
    tenant: str | None
    region: str
    status: Literal["active", "paused", "disabled"]
    paused_at: datetime | None
    paused_by: str | None
    paused_reason: str | None
    credentials: CredentialsShown
    endpoint_url: str | None
    egress: EgressShown
    rate: float
    concurrency: int | None
    feedback: FeedbackShown
    declared_in_file: bool
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime
    policies: PoliciesShown | None = None


class CallerShown(Shown):
    account: str
    arn: str


class FindingShown(Shown):
    check: str
    ok: bool
    found: str
    remedy: str | None


class ProofShown(Shown):
    """What AWS says of an account, and what is to be mended."""

    name: str
    region: str
    ok: bool
    caller: CallerShown | None
    findings: list[FindingShown]


class StepShown(Shown):
    """A change at AWS, by what IAM calls it, or here."""

    action: str
    said: str
    done: bool


class MatterShown(Shown):
    """One thing that events need, as it was before: `amiss` is mended by steps, `by_hand` by nobody but you."""

    check: str
    state: Literal["fine", "amiss", "by_hand", "unseen", "taken"]
    said: str
    remedy: str | None


class RefusedShown(Shown):
    action: str
    said: str
    remedy: str | None


class SetupShown(Shown):
    """What an account's events need, and what was done about it. `lines`: what belongs in the configuration file."""

    name: str
    region: str
    account_number: str | None
    dry_run: bool
    ok: bool
    steps: list[StepShown]
    findings: list[MatterShown]
    lines: dict[str, Any] | None
    refused: RefusedShown | None


class QuotaShown(Shown):
    """What SES grants an account; null where it does not say."""

    name: str
    region: str
    recipients_a_second: float | None
    daily_quota: float | None
    sent_in_24_hours: float | None
    left_in_24_hours: float | None
    sending_enabled: bool | None
    production_access: bool | None
    enforcement: str | None


# -- domains ---------------------------------------------------------------------------------------------------------


class RecordShown(Shown):
    """A DNS record to publish."""

    type: str
    name: str
    value: str
    purpose: str
    required: bool


class CheckShown(Shown):
    """What one look at the DNS, or at SES, found of what it expected."""

    purpose: str
    status: str
    required: bool
    said: str
    expected: list[str]
    found: list[str]


class ClaimShown(Shown):
    expires_at: datetime | None


class DomainOptionsShown(Shown):
    include_subdomains: bool
    configuration_sets: dict[str, str]
    streams: list[Stream]
    default_sender: str | None
    ses_tenant: str | None
    recipients_per_call: int | None


class DomainBrief(Shown):
    """A sender domain, as lists have it."""

    id: Id
    domain: str
    status: DomainStatus
    mode: Mode
    tenant: str
    account: str
    region: str
    created_at: datetime
    verified_at: datetime | None


class DomainShown(DomainBrief):
    """A sender domain. `claim`: until when it has to be proven to be the tenant's, null once it is."""

    claim: ClaimShown | None
    mail_from: str | None
    records: list[RecordShown]
    checks: list[CheckShown]
    checked_at: datetime | None
    warnings: list[str]
    options: DomainOptionsShown
    declared_in_file: bool
    disabled_at: datetime | None
    updated_at: datetime
