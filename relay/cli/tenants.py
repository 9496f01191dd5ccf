"""`relay tenant`: whose mail it is, what they may send, and how much they sent."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import typer

from relay.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigFile,
    actor,
    every,
    moment,
    parsed,
    said,
    settings_of,
    show,
    show_one,
    slug,
)
from relay.declared import Approval, ByocLog, MxPolicy, TenantFields, TenantStatus
from relay.routing import standing
from relay.routing.standing import DEFAULT_PLAN, plan_of, planned
from relay.store import usage as counted
from relay.store.beside import with_database
from relay.store.clock import now_ms
from relay.store.directory import tenants
from relay.store.directory.tenants import Tenant
from relay.store.windows import look

app = typer.Typer(help="Tenants: customers, teams or groups of applications, each with its own.", no_args_is_help=True)

TenantName = Annotated[str, typer.Argument(metavar="NAME", help="The tenant's name.")]
PlanName = Annotated[str | None, typer.Option("--plan", help="One of the configuration's `plans`; '' for none.")]
Tier = Annotated[str | None, typer.Option(help="A word of your own; nothing goes by it yet. '' for none.")]
Contact = Annotated[
    str | None, typer.Option(help="Who is told of suspension and approval, where there are `notices`; '' for nobody.")
]
Policy = Annotated[
    MxPolicy | None, typer.Option("--mx-policy", help="What becomes of recipients whose domain takes no mail.")
]
Opens = Annotated[
    bool | None,
    typer.Option("--track-opens/--no-track-opens", help="SES tracks opens, unless a message says otherwise."),
]
Clicks = Annotated[
    bool | None,
    typer.Option("--track-clicks/--no-track-clicks", help="SES tracks clicks, unless a message says otherwise."),
]
Kept = Annotated[
    str | None,
    typer.Option(help="How long content of its shared mail is kept, such as 30d; '' for as long as elsewhere."),
]
Stored = Annotated[
    bool | None, typer.Option("--store-content/--no-store-content", help="Keep content after sending, or never.")
]
Logged = Annotated[
    ByocLog | None, typer.Option("--byoc-log", help="What stays known of its byoc mail once it is final.")
]


@app.command("list")
def list_tenants(
    status: Annotated[TenantStatus | None, typer.Option(help="Only of this status.")] = None,
    approval: Annotated[Approval | None, typer.Option(help="Only those so far with shared sending.")] = None,
    plan: Annotated[str | None, typer.Option(help="Only on this plan.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List tenants by name."""
    found = with_database(
        settings_of(config),
        lambda db, _: every(lambda asked: tenants.listed(db, asked, status=status, approval=approval, plan=plan)),
    )
    show(
        [
            {
                "name": each.name,
                "status": _status(each),
                "appealed_at": moment(each.appeal["appealed_at"]) if each.appeal is not None else None,
                "approval": each.approval.value,
                "plan": each.plan,
                "tier": each.tier,
                "contact": each.contact,
                "created_at": moment(each.created_at),
            }
            for each in found
        ],
        as_json=as_json,
        nothing="There are no such tenants; `relay tenant create NAME` makes one.",
    )


@app.command("show")
def show_tenant(name: TenantName, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show a tenant: its standing, its approval, its plan and what it wants otherwise."""
    settings = settings_of(config)
    policy = settings.standing.policy
    tenant, seen = with_database(
        settings, lambda db, _: (found := tenants.find(db, name), look(db, [found.id], policy.window)[found.id])
    )
    stands = standing.shown(policy, seen)
    show_one(
        {
            "name": tenant.name,
            "status": _status(tenant),
            "status_reason": tenant.status_reason,
            "status_at": moment(tenant.status_at),
            "status_by": tenant.status_by,
            "approval": tenant.approval.value,
            "approval_note": tenant.approval_note,
            "approval_at": moment(tenant.approval_at),
            "approval_by": tenant.approval_by,
            "application": _application(tenant),
            "appeal": _appeal(tenant),
            **({"standing": stands} if as_json else {f"standing, {name}": each for name, each in stands.items()}),
            "plan": tenant.plan,
            "tier": tenant.tier,
            "contact": tenant.contact,
            **tenant.settings.model_dump(mode="json"),
            "declared_in_file": tenant.is_declared,
            "created_at": moment(tenant.created_at),
            "updated_at": moment(tenant.updated_at),
        },
        as_json=as_json,
    )


def _status(tenant: Tenant) -> str:
    return "disabled" if tenant.disabled_at is not None else tenant.status.value


def _application(tenant: Tenant) -> dict[str, Any] | None:
    if tenant.application is None:
        return None
    return {**tenant.application, "requested_at": moment(tenant.application.get("requested_at"))}


def _appeal(tenant: Tenant) -> dict[str, Any] | None:
    if tenant.appeal is None:
        return None
    return {**tenant.appeal, "appealed_at": moment(tenant.appeal["appealed_at"])}


# -- changing --------------------------------------------------------------------------------------------------------


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, - and _; it stays.")],
    plan: PlanName = None,
    tier: Tier = None,
    contact: Contact = None,
    mx_policy: Policy = None,
    track_opens: Opens = None,
    track_clicks: Clicks = None,
    retention_content: Kept = None,
    store_content: Stored = None,
    byoc_log: Logged = None,
    approved: Annotated[bool, typer.Option(help="Approve shared sending at once, without a request.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Make a tenant. It may send from byoc domains at once, and from shared ones when it is approved."""
    settings = settings_of(config)
    kept = _Kept(retention_content, store_content, byoc_log)
    wanted = _fields(plan, tier, contact, mx_policy, track_opens, track_clicks, kept)
    new = slug(name)
    made = with_database(
        settings,
        lambda db, _: planned(tenants.create(db, actor(), new, wanted, is_approved=approved), wanted, settings.plans),
    )
    typer.echo(f"{made.name} is made")
    typer.echo(f"next: `relay domain add DOMAIN --tenant {made.name} --mode ...`, `relay key create NAME --tenant ...`")


@app.command("set")
def change(
    name: TenantName,
    plan: PlanName = None,
    tier: Tier = None,
    contact: Contact = None,
    mx_policy: Policy = None,
    track_opens: Opens = None,
    track_clicks: Clicks = None,
    retention_content: Kept = None,
    store_content: Stored = None,
    byoc_log: Logged = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Change what is named of a tenant. A running server goes by it within 2 seconds."""
    settings = settings_of(config)
    kept = _Kept(retention_content, store_content, byoc_log)
    wanted = _fields(plan, tier, contact, mx_policy, track_opens, track_clicks, kept)
    with_database(settings, lambda db, _: planned(tenants.change(db, actor(), name, wanted), wanted, settings.plans))
    typer.echo(f"{name} is changed; `relay tenant show {name}` shows it")


class _Kept(NamedTuple):
    """What is said of how long a tenant's mail is kept, and what of it."""

    retention_content: str | None
    store_content: bool | None
    byoc_log: ByocLog | None


def _fields(
    plan: str | None,
    tier: str | None,
    contact: str | None,
    mx_policy: MxPolicy | None,
    track_opens: bool | None,
    track_clicks: bool | None,
    kept: _Kept,
) -> TenantFields:
    wanted = said(
        mx_policy=mx_policy,
        track_opens=track_opens,
        track_clicks=track_clicks,
        **kept._asdict(),
    )
    return parsed(TenantFields, said(plan=plan, tier=tier, contact=contact, settings=wanted or None))


# -- usage -----------------------------------------------------------------------------------------------------------


@app.command()
def usage(
    name: TenantName,
    days: Annotated[int, typer.Option(help="So many days up to today, by UTC.", min=1, max=400)] = 30,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Show what a tenant sent: this UTC month against its plan, and day by day."""
    settings, now = settings_of(config), now_ms()
    today = counted.day_of(now)
    tenant, used, daily = with_database(
        settings,
        lambda db, _: (
            found := tenants.find(db, name),
            counted.of_month(db, now).get(found.id),
            counted.daily(db, today - days + 1, today, found.id),
        ),
    )
    month = used.recipients if used else 0
    monthly = plan_of(tenant, settings.plans).monthly
    summary = {
        "tenant": tenant.name,
        "plan": tenant.plan or (DEFAULT_PLAN if DEFAULT_PLAN in settings.plans else None),
        "recipients_this_month": month,
        "monthly_quota": monthly,
        "left_this_month": None if monthly is None else max(0, monthly - month),
    }
    rows = [
        {"day": str(counted.date_of(each.day)), "messages": each.messages, "recipients": each.recipients}
        for each in daily
    ]
    show_one(summary | {"days": rows} if as_json else summary, as_json=as_json)
    if not as_json:
        show(rows, as_json=False, nothing=f"It sent nothing in the last {days} days.")
