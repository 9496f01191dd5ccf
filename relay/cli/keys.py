"""`relay key`: make, list and revoke API keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, moment, settings_of, show
from relay.store import directory
from relay.store.beside import with_database
from relay.store.clock import milliseconds, now_ms
from relay.store.directory import Permission

app = typer.Typer(help="API keys: the HTTP credential and the SMTP password.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, for example the application's name.")],
    permission: Annotated[Permission, typer.Option(help="send_only, full or admin.")] = Permission.SEND_ONLY,
    days: Annotated[int | None, typer.Option(help="Expires after so many days. Default: never.", min=1)] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Make a key and print it, once: only its hash is kept. A running server knows it within 2 seconds."""
    expires_at = now_ms() + milliseconds(timedelta(days=days)) if days else None
    _, secret = with_database(
        settings_of(config),
        lambda db, sealer: directory.create_key(db, sealer, name=name, permission=permission, expires_at=expires_at),
    )
    typer.echo(secret)


@app.command("list")
def list_keys(as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """List keys by the part of them that may be shown."""
    found = with_database(settings_of(config), lambda db, _: directory.api_keys(db))
    show(
        [
            {
                "prefix": key.prefix,
                "name": key.name,
                "permission": key.permission.value,
                "status": "valid" if key.is_valid(now_ms()) else "revoked" if key.revoked_at else "expired",
                "created_at": moment(key.created_at),
                "expires_at": moment(key.expires_at),
            }
            for key in found
        ],
        as_json=as_json,
        nothing="There are no keys yet; make one with `relay key create NAME`.",
    )


@app.command()
def revoke(
    prefix: Annotated[str, typer.Argument(help="As `relay key list` shows it.")], config: ConfigFile = DEFAULT_CONFIG
) -> None:
    """Revoke a key, for good. A running server refuses it within 2 seconds."""
    with_database(settings_of(config), lambda db, _: directory.revoke_key(db, prefix))
    typer.echo(f"{prefix} is revoked")
