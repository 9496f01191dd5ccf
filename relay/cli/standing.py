"""`relay tenant suspend`, `resume`, `appeal`, `approve`, `decline`, `request-approval`: whether a tenant may send."""

from __future__ import annotations

from typing import Annotated

import typer

from relay.cli.options import DEFAULT_CONFIG, ConfigFile, actor, line, parsed, said, settings_of
from relay.cli.tenants import TenantName
from relay.declared import Application
from relay.settings import Settings
from relay.store.beside import with_database
from relay.store.directory import tenants
from relay.store.directory.tenants import Tenant

Note = Annotated[str, typer.Option(help="What the tenant is told.")]


def suspend(
    name: TenantName,
    reason: Annotated[str, typer.Option(help="Why: the tenant and its senders are told.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Refuse a tenant's mail at both edges; what waits is held until it is resumed, `delivery.max_age` at most."""
    settings = settings_of(config)
    tenant = with_database(settings, lambda db, _: tenants.suspend(db, actor(), name, line(reason, "--reason")))
    typer.echo(f"{name} is suspended: its new mail is refused, and what waits is held")
    typer.echo(_told(tenant, settings))
    typer.echo(f"next: `relay tenant resume {name}`, when it may send again")


def resume(name: TenantName, note: Note = "", config: ConfigFile = DEFAULT_CONFIG) -> None:
    """End a suspension. Mail that was held goes out, and what counts against the tenant counts from now on."""
    settings = settings_of(config)
    tenant = with_database(settings, lambda db, _: tenants.resume(db, actor(), name, line(note, "--note")))
    typer.echo(f"{name} may send again, and what was held goes out")
    typer.echo(_told(tenant, settings))


def appeal(
    name: TenantName,
    note: Annotated[str, typer.Option(help="What is to be said against the suspension.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Appeal, for a tenant, against its suspension: whoever runs Relay is told."""
    with_database(settings_of(config), lambda db, _: tenants.appeal(db, actor(), name, line(note, "--note")))
    typer.echo(f"{name} has appealed; `relay tenant list` and `relay tenant show {name}` show it")
    typer.echo(f"next: `relay tenant resume {name}`, when it may send again")


def approve(name: TenantName, note: Note = "", config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Let a tenant send through the operator's SES accounts, whether it asked or not."""
    _decide(name, note, config, is_approved=True)


def decline(
    name: TenantName,
    note: Annotated[str, typer.Option(help="Why: the tenant is told.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Refuse shared sending to a tenant, or take its approval back. It may ask again."""
    _decide(name, note, config, is_approved=False)


def _decide(name: str, note: str, config: ConfigFile, *, is_approved: bool) -> None:
    settings = settings_of(config)
    tenant = with_database(
        settings,
        lambda db, _: tenants.decide(db, actor(), name, is_approved=is_approved, note=line(note, "--note")),
    )
    may = "may send" if is_approved else "may not send"
    typer.echo(f"{name} is {tenant.approval.value}: it {may} through the operator's SES accounts")
    typer.echo(_told(tenant, settings))


def request_approval(
    name: TenantName,
    use_case: Annotated[str, typer.Option(help="What it sends, to whom, and how they agreed to it.")],
    company: Annotated[str, typer.Option(help="Who it is.")],
    website: Annotated[str, typer.Option(help="Its website.")],
    expected_volume: Annotated[int, typer.Option(help="Recipients a month.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Ask, for a tenant, to send through the operator's SES accounts."""
    asked = said(use_case=use_case, company=company, website=website, expected_volume=expected_volume)
    application = parsed(Application, asked)
    with_database(settings_of(config), lambda db, _: tenants.apply_for_approval(db, actor(), name, application))
    typer.echo(f"{name} has asked for approval")
    typer.echo(f"next: `relay tenant approve {name}`, or `relay tenant decline {name} --note ...`")


def _told(tenant: Tenant, settings: Settings) -> str:
    """Who hears of a change of standing."""
    if settings.notices is None:
        return "nobody is told by mail: the configuration has no `notices`"
    people = [each for each in (tenant.contact, settings.notices.to) if each is not None]
    return f"told by mail: {', '.join(people) or 'nobody, because there is no contact and no notices.to'}"


def register(app: typer.Typer) -> None:
    """Add these commands to those of tenants."""
    for command in (suspend, resume, appeal, approve, decline):
        app.command()(command)
    app.command("request-approval")(request_approval)
