"""`relay suppression`: addresses that get no mail."""

from __future__ import annotations

from typing import Annotated

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, moment, settings_of, show
from relay.message import Address
from relay.store import directory
from relay.store.beside import with_database

app = typer.Typer(help="The suppression list: addresses that are refused at both edges.", no_args_is_help=True)


@app.command()
def add(
    address: Annotated[str, typer.Argument(help="The address, in any case.")],
    reason: Annotated[str, typer.Option(help="Why; senders are told.")] = "manual",
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Put an address on the list. Mail that waits for it is not sent either."""
    parsed = Address.parse(address)
    is_new = with_database(settings_of(config), lambda db, _: directory.suppress(db, str(parsed), reason))
    typer.echo(f"{parsed.folded} is suppressed" + ("" if is_new else " already"))


@app.command()
def remove(
    address: Annotated[str, typer.Argument(help="The address, in any case.")], config: ConfigFile = DEFAULT_CONFIG
) -> None:
    """Take an address off the list."""
    was_listed = with_database(settings_of(config), lambda db, _: directory.unsuppress(db, address))
    typer.echo(f"{address.lower()} is {'no longer' if was_listed else 'not'} suppressed")


@app.command("list")
def list_suppressions(
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 1000,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List suppressed addresses."""
    found = with_database(settings_of(config), lambda db, _: directory.suppression_list(db, limit))
    show(
        [{"address": each.address, "reason": each.reason, "created_at": moment(each.created_at)} for each in found],
        as_json=as_json,
        nothing="Nobody is suppressed.",
    )
