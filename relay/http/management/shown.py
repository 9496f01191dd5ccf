"""What management answers look like, for the reference. The views make them; the tests hold the two to each other."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from relay.declared import Approval, Device, Permission, SenderRule, TenantSettings, TenantStatus
from relay.judging import Enforce, Level
from relay.store.smtp_failures import Reason

Item = TypeVar("Item")
Id = Annotated[str, Field(pattern="^[0-9a-f]{24}$")]


class Shown(BaseModel):
    """A JSON object that says all of its members, and no others."""

    model_config = ConfigDict(extra="forbid")


class Listed(Shown, Generic[Item]):
    """A page of a list. `total`: how many match in all, null where they are not counted."""

    data: list[Item]
    total: int | None
    next_cursor: str | None


# -- tenants ---------------------------------------------------------------------------------------------------------


class ApplicationShown(Shown):
    """What a tenant said when it asked for shared sending."""

    use_case: str
    company: str
    website: str
    expected_volume: int
    requested_at: datetime | None


class AppealShown(Shown):
    """What a suspended tenant said when it appealed."""

    note: str
    appealed_at: datetime


class WindowShown(Shown):
    """What became of a tenant's mail of one mode in the last days. `since`: nothing from before counts, for it was
    resumed then."""

    level: Level
    level_at: datetime | None
    since: datetime | None
    sends: int
    bounces: int
    complaints: int
    bounce_rate: float
    complaint_rate: float


class LimitsShown(Shown):
    """By what tenants are judged. Rates are parts of all recipients."""

    window_hours: int
    min_sends: int
    bounce_rate: float
    complaint_rate: float | None
    complaints_are_bounces: bool
    enforce: Enforce


class StandingShown(Shown):
    """How a tenant stands by what became of its mail."""

    shared: WindowShown
    byoc: WindowShown
    limits: LimitsShown


class TenantShown(Shown):
    """A tenant. `status_by` and `approval_by` are for the operator alone."""

    id: Id
    name: str
    status: TenantStatus
    status_reason: str | None
    status_at: datetime | None
    status_by: str | None = None
    approval: Approval
    approval_note: str | None
    approval_at: datetime | None
    approval_by: str | None = None
    application: ApplicationShown | None
    appeal: AppealShown | None
    standing: StandingShown
    plan: str | None
    tier: str | None
    contact: str | None
    settings: TenantSettings
    declared_in_file: bool
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


# -- keys, suppressions, figures -------------------------------------------------------------------------------------


class KeyShown(Shown):
    """An API key, without its secret."""

    id: Id
    prefix: str
    name: str
    tenant: str
    permission: Permission
    domains: list[str] | None
    rate_per_minute: int | None
    sender_rule: SenderRule | None
    device: Device | None
    status: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    replaces: Id | None
    declared_in_file: bool


class KeyMade(KeyShown):
    """A new API key. `key`: the whole of it, shown this once; absent for one that was brought along."""

    key: str | None = None


class SuppressionShown(Shown):
    """An address that gets no mail. `tenant` null: of the list that holds for everyone."""

    address: str
    tenant: str | None
    reason: str
    source: str
    note: str | None
    created_at: datetime
    expires_at: datetime | None


class SmtpFailureShown(Shown):
    """A session of an SMTP client that failed."""

    id: Id
    at: datetime
    listener: str
    client: str
    tenant: str | None
    key: str | None
    reason: Reason
    sentence: str
