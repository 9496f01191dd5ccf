"""How much a tenant sent and what became of it: day by day, by domain, stream or tag; and this UTC month against its
plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from starlette.responses import Response

from relay.http.management.answers import View, moment, single
from relay.http.management.asking import Nothing
from relay.http.management.rules import Call
from relay.routing.standing import DEFAULT_PLAN
from relay.settings import Plan
from relay.store import Connection, tallies, usage
from relay.store.clock import now_ms
from relay.store.directory import tenants
from relay.store.directory.tenants import Tenant
from relay.store.tallies import By, Figures
from relay.store.usage import DAY, EPOCH, Day
from relay.values import Name, Section

MAX_DAYS = 400
USUAL = timedelta(days=29)  # before the last day
MOST_GROUPS = 1000


def _day(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"[12]\d{3}-\d\d-\d\d", value):
        raise ValueError("must be a day of the form YYYY-MM-DD")
    return value


class Span(Section):
    """From the first day to the last, both by UTC; the last 30 days if it does not say. `by`: the figures of the whole
    span in groups, too."""

    tenant: Name | None = None
    first: Annotated[date, BeforeValidator(_day)] | None = Field(default=None, alias="from")
    last: Annotated[date, BeforeValidator(_day)] | None = Field(default=None, alias="to")
    by: By | None = None

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
    """What became of mail is of the key's domains; what was accepted, and the plan, of its tenant as a whole."""
    owner, (first, last), now = call.owner(call.query.tenant), call.query.days, now_ms()
    start, following = usage.month_of(now)
    by = call.query.by

    def read(db: Connection) -> tuple[Tenant, list[Day], list[Day], dict[int, Figures], dict[str, Figures]]:
        found = tenants.find(db, owner)
        days = first.toordinal() - EPOCH, last.toordinal() - EPOCH
        span = tallies.Span(found.id, *days, scope=call.credential.scope)
        return (
            found,
            usage.daily(db, *days, found.id),
            usage.daily(db, start, following - 1, found.id),
            tallies.daily(db, span),
            {} if by is None else tallies.grouped(db, span, by, MOST_GROUPS),
        )

    tenant, daily, month, came, groups = await call.state.store.read(read)
    senders = call.state.intake.senders
    has_default = DEFAULT_PLAN in senders.plans
    seen = _view(tenant, senders.plan(tenant), month, (start, following))
    return single(
        call.request,
        seen
        | {"plan": tenant.plan or (DEFAULT_PLAN if has_default else None)}
        | {"from": str(first), "to": str(last), "days": _days(first, last, daily, came)}
        | {"totals": _figures(tallies.total(came.values())), "by": None if by is None else by.value}
        | {"groups": None if by is None else [{"name": name or None} | _figures(of) for name, of in groups.items()]},
    )


def _figures(figures: Figures) -> View:
    return dict(figures) | {"rates": tallies.rates(figures)}


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


def _days(first: date, last: date, daily: list[Day], came: Mapping[int, Figures]) -> list[View]:
    """Every day, those without mail, too."""
    accepted, nothing = {each.day: each for each in daily}, tallies.total([])
    view: list[View] = []
    for day in range(first.toordinal() - EPOCH, last.toordinal() - EPOCH + 1):
        of = accepted.get(day)
        counts = {"messages": of.messages if of else 0, "recipients": of.recipients if of else 0}
        view.append({"date": str(usage.date_of(day))} | counts | dict(came.get(day, nothing)))
    return view
