"""`relay block`: addresses that are kept out because they failed to log in too often."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Annotated

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, actor, moment, settings_of, show
from relay.errors import Kind, Problem, printable
from relay.store import blocks
from relay.store.beside import with_database
from relay.store.blocks import Block

app = typer.Typer(help="Addresses that are kept out: too many failed logins came from them.", no_args_is_help=True)


@app.command("list")
def list_blocks(as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """List the blocks that hold now, and until when. Valid keys pass all the same."""
    found = with_database(settings_of(config), lambda db, _: blocks.standing(db))
    show(
        [
            {
                "address": each.address,
                "keys": each.prefix or None,
                "failures": each.failures,
                "since": moment(each.since),
                "until": moment(each.until),
            }
            for each in found
        ],
        as_json=as_json,
        nothing="Nobody is kept out.",
    )


@app.command()
def lift(
    address: Annotated[str, typer.Argument(help="As `relay block list` shows it, or any address of an IPv6 network.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Let an address in again, whatever keys it tried. A running server notices within 2 seconds."""
    lifted = with_database(
        settings_of(config),
        lambda db, _: [each for each in _covering(blocks.standing(db), address) if blocks.lift(db, actor(), each)],
    )
    if not lifted:
        raise Problem(Kind.NOT_FOUND, f"{printable(address)} is not blocked; `relay block list` shows who is")
    for each in lifted:
        typer.echo(f"{each} may log in again")


def _covering(standing: Sequence[Block], address: str) -> list[str]:
    """The blocked addresses that this one is, or is in."""
    return sorted({block.address for block in standing if _covers(block.address, address)})


def _covers(blocked: str, address: str) -> bool:
    try:
        return blocked == address or ip_address(address) in ip_network(blocked, strict=False)
    except ValueError:
        return False
