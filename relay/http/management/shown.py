"""What management answers look like, for the reference. The views make them; the tests hold the two to each other."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from relay.declared import Approval, Device, Permission, SenderRule, TenantSettings, TenantStatus
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


class MonthShown(Shown):
    name: str
    messages: int
    recipients: int
    quota: int | None
    left: int | None
    starts_anew_at: datetime


class DayShown(Shown):
    date: date
    messages: int
    recipients: int


class StatsShown(Shown):
    """How much a tenant had accepted, by UTC days, and its month against its plan."""

    tenant: str
    month: MonthShown
    daily_guideline: int | None
    plan: str | None
    first: date = Field(alias="from")
    last: date = Field(alias="to")
    days: list[DayShown]


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
