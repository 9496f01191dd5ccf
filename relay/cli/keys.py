"""`relay key`: make, import, list, rotate and revoke API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from pydantic import Field

from relay.cli import senders
from relay.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigFile,
    OfTenant,
    SecretFile,
    actor,
    every,
    moment,
    parsed,
    said,
    secret_from,
    settings_of,
    show,
    show_one,
)
from relay.cli.senders import Daily, DeviceName, From, MinTls, Networks, Replaced, Senders, To
from relay.declared import KeyChange, KeyFields, Permission
from relay.errors import Kind, Problem
from relay.sealing import Sealer
from relay.store import Connection
from relay.store.beside import with_database
from relay.store.clock import now_ms
from relay.store.directory import keys, tenants
from relay.store.directory.installation import shown
from relay.store.directory.keys import ApiKey
from relay.values import Section, Span

app = typer.Typer(help="API keys: the HTTP credential and the SMTP password.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(metavar="KEY", help="Its prefix or its id, as `relay key list` shows them.")]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="What it is for, for example the application's name.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Whose it is. Default: the default tenant's.")]
May = Annotated[Permission, typer.Option(help="send_only, full or admin.")]
Domains = Annotated[
    list[str] | None, typer.Option("--domain", help="Only for this domain; may be given several times. Default: all.")
]
Rate = Annotated[
    int | None,
    typer.Option("--rate", help="Sends a minute: more are refused by HTTP, and wait by SMTP. Default: the plan's."),
]
Days = Annotated[int | None, typer.Option(help="Expires after so many days. Default: never.", min=1, max=36_500)]
FIELDS = {
    "name": "NAME",
    "domains": "--domain",
    "domains.*": "--domain",
    "rate_per_minute": "--rate",
    "secret": "the key",
    **senders.FIELDS,
}


@app.command()
def create(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="What it is for, for example the application's name.", show_default=False
        ),
    ] = None,
    permission: May = Permission.SEND_ONLY,
    tenant: Tenant = None,
    domain: Domains = None,
    rate: Rate = None,
    days: Days = None,
    device: DeviceName = None,
    network: Networks = None,
    sender: From = None,
    replace: Replaced = None,
    to: To = None,
    daily: Daily = None,
    min_tls: MinTls = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Make a key and print it, once: only its hash is kept. A running server knows it within 2 seconds."""
    called = name or device
    if called is None or (name and device):
        raise Problem(Kind.BAD_REQUEST, "name the key: by NAME or, for a device, by --device NAME")
    rules = Senders(network, sender, replace, to, daily, min_tls).made(is_device=device is not None)
    wanted = _fields(called, permission, tenant, domain, rate, days, more=rules)
    _, secret = with_database(settings_of(config), lambda db, sealer: keys.create(db, sealer, actor(), wanted))
    typer.echo(secret)


@app.command("import")
def import_key(
    name: NewName,
    permission: May = Permission.SEND_ONLY,
    tenant: Tenant = None,
    domain: Domains = None,
    rate: Rate = None,
    days: Days = None,
    secret_file: SecretFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Take over a key that was made elsewhere, so that an application that moves here keeps it."""
    secret = secret_from(secret_file, "key")
    wanted = _fields(name, permission, tenant, domain, rate, days, secret=secret)
    made, _ = with_database(settings_of(config), lambda db, sealer: keys.create(db, sealer, actor(), wanted))
    typer.echo(f"the key {made.prefix}... is imported, with the id {shown(made.id)}")


def _fields(
    name: str,
    permission: Permission,
    tenant: str | None,
    domain: Sequence[str] | None,
    rate: int | None,
    days: int | None,
    secret: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> KeyFields:
    wanted = said(
        tenant=tenant, domains=domain, rate_per_minute=rate, expires_at=_expiry(days) if days else None, secret=secret
    )
    return parsed(KeyFields, wanted | {"name": name, "permission": permission, **(more or {})}, FIELDS)


def _expiry(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


# -- reading ---------------------------------------------------------------------------------------------------------


@app.command("list")
def list_keys(
    tenant: OfTenant = None,
    permission: Annotated[Permission | None, typer.Option(help="Only with this permission.")] = None,
    valid: Annotated[bool, typer.Option("--valid", help="Only those that are good now.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List keys by the part of them that may be shown."""
    found = with_database(
        settings_of(config),
        lambda db, _: every(
            lambda asked: keys.listed(
                db, asked, tenant_id=tenants.find(db, tenant).id if tenant else None, permission=permission
            )
        ),
    )
    now = now_ms()
    show(
        [_row(key, now) for key in found if key.is_valid(now) or not valid],
        as_json=as_json,
        nothing="There are no such keys; make one with `relay key create NAME`.",
    )


@app.command("show")
def show_key(key: Key, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show a key: what it may do, for which domains, and when it was last used. Never its secret."""
    found = with_database(settings_of(config), lambda db, _: keys.find(db, key))
    row = _row(found, now_ms())
    replaces = None if found.replaces is None else shown(found.replaces)
    more = {"revoked_at": moment(found.revoked_at), "replaces": replaces, "declared_in_file": found.is_declared}
    show_one(row | more, as_json=as_json)


def _row(key: ApiKey, now: int) -> dict[str, Any]:
    return {
        "prefix": key.prefix,
        "name": key.name,
        "tenant": key.tenant,
        "permission": key.permission.value,
        "domains": None if key.domains is None else sorted(key.domains),
        "rate_per_minute": key.rate_per_minute,
        "status": key.status(now),
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "last_used_at": moment(key.last_used_at),
        "sender_rule": senders.shown(key.sender_rule),
        "device": senders.shown(key.device),
        "id": shown(key.id),
    }


# -- changing --------------------------------------------------------------------------------------------------------


class _Overlap(Section):
    overlap: Annotated[Span, Field(le=timedelta(days=365))]


@app.command("set")
def change(
    key: Key,
    name: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    domain: Annotated[
        list[str] | None, typer.Option("--domain", help="Only for these domains, all anew; '' for every domain.")
    ] = None,
    rate: Annotated[int | None, typer.Option("--rate", help="Sends a minute, as of `create`; 0: the plan's.")] = None,
    days: Annotated[int | None, typer.Option(help="Expires so many days from now.", min=1, max=36_500)] = None,
    no_expiry: Annotated[bool, typer.Option("--no-expiry", help="Never expires.")] = False,
    network: Networks = None,
    sender: From = None,
    replace: Replaced = None,
    to: To = None,
    daily: Daily = None,
    min_tls: MinTls = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Change what is named of a key. Its permission and its tenant stay: make another key for those.

    --network makes it a key for a device, and --network '' an ordinary one again; --from '' takes back a sender rule,
    --to '' and --daily 0 a device's recipients and cap.
    """
    rules = Senders(network, sender, replace, to, daily, min_tls)
    wanted = said(name=name, domains=domain, rate_per_minute="" if rate == 0 else rate)
    if days or no_expiry:
        wanted["expires_at"] = None if no_expiry or days is None else _expiry(days)

    def change_it(db: Connection, _: Sealer) -> ApiKey:
        more = rules.changed(keys.find(db, key))
        return keys.change(db, actor(), key, parsed(KeyChange, wanted | more, FIELDS | {"name": "--name"}))

    changed = with_database(settings_of(config), change_it)
    typer.echo(f"{changed.prefix} is changed; `relay key show {shown(changed.id)}` shows it")


@app.command()
def rotate(
    key: Key,
    overlap: Annotated[str, typer.Option(help="How long the old one stays good: 0s, 30m, 24h, 7d.")] = "24h",
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Make a new key for the same, print it, once, and let the old one end when the application has the new one."""
    span = parsed(_Overlap, {"overlap": overlap}).overlap
    settings = settings_of(config)
    made, secret = with_database(settings, lambda db, sealer: keys.rotate(db, sealer, actor(), key, span))
    old = with_database(settings, lambda db, _: keys.find(db, shown(made.replaces or 0)))
    typer.echo(secret)
    typer.echo(
        f"{old.prefix} is good until {moment(old.expires_at)}; give its application the new key before", err=True
    )


@app.command()
def revoke(key: Key, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Revoke a key, for good. A running server refuses it within 2 seconds."""
    revoked = with_database(settings_of(config), lambda db, _: keys.revoke(db, actor(), key))
    typer.echo(f"{revoked.prefix} is revoked")
