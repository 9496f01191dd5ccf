"""`relay erase`: removes a person everywhere, and says what it cannot reach."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, OfTenant, actor, moment, settings_of, show_one
from relay.management.erasing import Erased, Erasing
from relay.settings import Settings
from relay.store import files
from relay.store.beside import open_beside
from relay.store.database import is_sqlite
from relay.store.directory import tenants
from relay.store.erasing import Person

BEYOND = (
    "backups of the database, those that relay made before an upgrade included",
    "Amazon SES: its logs, its suppression list (`relay account`, `relay suppression mirror`) and what it delivered",
    "copies in mailboxes, and in the logs and databases of the applications that sent the mail",
)
LOG_OF = {
    True: "SQLite's log, until it is next emptied: every 60 seconds while a server runs, else when this command ends",
    False: "PostgreSQL's dead rows until vacuum, and its WAL for as long as it is archived",
}


def erase(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Whom to remove, in any case.")],
    tenant: OfTenant = None,
    suppressions: Annotated[
        bool, typer.Option("--suppressions", help="Off the suppression lists, too: mail to it is accepted again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Remove a person as a recipient and as a sender. What waits for it is cancelled. It cannot be undone."""
    settings = settings_of(config)
    # What a server logs, a command answers: without this the libraries' warnings end up in between.
    logging.getLogger().addHandler(logging.NullHandler())
    if not (dry_run or yes):
        found = asyncio.run(_run(settings, address, tenant, suppressions, is_dry=True))
        _say(found, settings, is_done=False)
        typer.confirm("Remove all of it, for good?", abort=True, err=True)
    done = asyncio.run(_run(settings, address, tenant, suppressions, is_dry=dry_run))
    if as_json:
        show_one(_shown(done) | {"is_done": not dry_run, "beyond_reach": _beyond(settings)}, as_json=True)
    else:
        _say(done, settings, is_done=not dry_run)
    if done.under_way and not dry_run:
        typer.echo("calls to Amazon SES are still under way: run this again in a minute", err=True)
        raise typer.Exit(os.EX_TEMPFAIL)


async def _run(settings: Settings, address: str, tenant: str | None, suppressions: bool, *, is_dry: bool) -> Erased:
    async with open_beside(settings) as store:
        tenant_id = None if tenant is None else await store.read(lambda db: tenants.find(db, tenant).id)
        person = Person.of(store.sealer, address, tenant_id)
        erasing = Erasing(store, person, with_suppressions=suppressions)
        return await (erasing.look() if is_dry else erasing.erase(actor()))


def _shown(done: Erased) -> dict[str, Any]:
    return {**asdict(done), "kept_until": moment(done.kept_until), "directory": list(done.directory)}


def _beyond(settings: Settings) -> list[str]:
    return [LOG_OF[is_sqlite(files.database_url(settings))], *BEYOND]


def _say(done: Erased, settings: Settings, *, is_done: bool) -> None:
    did = "removed" if is_done else "to remove"
    counts = {
        "recipients": f"recipients of mail, {did}",
        "cancelled": f"deliveries that wait for nobody else, {'cancelled' if is_done else 'to cancel'}",
        "sent": f"messages from the address, {did}",
        "contents": f"contents, {'destroyed' if is_done else 'to destroy'}",
        "described": f"words of senders with the address in them, {did}",
        "notices": f"notices that wait, {did}",
        "sessions": f"failed SMTP sessions, {did}",
        "answers": f"answers under idempotency keys, {did}",
        "records": f"records of the audit and of events, {'blotted out' if is_done else 'to blot out'}",
        "told": f"things that webhooks are told or answered, {'blotted out' if is_done else 'to blot out'}",
        "suppressions": f"entries of suppression lists, {did}",
    }
    values = asdict(done)
    for name, words in counts.items():
        if values[name]:
            typer.echo(f"{values[name]:>8}  {words}")
    if not done.removed:
        typer.echo("there is nothing to remove" if not is_done else "there was nothing to remove")
    _say_left(done)
    if is_done:
        typer.echo("beyond reach:")
        for each in _beyond(settings):
            typer.echo(f"  {each}")


def _say_left(done: Erased) -> None:
    if done.under_way:
        typer.echo(f"{done.under_way:>8}  recipients whose call to Amazon SES is under way, left")
    if done.waiting:
        typer.echo(f"{done.waiting:>8}  messages from the address that wait to be sent: they forget it when they are")
    if done.shared:
        until = f", the last until {moment(done.kept_until)}" if done.kept_until else ""
        typer.echo(f"{done.shared:>8}  contents that others got, too, and that may name the address, kept{until}")
    if done.listed:
        typer.echo(f"{done.listed:>8}  entries of suppression lists, kept so that no mail goes there (--suppressions)")
    for each in done.directory:
        typer.echo(f"    kept  {each}: change it there")


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(erase)
