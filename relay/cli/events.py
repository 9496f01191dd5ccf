"""`relay events`: what happened to mail, domains, accounts and tenants."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from pydantic import Field

from relay.cli.message import brief
from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, OfTenant, moment, parsed, said, settings_of, show
from relay.errors import Kind, Problem, printable
from relay.message import public_id_of
from relay.store import Connection, journal
from relay.store.beside import with_database
from relay.store.clock import milliseconds, now_ms
from relay.store.directory import tenants
from relay.store.journal import Entry
from relay.values import Domain, Name, Section, Span


class _Wanted(Section):
    type: Annotated[str, Field(pattern=r"^[a-z_]{1,40}\.([a-z_]{1,40}|\*)$")] | None = None
    domain: Domain | None = None
    account: Name | None = None
    since: Span | None = None

    @property
    def begin(self) -> int | None:
        """In milliseconds since 1970."""
        return None if self.since is None else now_ms() - milliseconds(min(self.since, timedelta(days=3650)))


def events(
    type: Annotated[str | None, typer.Option(help="Only of this sort: email.bounced, or domain.* for all.")] = None,
    message: Annotated[str | None, typer.Option(help="Only of this message, by its id in any of its forms.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only of this sender domain.")] = None,
    account: Annotated[str | None, typer.Option(help="Only of this SES account.")] = None,
    tenant: OfTenant = None,
    since: Annotated[str | None, typer.Option(help="Only so new: 30m, 2h, 3d.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List what happened, newest first. What became of one message as a whole: `relay queue show`."""
    asked = parsed(_Wanted, said(type=type, domain=domain, account=account, since=since))
    public_id = None if message is None else public_id_of(message)
    if message is not None and public_id is None:
        raise Problem(Kind.NOT_FOUND, f"there is no message {printable(message)}")

    def read(db: Connection) -> list[Entry]:
        wanted = journal.Wanted(
            tenant_id=None if tenant is None else tenants.find(db, tenant).id,
            type=asked.type,
            message=public_id,
            account=asked.account,
            domain=asked.domain,
            since=asked.begin,
        )
        return journal.newest(db, wanted, limit)

    found = with_database(settings_of(config), lambda db, _: read(db))
    show(
        [_whole(each) if as_json else _row(each) for each in found],
        as_json=as_json,
        nothing="There are no such events.",
    )


def _row(entry: Entry) -> dict[str, object]:
    return {
        "at": moment(entry.at),
        "event": entry.type,
        "tenant": entry.tenant,
        "account": entry.account,
        "domain": entry.domain,
        "message": entry.message,
        "data": brief(entry.data),
    }


def _whole(entry: Entry) -> dict[str, object]:
    return {"id": entry.id, **_row(entry), "recipients": list(entry.recipients), "data": dict(entry.data)}


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(events)
