"""`relay smtp`: sessions of SMTP clients that failed, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from pydantic import BeforeValidator

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, moment, parsed, said, settings_of, show, show_one
from relay.store import smtp_failures
from relay.store.beside import with_database
from relay.store.clock import milliseconds, now_ms
from relay.store.directory.installation import row_id, shown
from relay.store.directory.paging import Asked
from relay.store.smtp_failures import Kept, Reason
from relay.values import Network, Section, Span

app = typer.Typer(help="SMTP clients: which sessions failed, and why.", no_args_is_help=True)


class _Wanted(Section):
    client: Annotated[Network, BeforeValidator(smtp_failures.clients)] | None = None
    since: Span | None = None

    @property
    def begin(self) -> int | None:
        """In milliseconds since 1970."""
        return None if self.since is None else now_ms() - milliseconds(min(self.since, timedelta(days=3650)))


@app.command("failures")
def list_failures(
    client: Annotated[str | None, typer.Option(help="Only of this address, or of this network.")] = None,
    reason: Annotated[Reason | None, typer.Option(help="Only of this sort.")] = None,
    since: Annotated[str | None, typer.Option(help="Only so new: 30m, 2h, 3d.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List sessions that failed in the last 7 days, newest first, each with the reason in a sentence."""
    wanted = parsed(_Wanted, said(client=client, since=since))
    page = with_database(
        settings_of(config),
        lambda db, _: smtp_failures.listed(db, Asked(limit), within=wanted.client, reason=reason, since=wanted.begin),
    )
    show(
        [_row(each) | ({"tenant": each.tenant, "key": each.key} if as_json else {}) for each in page.items],
        as_json=as_json,
        nothing="There are no such sessions.",
    )


def _row(failure: Kept) -> dict[str, str | None]:
    return {
        "id": shown(failure.id),
        "at": moment(failure.at),
        "client": failure.client,
        "listener": failure.listener,
        "reason": failure.reason.value,
        "sentence": failure.sentence,
    }


@app.command("failure")
def show_failure(
    failure_id: Annotated[str, typer.Argument(metavar="ID", help="As `relay smtp failures` shows it.")],
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Show one of them with what was said, without passwords and without the message."""
    found, transcript = with_database(
        settings_of(config), lambda db, sealer: smtp_failures.find(db, sealer, row_id(failure_id))
    )
    fields = _row(found) | {"tenant": found.tenant, "key": found.key}
    if as_json:
        show_one(fields | {"transcript": transcript.splitlines()}, as_json=True)
        return
    show_one(fields, as_json=False)
    typer.echo(f"\n{transcript}")
