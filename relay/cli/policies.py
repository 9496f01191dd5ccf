"""How the policies that an SES account needs in AWS are printed, ready to paste."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from relay.store.directory.accounts import SesAccount, Sort

if TYPE_CHECKING:
    from relay.management.desk import Policies


def paste(account: SesAccount, found: Policies) -> None:
    """Policies for people: what each is for, and its JSON."""
    if account.reach.sort is Sort.ROLE:
        typer.echo(f"the ExternalId, which is no secret and holds for this account alone:\n\n{found.external_id}\n")
        if found.trust is None:
            typer.echo(f"no trust policy yet, because AWS does not say who Relay is: {found.said}")
            typer.echo(f"mend that (`aws` in the configuration), then `relay account policies {account.name}`\n")
        else:
            _paste_one(f"the trust policy of {account.reach.role_arn}", found.trust)
    _paste_one("the permission policy that sending needs", found.send)
    _paste_one("another, so that Relay can register domains, see them verified, and set up events", found.setup)
    if found.events is not None:
        _paste_one("another, so that events come here", found.events)
    _paste_one("another, only to mirror the account's suppression list", found.suppression)


def _paste_one(title: str, policy: dict[str, Any]) -> None:
    typer.echo(f"{title}:\n\n{json.dumps(policy, indent=2)}\n")
