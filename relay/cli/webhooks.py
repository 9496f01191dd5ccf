"""`relay webhook`: who is told over HTTP of what happens, and how that goes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any

import typer
from pydantic import Field

from relay.cli import webhook_posts
from relay.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigFile,
    OfTenant,
    actor,
    every,
    moment,
    parsed,
    said,
    settings_of,
    show,
    show_one,
)
from relay.cli.webhook_posts import Hook
from relay.declared import Dialect, WebhookChange, WebhookFields
from relay.settings import Settings
from relay.store.beside import with_database
from relay.store.clock import now_ms
from relay.store.directory import tenants
from relay.store.directory.installation import shown
from relay.store.webhooks import rows
from relay.store.webhooks.rows import Webhook
from relay.values import Section, Span

app = typer.Typer(help="Webhooks: who is told over HTTP of what happens, and how that goes.", no_args_is_help=True)
webhook_posts.register(app)

Url = Annotated[str, typer.Argument(metavar="URL", help="Where events are posted to: https://HOST/PATH.")]
Label = Annotated[str | None, typer.Option("--name", help="What it is for.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="email.bounced, email.* or *; may be given several times. Default: email.*."),
]
Domains = Annotated[
    list[str] | None, typer.Option("--domain", help="Only of this sender domain; may be given several times.")
]
Retries = Annotated[int | None, typer.Option(help="How often a post that failed is tried again: 0 to 8. Default: 8.")]
Whose = Annotated[str | None, typer.Option("--tenant", help="Whose it is. Default: the default tenant's.")]
FIELDS = {"url": "URL", "events": "--event", "events.*": "--event", "domains": "--domain", "domains.*": "--domain"}


def _require_target(settings: Settings, url: str) -> None:
    """Raises Problem(BAD_REQUEST) for what nothing may be posted to."""
    from relay.feedback.webhooks.targets import Targets  # here: few commands need an HTTP client

    async def look() -> None:
        targets = Targets(settings.webhooks)
        try:
            await targets.require(url)
        finally:
            await targets.close()

    asyncio.run(look())


def _row(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": shown(webhook.id),
        "name": webhook.name,
        "tenant": webhook.tenant,
        "dialect": webhook.dialect.value,
        "events": list(webhook.events),
        "domains": None if webhook.domains is None else sorted(webhook.domains),
        "enabled": webhook.is_enabled,
        "failing_since": moment(webhook.failing_since),
        "origin": webhook.origin,
    }


def _whole(webhook: Webhook) -> dict[str, Any]:
    is_replacing = webhook.old_until is not None and now_ms() < webhook.old_until
    return _row(webhook) | {
        "url": webhook.url,
        "retries": webhook.retries,
        "disabled_at": moment(webhook.disabled_at),
        "disabled_reason": webhook.disabled_reason,
        "old_secret_until": moment(webhook.old_until) if is_replacing else None,
        "created_at": moment(webhook.created_at),
        "updated_at": moment(webhook.updated_at),
    }


def _give(webhook: Webhook, secret: str, told: str, *, as_json: bool) -> None:
    """The secret alone on the standard output: what is to be read by people goes beside it."""
    if as_json:
        show_one(_whole(webhook) | {"secret": secret}, as_json=True)
        return
    typer.echo(secret)
    typer.echo(told, err=True)


# -- webhooks --------------------------------------------------------------------------------------------------------


@app.command()
def add(
    url: Url,
    name: Label = None,
    event: Events = None,
    domain: Domains = None,
    dialect: Annotated[Dialect, typer.Option(help="Whose form the receiver understands.")] = Dialect.NATIVE,
    retries: Retries = None,
    tenant: Whose = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Make a webhook and print its secret, once. A running server posts to it within 2 seconds."""
    settings = settings_of(config)
    wanted = said(name=name, events=event, domains=domain, retries=retries, tenant=tenant)
    fields = parsed(WebhookFields, wanted | {"url": url, "dialect": dialect}, FIELDS)
    _require_target(settings, fields.url)
    made, secret = with_database(settings, lambda db, sealer: rows.create(db, sealer, actor(), fields))
    _give(made, secret, f"the webhook {shown(made.id)} is made; its receiver needs the secret above", as_json=as_json)


@app.command("list")
def list_webhooks(tenant: OfTenant = None, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """List webhooks. Of their URLs only the origin: the rest may be a secret of the receiver's."""
    found = with_database(
        settings_of(config),
        lambda db, _: every(
            lambda asked: rows.listed(db, asked, tenant_id=tenants.find(db, tenant).id if tenant else None)
        ),
    )
    nothing = "There are no webhooks; make one with `relay webhook add URL`."
    show([_row(each) for each in found], as_json=as_json, nothing=nothing)


@app.command("show")
def show_webhook(webhook: Hook, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show a webhook. Never its secret."""
    found = with_database(settings_of(config), lambda db, _: rows.find(db, webhook))
    show_one(_whole(found), as_json=as_json)


@app.command()
def change(
    webhook: Hook,
    url: Annotated[str | None, typer.Option(help="Where events are posted to.")] = None,
    name: Label = None,
    event: Annotated[
        list[str] | None, typer.Option("--event", help="Of what it is told, all anew; may be given several times.")
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option("--domain", help="Only of these sender domains, all anew; '' for all.")
    ] = None,
    retries: Retries = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="A disabled one is told nothing, and later neither.")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Change what is named of a webhook. Its dialect and its tenant stay: make another one for those."""
    settings = settings_of(config)
    wanted = said(url=url, name=name, events=event, domains=domain, retries=retries, enabled=enable)
    fields = parsed(WebhookChange, wanted, FIELDS | {"url": "--url"})
    if url is not None:
        _require_target(settings, fields.url)
    changed = with_database(settings, lambda db, _: rows.change(db, actor(), webhook, fields))
    if as_json:
        show_one(_whole(changed), as_json=True)
    else:
        typer.echo(f"the webhook is changed; `relay webhook show {shown(changed.id)}` shows it")


@app.command()
def remove(webhook: Hook, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Forget a webhook, with what it was yet to be told."""
    removed = with_database(settings_of(config), lambda db, _: rows.remove(db, actor(), webhook))
    typer.echo(f"the webhook {shown(removed.id)} is forgotten")


class _Overlap(Section):
    overlap: Annotated[Span, Field(le=timedelta(days=30))]


@app.command()
def rotate(
    webhook: Hook,
    overlap: Annotated[str, typer.Option(help="How long the old one signs, too: 0s, 30m, 24h, 7d.")] = "24h",
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Give a webhook a new secret and print it, once. For a while posts are signed with both."""
    span = parsed(_Overlap, {"overlap": overlap}).overlap
    changed, secret = with_database(
        settings_of(config), lambda db, sealer: rows.rotate(db, sealer, actor(), webhook, span)
    )
    until = moment(changed.old_until)
    told = f"the old secret signs beside it until {until}" if until else "the old secret signs nothing any more"
    _give(changed, secret, f"{told}; its receiver needs the one above", as_json=as_json)
