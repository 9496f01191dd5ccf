"""How much a tenant sent: day by day, and this UTC month against its plan."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from starlette.responses import Response

from relay.http.management.answers import View, moment, single
from relay.http.management.asking import Nothing
from relay.http.management.rules import Call
from relay.routing.standing import DEFAULT_PLAN
from relay.settings import Plan
from relay.store import usage
from relay.store.clock import now_ms
from relay.store.directory import tenants
from relay.store.directory.tenants import Tenant
from relay.store.usage import DAY, EPOCH, Day
from relay.values import Name, Section

MAX_DAYS = 400
USUAL = timedelta(days=29)  # before the last day


def _day(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"[12]\d{3}-\d\d-\d\d", value):
        raise ValueError("must be a day of the form YYYY-MM-DD")
    return value


class Span(Section):
    """From the first day to the last, both by UTC; the last 30 days if it does not say."""

    tenant: Name | None = None
    first: Annotated[date, BeforeValidator(_day)] | None = Field(default=None, alias="from")
    last: Annotated[date, BeforeValidator(_day)] | None = Field(default=None, alias="to")

    @property
    def days(self) -> tuple[date, date]:
        last = self.last or max(self.first or date.min, datetime.now(UTC).date())
        return self.first or last - USUAL, last

    @model_validator(mode="after")
    def _is_in_order(self) -> Span:
        first, last = self.days
        if not first <= last < first + timedelta(days=MAX_DAYS):
            raise ValueError(f"from must not be after to, and {MAX_DAYS} days are the most")
        return self


async def show(call: Call[Span, Nothing]) -> Response:
    owner, (first, last), now = call.owner(call.query.tenant), call.query.days, now_ms()
    start, following = usage.month_of(now)
    tenant, daily, month = await call.state.store.read(
        lambda db: (
            found := tenants.find(db, owner),
            usage.daily(db, first.toordinal() - EPOCH, last.toordinal() - EPOCH, found.id),
            usage.daily(db, start, following - 1, found.id),
        )
    )
    senders = call.state.intake.senders
    has_default = DEFAULT_PLAN in senders.plans
    seen = _view(tenant, senders.plan(tenant), month, (start, following))
    return single(
        call.request,
        seen
        | {"plan": tenant.plan or (DEFAULT_PLAN if has_default else None)}
        | {"from": str(first), "to": str(last), "days": _days(first, last, daily)},
    )


def _view(tenant: Tenant, plan: Plan, month: list[Day], days: tuple[int, int]) -> View:
    used = sum(each.recipients for each in month)
    return {
        "tenant": tenant.name,
        "month": {
            "name": f"{usage.date_of(days[0]):%Y-%m}",
            "messages": sum(each.messages for each in month),
            "recipients": used,
            "quota": plan.monthly,
            "left": None if plan.monthly is None else max(0, plan.monthly - used),
            "starts_anew_at": moment(days[1] * DAY),
        },
        "daily_guideline": plan.daily_guideline,
    }


def _days(first: date, last: date, daily: list[Day]) -> list[View]:
    """Every day, those without mail, too."""
    sent = {usage.date_of(each.day): each for each in daily}
    every = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [
        {
            "date": str(day),
            "messages": sent[day].messages if day in sent else 0,
            "recipients": sent[day].recipients if day in sent else 0,
        }
        for day in every
    ]
