"""`relay init`, `serve`, `check`, `reload`, `migrate`, `sandbox` and `demo`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay import log
from relay.cli import declaring, demonstration, starting
from relay.cli.options import DEFAULT_CONFIG, ConfigFile, settings_of
from relay.message import Mode, canonical_domain
from relay.store import database
from relay.store.files import database_url
from relay.store.schema import REVISIONS

if TYPE_CHECKING:
    from relay.sandbox.accounts import Account


def init(
    folder: Annotated[Path, typer.Argument(help="Where to put config.yaml, master.key and the database.")] = Path("."),
    domain: Annotated[str, typer.Option(help="The first sender domain.")] = "example.com",
    region: Annotated[str, typer.Option(help="The AWS region of its SES account.")] = "us-east-1",
    mode: Annotated[Mode, typer.Option(help="byoc: the customer's SES account. shared: yours.")] = Mode.SHARED,
) -> None:
    """Write a first configuration and master key, and print the first admin key, once."""
    config_file, key = starting.create(folder, canonical_domain(domain), region, mode)
    typer.echo(f"wrote {config_file} and {config_file.with_name('master.key')}; keep a copy of the key elsewhere")
    typer.echo("the first API key, with every permission (it is shown once, and is the SMTP password, too):")
    typer.echo(key)
    typer.echo(f"next: look through {config_file}, then `relay serve --config {config_file}`")


def serve(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Accept mail by SMTP and HTTP and send it through SES, until SIGTERM or Ctrl-C."""
    from relay import app  # here, because it loads everything: the other commands need little of it

    settings = settings_of(config)
    log.set_up(settings.log.level, settings.log.format)
    asyncio.run(app.serve(config, settings))


def migrate(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Bring the database to this version's schema. PostgreSQL needs it after an upgrade; SQLite does it at start."""
    url = database_url(settings_of(config))
    log.set_up()
    if database.is_sqlite(url):
        with database.sole_owner(database.sqlite_path(url)):
            database.migrate_sqlite(url)
    else:
        asyncio.run(database.migrate_postgresql(url))
    typer.echo(f"the schema is {REVISIONS[-1]}")


def sandbox(
    listen: Annotated[str, typer.Option(help="Address and port.")] = demonstration.SANDBOX,
    account: Annotated[
        list[str] | None,
        typer.Option(help="NAME=DOMAIN[,DOMAIN]: an account, its access key id being NAME, and what it may send from."),
    ] = None,
    rate: Annotated[float, typer.Option(help="Recipients a second, per account.")] = 1000.0,
    nameserver: Annotated[
        str | None,
        typer.Option(help="ADDR:PORT: where the records of new identities are looked up. Else they stay pending."),
    ] = None,
    temporary: Annotated[
        str | None, typer.Option(help="NAME: the account of callers with temporary credentials (AWS STS).")
    ] = None,
) -> None:
    """Run a stand-in for SES, SNS and SQS, with a page at / that shows what was sent."""
    from relay.sandbox.lookups import read_nameserver
    from relay.sandbox.server import serve as serve_sandbox

    log.set_up()
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        raise typer.BadParameter("write it as ADDRESS:PORT", param_hint="--listen")
    if nameserver is not None:
        try:
            read_nameserver(nameserver)
        except ValueError as exc:
            raise typer.BadParameter(str(exc), param_hint="--nameserver") from exc
    accounts = [_account(text, rate, temporary) for text in account or demonstration.ACCOUNTS]
    if temporary is not None and temporary not in {each.name for each in accounts}:
        raise typer.BadParameter("it is not one of the accounts", param_hint="--temporary")
    asyncio.run(serve_sandbox(accounts, host.strip("[]"), int(port), nameserver))


def _account(text: str, rate: float, temporary: str | None) -> Account:
    from relay.sandbox.accounts import Account

    name, equals, identities = text.partition("=")
    if not equals or not name or not identities:
        raise typer.BadParameter("write it as NAME=DOMAIN[,DOMAIN]", param_hint="--account")
    return Account(name, tuple(identities.split(",")), rate=rate, daily_quota=-1, takes_temporary=name == temporary)


def demo(folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("demo")) -> None:
    """Run the sandbox and a relay in front of it, with lines to paste. Files in ./demo are kept for the next time."""
    raise typer.Exit(demonstration.run(folder))


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (init, serve, declaring.check, declaring.reload, migrate, sandbox, demo):
        app.command()(command)
