"""Tenants: made, put on plans, approved, suspended. A tenant's own key sees its own, asks for approval and appeals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from relay.declared import Application, Approval, TenantFields, TenantStatus
from relay.http.management.answers import View, created, done, listed, moment, single
from relay.http.management.asking import Listing, Nothing, Said, narrowed
from relay.http.management.rules import Call
from relay.judging import Policy
from relay.message import Mode
from relay.routing import standing
from relay.routing.standing import planned
from relay.store import Connection
from relay.store.directory import tenants
from relay.store.directory.installation import shown
from relay.store.directory.paging import Page
from relay.store.directory.tenants import Tenant
from relay.store.windows import Seen, look
from relay.values import Label, Name, Section, Yes


class Wanted(Listing):
    """Filters of the list."""

    status: TenantStatus | None = None
    approval: Approval | None = None
    plan: Label | None = None


class NewTenant(TenantFields):
    """`approved`: for shared sending, without a request."""

    name: Name
    approved: Yes = False


class Reason(Section):
    reason: Said


class MaybeNote(Section):
    note: Said | None = None


class Note(Section):
    note: Said


def view(seen: tuple[Tenant, Mapping[Mode, Seen]], policy: Policy, *, is_operator: bool) -> View:
    """A tenant and its windows. Who of the operator's people did something is only for them."""
    tenant, windows = seen
    application, appeal = tenant.application, tenant.appeal
    if application is not None:
        application = {**application, "requested_at": moment(application.get("requested_at"))}
    if appeal is not None:
        appeal = {**appeal, "appealed_at": moment(appeal.get("appealed_at"))}
    fields: View = {
        "id": shown(tenant.id),
        "name": tenant.name,
        "status": tenant.status.value,
        "status_reason": tenant.status_reason,
        "status_at": moment(tenant.status_at),
        "approval": tenant.approval.value,
        "approval_note": tenant.approval_note,
        "approval_at": moment(tenant.approval_at),
        "application": application,
        "appeal": appeal,
        "standing": standing.shown(policy, windows),
        "plan": tenant.plan,
        "tier": tenant.tier,
        "contact": tenant.contact,
        "settings": tenant.settings.model_dump(mode="json"),
        "declared_in_file": tenant.is_declared,
        "disabled_at": moment(tenant.disabled_at),
        "created_at": moment(tenant.created_at),
        "updated_at": moment(tenant.updated_at),
    }
    return fields | ({"status_by": tenant.status_by, "approval_by": tenant.approval_by} if is_operator else {})


async def index(call: Call[Wanted, Nothing]) -> Response:
    asked, policy = call.query, call.state.store.policy

    def read(db: Connection) -> tuple[Page[Tenant], Mapping[int, Mapping[Mode, Seen]]]:
        page = tenants.listed(db, asked.asked, status=asked.status, approval=asked.approval, plan=asked.plan)
        return page, look(db, [each.id for each in page.items], policy.window)

    page, windows = await call.state.store.read(read)
    return listed(page, lambda tenant: view((tenant, windows[tenant.id]), policy, is_operator=True))


async def create(call: Call[Nothing, NewTenant]) -> Response:
    body, fields, plans = call.body, narrowed(TenantFields, call.body), call.state.intake.senders.plans
    made = await _change(
        call,
        lambda db: planned(tenants.create(db, call.actor, body.name, fields, is_approved=body.approved), fields, plans),
    )
    return created(made, "tenants", body.name)


async def retrieve(call: Call[Nothing, Nothing]) -> Response:
    name, policy = call.owner(call.named("name")), call.state.store.policy
    seen = await call.state.store.read(lambda db: _with_windows(db, tenants.find(db, name), policy))
    return single(call.request, view(seen, policy, is_operator=call.is_operator))


async def change(call: Call[Nothing, TenantFields]) -> Response:
    name, fields, plans = call.named("name"), call.body, call.state.intake.senders.plans
    return done(await _change(call, lambda db: planned(tenants.change(db, call.actor, name, fields), fields, plans)))


# -- standing --------------------------------------------------------------------------------------------------------


async def suspend(call: Call[Nothing, Reason]) -> Response:
    name, reason = call.named("name"), call.body.reason
    return done(await _change(call, lambda db: tenants.suspend(db, call.actor, name, reason)))


async def resume(call: Call[Nothing, MaybeNote]) -> Response:
    name, note = call.named("name"), call.body.note or ""
    return done(await _change(call, lambda db: tenants.resume(db, call.actor, name, note)))


async def appeal(call: Call[Nothing, Note]) -> Response:
    name, note = call.owner(call.named("name")), call.body.note
    return done(await _change(call, lambda db: tenants.appeal(db, call.actor, name, note)))


async def approve(call: Call[Nothing, MaybeNote]) -> Response:
    return await _decide(call, call.body.note or "", is_approved=True)


async def decline(call: Call[Nothing, Note]) -> Response:
    return await _decide(call, call.body.note, is_approved=False)


async def _decide(call: Call[Any, Any], note: str, *, is_approved: bool) -> Response:
    name = call.named("name")
    return done(
        await _change(call, lambda db: tenants.decide(db, call.actor, name, is_approved=is_approved, note=note))
    )


async def request_approval(call: Call[Nothing, Application]) -> Response:
    name = call.owner(call.named("name"))
    return done(await _change(call, lambda db: tenants.apply_for_approval(db, call.actor, name, call.body)))


async def _change(call: Call[Any, Any], change: Callable[[Connection], Tenant]) -> View:
    """Make a change of a tenant. What is shown of it afterwards."""
    policy = call.state.store.policy
    seen = await call.state.store.change(lambda db: _with_windows(db, change(db), policy))
    return view(seen, policy, is_operator=call.is_operator)


def _with_windows(db: Connection, tenant: Tenant, policy: Policy) -> tuple[Tenant, Mapping[Mode, Seen]]:
    return tenant, look(db, [tenant.id], policy.window)[tenant.id]
