"""`relay init`, `serve`, `check`, `migrate`, `sandbox` and `demo`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay import log
from relay.cli import demonstration, starting
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
    asyncio.run(app.serve(settings))


def check(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Check a configuration file. Prints every fault with its path; exit code 78 if there is one."""
    settings = settings_of(config)
    typer.echo(f"{config} is fine: {len(settings.ses_accounts)} SES accounts, {len(settings.domains)} domains")


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
) -> None:
    """Run a stand-in for SES and SQS, with a page at / that shows what was sent."""
    from relay.sandbox.server import serve as serve_sandbox

    log.set_up()
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        raise typer.BadParameter("write it as ADDRESS:PORT", param_hint="--listen")
    accounts = [_account(text, rate) for text in account or demonstration.ACCOUNTS]
    asyncio.run(serve_sandbox(accounts, host.strip("[]"), int(port)))


def _account(text: str, rate: float) -> Account:
    from relay.sandbox.accounts import Account

    name, equals, identities = text.partition("=")
    if not equals or not name or not identities:
        raise typer.BadParameter("write it as NAME=DOMAIN[,DOMAIN]", param_hint="--account")
    return Account(name, tuple(identities.split(",")), rate=rate, daily_quota=-1)


def demo(folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("demo")) -> None:
    """Run the sandbox and a relay in front of it, with lines to paste. Files in ./demo are kept for the next time."""
    raise typer.Exit(demonstration.run(folder))


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (init, serve, check, migrate, sandbox, demo):
        app.command()(command)
