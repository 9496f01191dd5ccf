"""The tenants that the file declares."""

from __future__ import annotations

from collections.abc import Iterator

from relay.config import Settings
from relay.declared import DEFAULT_TENANT, Approval, TenantFields, TenantSettings
from relay.management.declaring.plan import Change, Shown, Step, Verb, additions, differences, settle, whole
from relay.settings import DeclaredTenant
from relay.store import Connection
from relay.store.directory import tenants
from relay.store.directory.audit import FILE
from relay.store.directory.tenants import Tenant


def steps(db: Connection, settings: Settings) -> Iterator[Step]:
    known = {row.name: row for row in tenants.every(db)}
    for name, said in settings.tenants.items():
        yield from _tenant(name, said, known.get(name))
    for row in known.values():
        if row.is_declared and row.name not in settings.tenants:
            yield _forgotten(row)


def _tenant(name: str, said: DeclaredTenant, row: Tenant | None) -> Iterator[Step]:
    what = f"tenant {name}"
    fields = whole(TenantFields, said, settings=whole(TenantSettings, said.settings))
    after = _shown(fields)
    if row is None:
        added = additions(after | {"approved": said.approved})
        yield Step(
            Change(Verb.ADD, what, added),
            lambda db: tenants.create(db, FILE, name, fields, is_approved=said.approved),
        )
        return
    changed = differences(_shown(row), after)
    decision = _decision(row, said)
    if decision is not None:
        changed["approved"] = (not decision, decision)

    def change(db: Connection) -> None:
        tenants.change(db, FILE, name, fields)
        if decision is not None:
            tenants.decide(db, FILE, name, is_approved=decision)

    yield from settle(what, row, changed, take_over=lambda db: tenants.take_over(db, FILE, row), change=change)


def _decision(row: Tenant, said: DeclaredTenant) -> bool | None:
    """Whether the file now approves it, or takes back the approval that it gave. It leaves those of others alone."""
    is_approved = row.approval is Approval.APPROVED
    if said.approved != is_approved and row.name != DEFAULT_TENANT:
        if said.approved:
            return True
        if row.approval_by == FILE.name:
            return False
    return None


def _forgotten(row: Tenant) -> Step:
    what = f"tenant {row.name}"
    if row.name == DEFAULT_TENANT:  # it is always there
        change = Change(Verb.CHANGE, what, {"declared": (True, False)})
    else:
        change = Change(Verb.DISABLE, what, {})
    return Step(change, lambda db: tenants.let_go(db, FILE, row))


def _shown(either: Tenant | TenantFields) -> Shown:
    settings = either.settings.model_dump(mode="json")
    return {
        "plan": either.plan,
        "tier": either.tier,
        "contact": either.contact,
        **{f"settings.{name}": value for name, value in settings.items()},
    }
