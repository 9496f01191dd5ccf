"""Tenants: made, put on plans, approved, suspended. A tenant's own key sees its own, and asks for approval."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from relay.declared import Application, Approval, TenantFields, TenantStatus
from relay.http.management.answers import View, created, done, listed, moment, single
from relay.http.management.asking import Listing, Nothing, Said, narrowed
from relay.http.management.rules import Call
from relay.routing.standing import planned
from relay.store.directory import tenants
from relay.store.directory.installation import shown
from relay.store.directory.tenants import Tenant
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


def view(tenant: Tenant, *, is_operator: bool) -> View:
    """Who of the operator's people did something is only for them."""
    application = tenant.application
    if application is not None:
        application = {**application, "requested_at": moment(application.get("requested_at"))}
    seen: View = {
        "id": shown(tenant.id),
        "name": tenant.name,
        "status": tenant.status.value,
        "status_reason": tenant.status_reason,
        "status_at": moment(tenant.status_at),
        "approval": tenant.approval.value,
        "approval_note": tenant.approval_note,
        "approval_at": moment(tenant.approval_at),
        "application": application,
        "plan": tenant.plan,
        "tier": tenant.tier,
        "contact": tenant.contact,
        "settings": tenant.settings.model_dump(mode="json"),
        "declared_in_file": tenant.is_declared,
        "disabled_at": moment(tenant.disabled_at),
        "created_at": moment(tenant.created_at),
        "updated_at": moment(tenant.updated_at),
    }
    return seen | ({"status_by": tenant.status_by, "approval_by": tenant.approval_by} if is_operator else {})


async def index(call: Call[Wanted, Nothing]) -> Response:
    asked = call.query
    page = await call.state.store.read(
        lambda db: tenants.listed(db, asked.asked, status=asked.status, approval=asked.approval, plan=asked.plan)
    )
    return listed(page, lambda tenant: view(tenant, is_operator=True))


async def create(call: Call[Nothing, NewTenant]) -> Response:
    body, fields, plans = call.body, narrowed(TenantFields, call.body), call.state.intake.senders.plans
    made = await call.state.store.change(
        lambda db: planned(tenants.create(db, call.actor, body.name, fields, is_approved=body.approved), fields, plans)
    )
    return created(view(made, is_operator=True), "tenants", made.name)


async def retrieve(call: Call[Nothing, Nothing]) -> Response:
    name = call.owner(call.named("name"))
    tenant = await call.state.store.read(lambda db: tenants.find(db, name))
    return single(call.request, view(tenant, is_operator=call.is_operator))


async def change(call: Call[Nothing, TenantFields]) -> Response:
    name, fields, plans = call.named("name"), call.body, call.state.intake.senders.plans
    changed = await call.state.store.change(
        lambda db: planned(tenants.change(db, call.actor, name, fields), fields, plans)
    )
    return done(view(changed, is_operator=True))


# -- standing --------------------------------------------------------------------------------------------------------


async def suspend(call: Call[Nothing, Reason]) -> Response:
    name, reason = call.named("name"), call.body.reason
    return _stands(call, await call.state.store.change(lambda db: tenants.suspend(db, call.actor, name, reason)))


async def resume(call: Call[Nothing, MaybeNote]) -> Response:
    name, note = call.named("name"), call.body.note or ""
    return _stands(call, await call.state.store.change(lambda db: tenants.resume(db, call.actor, name, note)))


async def approve(call: Call[Nothing, MaybeNote]) -> Response:
    return await _decide(call, call.body.note or "", is_approved=True)


async def decline(call: Call[Nothing, Note]) -> Response:
    return await _decide(call, call.body.note, is_approved=False)


async def _decide(call: Call[Any, Any], note: str, *, is_approved: bool) -> Response:
    name = call.named("name")
    decided = await call.state.store.change(
        lambda db: tenants.decide(db, call.actor, name, is_approved=is_approved, note=note)
    )
    return _stands(call, decided)


async def request_approval(call: Call[Nothing, Application]) -> Response:
    name = call.owner(call.named("name"))
    return _stands(
        call, await call.state.store.change(lambda db: tenants.apply_for_approval(db, call.actor, name, call.body))
    )


def _stands(call: Call[Any, Any], tenant: Tenant) -> Response:
    return done(view(tenant, is_operator=call.is_operator))
