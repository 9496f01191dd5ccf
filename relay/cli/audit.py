"""`relay audit`: who changed what, and when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, OfTenant, moment, settings_of, show
from relay.store.beside import with_database
from relay.store.directory import audit as changes
from relay.store.directory import tenants


def audit(
    target: Annotated[
        str | None,
        typer.Option(
            help="Only of `tenant NAME`, `account NAME`, `domain NAME`, `key ID`, `suppression EMAIL` or `address IP`."
        ),
    ] = None,
    tenant: OfTenant = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1, max=100_000)] = 100,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List who changed tenants, accounts, domains, keys, suppressions and blocks, newest first."""
    found, names = with_database(
        settings_of(config),
        lambda db, _: (
            changes.entries(db, target=target, tenant_id=tenants.find(db, tenant).id if tenant else None, limit=limit),
            {each.id: each.name for each in tenants.every(db)},
        ),
    )
    show(
        [
            {
                "at": moment(each.at),
                "actor": each.actor,
                "action": each.action,
                "target": each.target,
                "tenant": names.get(each.tenant_id) if each.tenant_id is not None else None,
                **(
                    {"changes": dict(each.changes), "request_id": each.request_id}
                    if as_json
                    else {"changes": _lines(each.changes)}
                ),
            }
            for each in found
        ],
        as_json=as_json,
        nothing="There are no such changes.",
    )


def _lines(changes: Mapping[str, Any]) -> str:
    """A line for each field: what it was, and what it became."""
    shown = {name: (_short(before), _short(after)) for name, (before, after) in changes.items()}
    return "\n".join(f"{name}: {before} -> {after}" for name, (before, after) in shown.items() if before != after)


def _short(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return value if isinstance(value, str) else json.dumps(value)


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(audit)
