"""What answers about figures look like, for the reference. The views make them; tests hold the two to each other."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from relay.http.management.shown import Shown


class FiguresShown(Shown):
    """How many recipients came to what. Each counts once for each thing that may become of it."""

    sent: int
    delivered: int
    delayed: int
    bounced: int
    soft_bounced: int
    complained: int
    rejected: int
    failed: int
    suppressed: int
    opened: int
    clicked: int
    unsubscribed: int


class RatesShown(Shown):
    """Of what was sent, from 0 to 1: what was delivered, bounced for good, and was complained of. Null: nothing was."""

    delivery: float | None
    bounce: float | None
    complaint: float | None


class TotalsShown(FiguresShown):
    rates: RatesShown


class GroupShown(TotalsShown):
    """One domain, stream or tag; null stands for no tag."""

    name: str | None


class MonthShown(Shown):
    name: str
    messages: int
    recipients: int
    quota: int | None
    left: int | None
    starts_anew_at: datetime


class DayShown(FiguresShown):
    """`messages` and `recipients` were accepted on that day; the rest is what came of mail on it."""

    date: date
    messages: int
    recipients: int


class StatsShown(Shown):
    """How much a tenant had accepted, by UTC days, and its month against its plan; and what became of its mail.

    `groups`: of the whole span, where `by` asks for them, those with the most sent first.
    """

    tenant: str
    month: MonthShown
    daily_guideline: int | None
    plan: str | None
    first: date = Field(alias="from")
    last: date = Field(alias="to")
    days: list[DayShown]
    totals: TotalsShown
    by: Literal["domain", "stream", "tag"] | None
    groups: list[GroupShown] | None
