"""Tenants: whose mail it is. Their standing, their approval for shared sending, their plan and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from relay.declared import DEFAULT_TENANT, Application, Approval, TenantFields, TenantSettings, TenantStatus
from relay.errors import Kind, Problem
from relay.message import Ids
from relay.store import events, notices, windows
from relay.store.clock import clock, milliseconds
from relay.store.directory import audit
from relay.store.directory.audit import Actor
from relay.store.directory.paging import Asked, Page, page
from relay.store.events import Event
from relay.store.schema import tenants

APPEAL_EVERY = timedelta(days=1)  # so often an operator is mailed about the same suspension
_ids = Ids()


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as it is. Times are milliseconds since 1970."""

    id: int
    name: str
    status: TenantStatus
    status_reason: str | None
    status_at: int | None
    status_by: str | None
    approval: Approval
    approval_note: str | None
    approval_at: int | None
    approval_by: str | None
    application: Mapping[str, Any] | None
    appeal: Mapping[str, Any] | None
    plan: str | None
    tier: str | None
    contact: str | None
    settings: TenantSettings
    is_declared: bool
    disabled_at: int | None
    created_at: int
    updated_at: int

    @property
    def is_active(self) -> bool:
        return self.status is TenantStatus.ACTIVE and self.disabled_at is None


def _tenant(row: Row[Any]) -> Tenant:
    return Tenant(
        id=row.id,
        name=row.name,
        status=TenantStatus(row.status),
        status_reason=row.status_reason,
        status_at=row.status_at,
        status_by=row.status_by,
        approval=Approval(row.approval),
        approval_note=row.approval_note,
        approval_at=row.approval_at,
        approval_by=row.approval_by,
        application=None if row.application is None else json.loads(row.application),
        appeal=None if row.appeal is None else json.loads(row.appeal),
        plan=row.plan,
        tier=row.tier,
        contact=row.contact,
        settings=TenantSettings.model_validate_json(row.settings),
        is_declared=row.is_declared,
        disabled_at=row.disabled_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


# -- reading ---------------------------------------------------------------------------------------------------------


def every(db: Connection) -> list[Tenant]:
    return [_tenant(row) for row in db.execute(select(tenants).order_by(tenants.c.id))]


def find(db: Connection, name: str) -> Tenant:
    """Raises Problem(NOT_FOUND)."""
    row = db.execute(select(tenants).where(tenants.c.name == name)).one_or_none()
    if row is None:
        raise Problem(Kind.NOT_FOUND, f"there is no tenant {name!r} here")
    return _tenant(row)


def listed(
    db: Connection,
    asked: Asked,
    *,
    status: TenantStatus | None = None,
    approval: Approval | None = None,
    plan: str | None = None,
) -> Page[Tenant]:
    which = select(tenants)
    if status is not None:
        which = which.where(tenants.c.status == status.value)
    if approval is not None:
        which = which.where(tenants.c.approval == approval.value)
    if plan is not None:
        which = which.where(tenants.c.plan == plan)
    return page(db, which, tenants.c.name, asked, _tenant)


# -- changing --------------------------------------------------------------------------------------------------------


def create(db: Connection, actor: Actor, name: str, fields: TenantFields, *, is_approved: bool = False) -> Tenant:
    """Raises Problem(CONFLICT) where the name is taken."""
    if db.scalar(select(tenants.c.id).where(tenants.c.name == name)) is not None:
        raise Problem(Kind.CONFLICT, f"there is a tenant {name!r} already")
    now = clock(db)
    approval = Approval.APPROVED if is_approved else Approval.NONE
    row_id = _ids.next()
    values = _columns(fields.model_dump(mode="json"))
    db.execute(
        insert(tenants).values(
            id=row_id,
            name=name,
            status=TenantStatus.ACTIVE.value,
            approval=approval.value,
            approval_at=now if is_approved else None,
            approval_by=actor.name if is_approved else None,
            is_declared=actor.is_file,
            created_at=now,
            updated_at=now,
            **values,
        )
    )
    said = fields.model_dump(mode="json", exclude_unset=True)
    audit.record(db, actor, "tenant.create", f"tenant {name}", tenant_id=row_id, changes=audit.differences({}, said))
    return find(db, name)


def change(db: Connection, actor: Actor, name: str, fields: TenantFields) -> Tenant:
    """Change what `fields` names. Raises Problem(NOT_FOUND | CONFLICT)."""
    tenant = find(db, name)
    actor.require_free(f"the tenant {name}", tenant.is_declared)
    given = fields.model_dump(mode="json", exclude_unset=True)
    before = TenantFields.model_validate(
        {"plan": tenant.plan, "tier": tenant.tier, "contact": tenant.contact, "settings": tenant.settings}
    ).model_dump(mode="json")
    if "settings" in given:
        given["settings"] = before["settings"] | given["settings"]
    changes = audit.differences(before, given)
    if changes:
        _write(db, tenant.id, **_columns(given))
        audit.record(db, actor, "tenant.change", f"tenant {name}", tenant_id=tenant.id, changes=changes)
    return find(db, name)


def _columns(given: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(given)
    if "settings" in values:
        values["settings"] = json.dumps(values["settings"])
    return values


def _write(db: Connection, tenant_id: int, **values: Any) -> None:
    db.execute(update(tenants).where(tenants.c.id == tenant_id).values(**values, updated_at=clock(db)))


# -- standing --------------------------------------------------------------------------------------------------------


def suspend(
    db: Connection, actor: Actor, name: str, reason: str, *, figures: Mapping[str, Any] | None = None
) -> Tenant:
    """Refuse its mail at both edges and hold what waits. `figures`: what its sending was judged by, for who is told.

    Raises Problem(NOT_FOUND | CONFLICT).
    """
    tenant = find(db, name)
    if tenant.status is TenantStatus.SUSPENDED:
        raise Problem(Kind.CONFLICT, f"{name} is suspended already: {tenant.status_reason}")
    _stand(db, actor, tenant, TenantStatus.SUSPENDED, reason)
    events.note(db, [Event("tenant.suspended", tenant_id=tenant.id, data={"reason": reason, **(figures or {})})])
    notices.write(
        db,
        tenant.id,
        tenant.contact,
        "Sending is suspended",
        f"Sending for {name} is suspended: {reason}\n\nNew mail is refused. Mail that waits is held; what waits too "
        "long, usually a day, is given up. To have it looked at again, appeal with one of your API keys (POST "
        f"/api/v1/tenants/{name}/appeal), or write to whoever runs the mail relay.",
    )
    return find(db, name)


def resume(db: Connection, actor: Actor, name: str, note: str = "") -> Tenant:
    """Let it send again, and judge it by what it sends from now on. Raises Problem(NOT_FOUND | CONFLICT)."""
    tenant = find(db, name)
    if tenant.status is TenantStatus.ACTIVE:
        raise Problem(Kind.CONFLICT, f"{name} is not suspended")
    windows.begin_anew(db, tenant.id)
    _stand(db, actor, tenant, TenantStatus.ACTIVE, note)
    events.note(db, [Event("tenant.resumed", tenant_id=tenant.id, data={"note": note or None})])
    notices.write(
        db,
        tenant.id,
        tenant.contact,
        "Sending is resumed",
        f"Sending for {name} is resumed{': ' + note if note else ''}. Mail that was held is on its way.",
    )
    return find(db, name)


def appeal(db: Connection, actor: Actor, name: str, note: str) -> Tenant:
    """Say something against its suspension: the operator is told. Raises Problem(NOT_FOUND | CONFLICT)."""
    tenant, now = find(db, name), clock(db)
    if tenant.status is TenantStatus.ACTIVE:
        raise Problem(Kind.CONFLICT, f"{name} is not suspended")
    if tenant.appeal is not None and now - tenant.appeal["appealed_at"] < milliseconds(APPEAL_EVERY):
        raise Problem(Kind.CONFLICT, f"{name} has appealed already, within the last day: the operator was told")
    _write(db, tenant.id, appeal=json.dumps({"note": note, "appealed_at": now}))
    audit.record(db, actor, "tenant.appeal", f"tenant {name}", tenant_id=tenant.id)
    events.note(db, [Event("tenant.appealed", tenant_id=tenant.id)])
    notices.write_to_operator(
        db,
        tenant.id,
        f"{name} appeals against its suspension",
        f"The tenant {name} was suspended: {tenant.status_reason}\n\nIt says: {note}\n\n"
        f"`relay tenant show {name}` shows its figures; `relay tenant resume {name}` lets it send again.",
    )
    return find(db, name)


def _stand(db: Connection, actor: Actor, tenant: Tenant, status: TenantStatus, reason: str) -> None:
    _write(
        db,
        tenant.id,
        status=status.value,
        status_reason=reason or None,
        status_at=clock(db),
        status_by=actor.name,
        appeal=None,
    )
    audit.record(
        db,
        actor,
        "tenant.suspend" if status is TenantStatus.SUSPENDED else "tenant.resume",
        f"tenant {tenant.name}",
        tenant_id=tenant.id,
        changes={"status": [tenant.status.value, status.value], "reason": [tenant.status_reason, reason]},
    )


# -- approval --------------------------------------------------------------------------------------------------------


def apply_for_approval(db: Connection, actor: Actor, name: str, application: Application) -> Tenant:
    """Ask to send through the operator's accounts. Raises Problem(NOT_FOUND | CONFLICT)."""
    tenant = find(db, name)
    if tenant.approval in {Approval.APPROVED, Approval.REQUESTED}:
        said = "approved already" if tenant.approval is Approval.APPROVED else "waiting for an answer already"
        raise Problem(Kind.CONFLICT, f"{name} is {said}")
    said_by = application.model_dump(mode="json") | {"requested_at": clock(db)}
    _write(
        db,
        tenant.id,
        approval=Approval.REQUESTED.value,
        approval_note=None,
        approval_at=None,
        approval_by=None,
        application=json.dumps(said_by),
    )
    audit.record(
        db,
        actor,
        "tenant.request_approval",
        f"tenant {name}",
        tenant_id=tenant.id,
        changes={"approval": [tenant.approval.value, Approval.REQUESTED.value]},
    )
    notices.write_to_operator(
        db,
        tenant.id,
        f"{name} asks for approval",
        f"The tenant {name} asks to send through the operator's SES accounts.\n\n"
        f"Company: {application.company}\nWebsite: {application.website}\nUse case: {application.use_case}\n"
        f"Expected volume: {application.expected_volume} recipients a month\n\n"
        f"Answer with `relay tenant approve {name}` or `relay tenant decline {name} --note ...`.",
    )
    return find(db, name)


def decide(db: Connection, actor: Actor, name: str, *, is_approved: bool, note: str = "") -> Tenant:
    """Approve or decline shared sending, asked for or not. Raises Problem(NOT_FOUND | CONFLICT)."""
    tenant = find(db, name)
    approval = Approval.APPROVED if is_approved else Approval.DECLINED
    if tenant.name == DEFAULT_TENANT and not is_approved:
        raise Problem(Kind.CONFLICT, "the default tenant is always approved: it is the operator's own")
    if tenant.approval is approval:
        raise Problem(Kind.CONFLICT, f"{name} is {approval.value} already")
    _write(
        db,
        tenant.id,
        approval=approval.value,
        approval_note=note or None,
        approval_at=clock(db),
        approval_by=actor.name,
    )
    audit.record(
        db,
        actor,
        "tenant.approve" if is_approved else "tenant.decline",
        f"tenant {name}",
        tenant_id=tenant.id,
        changes={"approval": [tenant.approval.value, approval.value], "note": [tenant.approval_note, note]},
    )
    events.note(db, [Event(f"tenant.{approval.value}", tenant_id=tenant.id, data={"note": note or None})])
    answer = "may now send" if is_approved else "may not send"
    notices.write(
        db,
        tenant.id,
        tenant.contact,
        f"Shared sending: {approval.value}",
        f"{name} {answer} through the operator's Amazon SES accounts.{chr(10) * 2 + note if note else ''}",
    )
    return find(db, name)


# -- the configuration file ------------------------------------------------------------------------------------------


def take_over(db: Connection, actor: Actor, tenant: Tenant) -> None:
    """The file declares it, for the first time or again: from now on it is the file's, and enabled."""
    _write(db, tenant.id, is_declared=True, disabled_at=None)
    action = "tenant.take_over" if tenant.disabled_at is None else "tenant.enable"
    audit.record(db, actor, action, f"tenant {tenant.name}", tenant_id=tenant.id)


def let_go(db: Connection, actor: Actor, tenant: Tenant) -> None:
    """It vanished from the file: no longer the file's, and disabled, but for the default one, which is always there."""
    is_default = tenant.name == DEFAULT_TENANT
    _write(db, tenant.id, is_declared=False, disabled_at=None if is_default else clock(db))
    action = "tenant.let_go" if is_default else "tenant.disable"
    audit.record(db, actor, action, f"tenant {tenant.name}", tenant_id=tenant.id)
