"""`relay suppression`: addresses that get no mail."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from relay.cli.accounts import find
from relay.cli.desk import at_desk
from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, actor, moment, settings_of, show, show_one
from relay.cli.transfers import progress, row, take_in, write_out
from relay.declared import DEFAULT_TENANT
from relay.errors import Kind, Problem
from relay.message import Address
from relay.settings import Settings
from relay.store import importing, suppressions
from relay.store.beside import with_database
from relay.store.clock import now_ms
from relay.store.directory import tenants
from relay.store.directory.paging import Asked
from relay.store.importing import Imported
from relay.store.suppressions import EVERYONE, Entry, listed, suppress, unsuppress

app = typer.Typer(help="The suppression lists: addresses that are refused at both edges.", no_args_is_help=True)

Recipient = Annotated[str, typer.Argument(metavar="ADDRESS", help="The address, in any case.")]
Tenant = Annotated[str, typer.Option(help="Whose list.")]
ForEveryone = Annotated[bool, typer.Option("--everyone", help="The operator's own list, which holds for every tenant.")]
Limit = Annotated[int, typer.Option(help="At most so many.", min=1, max=100_000)]
Cursor = Annotated[str | None, typer.Option(help="Where the last page ended, as it said.")]
OfReason = Annotated[str | None, typer.Option("--reason", help="Only with this reason.")]
OfSource = Annotated[str | None, typer.Option("--source", help="Only from this source: manual, import, ses ...")]

HOURS = {"h": 1, "d": 24}
HOUR = 3_600_000  # milliseconds


def _list_of(settings: Settings, tenant: str, everyone: bool) -> int:
    return EVERYONE if everyone else with_database(settings, lambda db, _: tenants.find(db, tenant).id)


# -- one address -----------------------------------------------------------------------------------------------------


@app.command()
def add(
    address: Recipient,
    reason: Annotated[str, typer.Option(help="Why; senders are told.")] = "manual",
    note: Annotated[str | None, typer.Option(help="For yourselves.")] = None,
    expires: Annotated[str | None, typer.Option(help="30d, 12h, or a time: 2026-03-01T12:00:00Z.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
    everyone: ForEveryone = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Put an address on a list. Mail that waits for it is not sent either."""
    entry = Entry.parse(address, reason, note=note, expires_at=_expiry(expires))
    settings = settings_of(config)
    tenant_id = _list_of(settings, tenant, everyone)
    is_new = with_database(settings, lambda db, _: suppress(db, actor(), tenant_id, entry))
    found = with_database(settings, lambda db, _: suppressions.find(db, tenant_id, entry.address))
    if as_json:
        show_one(row(found) | {"is_new": is_new}, as_json=True)
        return
    until = f" until {moment(found.expires_at)}" if found.expires_at else ""
    typer.echo(f"{found.address} is suppressed{until}" + ("" if is_new else f" already ({found.reason})"))


@app.command()
def remove(
    address: Recipient,
    tenant: Tenant = DEFAULT_TENANT,
    everyone: ForEveryone = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Take an address off a list. One that SES suppresses too comes back with the next mirror of that account."""
    shown = Address.parse(address).folded
    settings = settings_of(config)
    tenant_id = _list_of(settings, tenant, everyone)
    was_listed = with_database(settings, lambda db, _: unsuppress(db, actor(), tenant_id, address))
    if as_json:
        show_one({"address": shown, "was_listed": was_listed}, as_json=True)
    else:
        typer.echo(f"{shown} is {'no longer' if was_listed else 'not'} suppressed")


def _expiry(text: str | None) -> int | None:
    """Raises Problem(BAD_REQUEST)."""
    if text is None:
        return None
    span = re.fullmatch(r"(\d{1,6})([hd])", text)
    try:
        at = now_ms() + int(span[1]) * HOURS[span[2]] * HOUR if span else importing.moment(text)
    except ValueError as exc:
        raise Problem(Kind.BAD_REQUEST, f"--expires: {exc}, or a span such as 30d or 12h") from exc
    if at <= now_ms():
        raise Problem(Kind.BAD_REQUEST, "--expires: is over already")
    return at


# -- listings --------------------------------------------------------------------------------------------------------


@app.command("list")
def list_suppressions(
    reason: OfReason = None,
    source: OfSource = None,
    limit: Limit = 1000,
    cursor: Cursor = None,
    tenant: Tenant = DEFAULT_TENANT,
    everyone: ForEveryone = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List suppressed addresses, in the order of the alphabet."""
    settings = settings_of(config)
    tenant_id = _list_of(settings, tenant, everyone)
    which = partial(listed, asked=Asked(limit, cursor), tenant_id=tenant_id, reason=reason, source=source)
    page = with_database(settings, lambda db, _: which(db))
    show([row(each) for each in page.items], as_json=as_json, nothing="Nobody is suppressed.")
    if page.next_cursor is not None:
        typer.echo(f"There are more: --cursor {page.next_cursor}", err=True)


@app.command()
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="How an address begins, or @ and its whole domain.")],
    limit: Limit = 100,
    tenant: Tenant = DEFAULT_TENANT,
    everyone: ForEveryone = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Look for addresses on the list of a tenant and on the one that holds for everyone; that alone by --everyone."""
    settings = settings_of(config)
    domain, prefix = (text[1:], None) if text.startswith("@") else (None, text)
    lists = [("everyone", EVERYONE)] + ([] if everyone else [(tenant, _list_of(settings, tenant, False))])
    found: list[dict[str, Any]] = []
    for name, tenant_id in lists:
        which = partial(listed, asked=Asked(limit), tenant_id=tenant_id, prefix=prefix, domain=domain)
        page = with_database(settings, lambda db, _, which=which: which(db))  # type: ignore[misc]
        found += [{"list": name} | row(each) for each in page.items]
    show(found[:limit], as_json=as_json, nothing="There is no such address.")


# -- whole lists -----------------------------------------------------------------------------------------------------


@app.command("import")
def import_list(
    file: Annotated[Path, typer.Argument(help="A CSV file; - is the standard input.")],
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
    everyone: ForEveryone = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Put the addresses of a CSV file on a list. What is listed already stays as it is.

    The first line names the columns: address, and if you like reason, source, note, created_at, expires_at, in any
    order. Other names such as email, recipient and created are known too. Bad rows are left out, and named.
    """
    settings = settings_of(config)
    tenant_id = _list_of(settings, tenant, everyone)
    found = Imported()
    with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
        asyncio.run(take_in(settings, source, tenant_id, found, is_strict=strict))
    if as_json:
        faults = [str(fault) for fault in found.faults]
        rows = {"rows": found.rows, "added": found.added, "known": found.known, "bad": found.bad}
        typer.echo(json.dumps(rows | {"faults": faults}, indent=2))
        return
    typer.echo(f"{found.rows:,} rows: {found.added:,} added, {found.known:,} known, {found.bad:,} bad")
    for fault in found.faults:
        typer.echo(str(fault), err=True)
    if found.bad > len(found.faults):
        typer.echo(f"... and {found.bad - len(found.faults):,} more", err=True)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to; - is the standard output.")] = Path("-"),
    tenant: Tenant = DEFAULT_TENANT,
    everyone: ForEveryone = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of CSV.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Write a list as CSV, which `import` takes back.

    A cell that a spreadsheet would take for a formula has an apostrophe before it, which `import` takes off again.
    """
    settings = settings_of(config)
    tenant_id = _list_of(settings, tenant, everyone)
    if str(file) == "-":
        asyncio.run(write_out(settings, sys.stdout, tenant_id, as_json=as_json))
        return
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as target:
        written = asyncio.run(write_out(settings, target, tenant_id, as_json=as_json))
    typer.echo(f"{written:,} addresses written to {file}", err=True)


@app.command()
def mirror(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The SES account's name.")],
    push: Annotated[
        bool, typer.Option("--push", help="Also put bounces, complaints and what was added by hand to SES.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Take over an SES account's own list: to its tenant's list, or the operator's for an account of the operator.

    SES takes one address a second: --push of many takes long. It can be stopped and run again.
    """
    settings = settings_of(config)
    ses_account = find(settings, account)
    with progress("addresses", None) as advance:
        done = at_desk(settings, lambda desk: desk.mirror(actor(), ses_account, is_pushing=push, progress=advance))
    found = {"pulled": done.pulled, "pushed": done.pushed, "skipped": done.skipped}
    if as_json:
        show_one(found, as_json=True)
    else:
        typer.echo(f"{done.pulled:,} pulled, {done.pushed:,} pushed, {done.skipped:,} skipped")
