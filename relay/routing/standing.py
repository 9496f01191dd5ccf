"""Whether a tenant and its domain may send now, and what keeps mail that waits. Pure: functions of the directory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from relay.config import Plan
from relay.declared import Approval, DomainStatus, TenantFields
from relay.errors import Fault, Kind, Problem
from relay.judging import Level, Policy
from relay.message import Mode, Stream
from relay.store.clock import rfc3339
from relay.store.directory.domains import SenderDomain
from relay.store.directory.snapshot import Snapshot
from relay.store.directory.tenants import Tenant
from relay.store.windows import Seen

ACCOUNT = ""  # the key under which a whole account is held; any other key is a sender domain
DEFAULT_PLAN = "default"  # holds for tenants without one, where the file has a plan of this name
UNLIMITED = Plan()
MODE = "mode"  # the aspect of a problem: the plan does not have the domain's mode


def plan_of(tenant: Tenant, plans: Mapping[str, Plan]) -> Plan:
    """The tenant's plan. One that has gone from the file limits nothing, and `/readyz` says so."""
    return plans.get(tenant.plan or DEFAULT_PLAN, UNLIMITED)


def refused_plan(tenant: Tenant, plan_name: str | None, plans: Mapping[str, Plan]) -> Problem | None:
    """Why a tenant, as it is to be, may not be on this plan. None is no plan of its own, which is always possible."""
    if plan_name is None:
        return None
    plan = plans.get(plan_name)
    if plan is None:
        known = ", ".join(sorted(plans)) or "none"
        return Problem(Kind.BAD_REQUEST, faults=(Fault("plan", f"there is no plan {plan_name!r}; there is {known}"),))
    lacks = {"approval": tenant.approval is not Approval.APPROVED, "contact": tenant.contact is None}
    faults = [Fault("plan", f"{plan_name} needs {_NEEDS[need]}") for need in plan.needs if lacks[need]]
    return Problem(Kind.CONFLICT, faults=tuple(faults)) if faults else None


def planned(tenant: Tenant, said: TenantFields, plans: Mapping[str, Plan]) -> Tenant:
    """A tenant as it was just changed, if what was said of it leaves it on a plan it may be on.

    A tenant whose plan has gone from the file can still be changed otherwise. Raises Problem(BAD_REQUEST | CONFLICT).
    """
    problem = refused_plan(tenant, tenant.plan, plans)
    if problem is not None and said.model_fields_set & {"plan", "contact"}:
        raise problem
    return tenant


_NEEDS = {
    "approval": "a tenant that is approved for shared sending: approve it first",
    "contact": "a tenant with a contact address: give it one first",
}


def refused_tenant(tenant: Tenant) -> Problem | None:
    """Why a tenant may not send at all."""
    if tenant.is_active:
        return None
    if tenant.disabled_at is not None:
        return Problem(Kind.SUSPENDED, f"the tenant {tenant.name} is no longer in the operator's configuration")
    since = f" since {rfc3339(tenant.status_at, 'seconds')}" if tenant.status_at else ""
    reason = tenant.status_reason or "no reason was given"
    return Problem(Kind.SUSPENDED, f"sending is suspended{since}: {reason}; ask the operator")


def refused_domain(domain: SenderDomain, tenant: Tenant, plan: Plan) -> Problem | None:
    """Why mail from a domain of this tenant may not be accepted, or sent."""
    if domain.disabled_at is not None:
        return Problem(
            Kind.NOT_REGISTERED, f"{domain.name} is no longer in the operator's configuration: ask for it to be added"
        )
    if domain.mode not in plan.modes:
        said = f"the plan {tenant.plan or DEFAULT_PLAN} has no {domain.mode.value} sending"
        return Problem(Kind.FORBIDDEN, said, aspect=MODE)
    if domain.mode is Mode.SHARED and tenant.approval is not Approval.APPROVED:
        return Problem(Kind.NOT_APPROVED, f"shared sending of {tenant.name} is not approved: {_approval(tenant)}")
    if domain.status is not DomainStatus.VERIFIED:
        name, said = missing(domain)
        return Problem(Kind.NOT_VERIFIED, f"{domain.name} is registered but not verified: {said}", aspect=name)
    return None


def _approval(tenant: Tenant) -> str:
    match tenant.approval:
        case Approval.REQUESTED:
            return "the request waits for an answer"
        case Approval.DECLINED:
            return f"it was declined{': ' + tenant.approval_note if tenant.approval_note else ''}"
        case _:
            return "ask for approval first, or send from a domain of your own SES account"


def missing(domain: SenderDomain) -> tuple[str, str]:
    """The first thing that keeps a domain from being verified: the purpose of the check, and what it says."""
    for check in domain.checks:
        if check.get("is_required") and check.get("status") != "found":
            return str(check.get("purpose")), str(check.get("said"))
    return "", "it has not been looked at yet; `relay domain dns` lists what to publish"


def refused_stream(domain: SenderDomain, stream: Stream) -> Problem | None:
    if stream in domain.streams:
        return None
    allowed = ", ".join(each.value for each in Stream if each in domain.streams)
    return Problem(Kind.FORBIDDEN, f"{domain.name} may send {allowed} mail only; this is {stream.value}")


def holds(snapshot: Snapshot, plans: Mapping[str, Plan]) -> dict[str, dict[str, Problem]]:
    """What the directory keeps from being sent, by SES account: the whole account, or domains of it."""
    found: dict[str, dict[str, Problem]] = {name: {} for name in snapshot.accounts}
    for account in snapshot.accounts.values():
        if account.disabled_at is not None:
            found[account.name][ACCOUNT] = Problem(Kind.SES_PAUSED, "it is no longer in the configuration file")
        elif account.paused_at is not None:
            said = f"paused by {account.paused_by}: {account.paused_reason or 'no reason was given'}"
            found[account.name][ACCOUNT] = Problem(Kind.SES_PAUSED, f"{said}; `relay account resume` ends it")
    for domain in snapshot.domains.values():
        tenant = snapshot.tenants[domain.tenant_id]
        problem = refused_tenant(tenant) or refused_domain(domain, tenant, plan_of(tenant, plans))
        if problem is not None:
            found[domain.account][domain.name] = problem
    return found


def shown(policy: Policy, seen: Mapping[Mode, Seen]) -> dict[str, Any]:
    """How a tenant stands, and by what it is judged: JSON for whoever may see it. Rates are parts of all recipients."""
    complaints = policy.complaint_rate
    return {mode.value: _window(seen.get(mode, Seen())) for mode in (Mode.SHARED, Mode.BYOC)} | {
        "limits": {
            "window_hours": policy.window // timedelta(hours=1),
            "min_sends": policy.min_sends,
            "bounce_rate": float(policy.bounce_rate),
            "complaint_rate": None if complaints is None else float(complaints),
            "complaints_are_bounces": policy.complaints_are_bounces,
            "enforce": policy.enforce.value,
        }
    }


def _window(seen: Seen) -> dict[str, Any]:
    return {
        "level": seen.level.value,
        "level_at": rfc3339(seen.level_at) if seen.level_at else None,
        "since": rfc3339(seen.since) if seen.since else None,
        "sends": seen.counts.sends,
        "bounces": seen.counts.bounces,
        "complaints": seen.counts.complaints,
        "bounce_rate": round(seen.counts.bounce_rate, 6),
        "complaint_rate": round(seen.counts.complaint_rate, 6),
    }


def slowed(snapshot: Snapshot, domains: Mapping[str, SenderDomain]) -> dict[str, int]:
    """Those of these domains whose mail has only a part of the lane, each with its tenant."""
    return {
        name: domain.tenant_id
        for name, domain in domains.items()
        if domain.mode is Mode.SHARED and snapshot.levels.get(domain.tenant_id) is Level.SLOWED
    }


def hold_of(snapshot: Snapshot, plans: Mapping[str, Plan], domain: str) -> Problem | None:
    """What the directory keeps one domain's mail for."""
    found = snapshot.domains.get(domain)
    if found is None:
        return Problem(Kind.NOT_REGISTERED, f"{domain} is not registered here any more")
    theirs = holds(snapshot, plans)[found.account]
    return theirs.get(ACCOUNT) or theirs.get(domain)
