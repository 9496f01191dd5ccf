"""`relay stats`: what became of a tenant's mail, day by day or in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, OfTenant, settings_of, show
from relay.declared import DEFAULT_TENANT
from relay.store import Connection, tallies, usage
from relay.store.beside import with_database
from relay.store.clock import now_ms
from relay.store.directory import tenants
from relay.store.tallies import By, Figures, Span

MOST_GROUPS = 1000
SHOWN = ("sent", "delivered", "soft_bounced", "bounced", "complained", "rejected", "failed", "opened", "clicked")


def stats(
    tenant: OfTenant = DEFAULT_TENANT,
    days: Annotated[int, typer.Option(help="Of so many UTC days, today among them.", min=1, max=800)] = 30,
    by: Annotated[By | None, typer.Option(help="Of all these days together, in groups.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """What became of the recipients of a tenant's mail, by day or in groups. Rates are parts of what was sent."""
    last = usage.day_of(now_ms())

    def read(db: Connection) -> Sequence[tuple[str, Figures]]:
        span = Span(tenants.find(db, tenant or DEFAULT_TENANT).id, last - days + 1, last)
        if by is not None:
            return list(tallies.grouped(db, span, by, MOST_GROUPS).items())
        return [(str(usage.date_of(day)), of) for day, of in sorted(tallies.daily(db, span).items())]

    named = with_database(settings_of(config), lambda db, _: read(db))
    column = "day" if by is None else by.value
    rows = [{column: name or None} | _row(of, as_json=as_json) for name, of in named]
    if not as_json and len(rows) > 1:
        rows.append({column: "all"} | _row(tallies.total(of for _, of in named), as_json=False))
    show(rows, as_json=as_json, nothing="Nothing was sent.")


def _row(figures: Figures, *, as_json: bool) -> dict[str, object]:
    if as_json:
        return {**figures, "rates": tallies.rates(figures)}
    return {name: figures[name] for name in SHOWN} | _percent(tallies.rates(figures))


def _percent(rates: Mapping[str, float | None]) -> dict[str, object]:
    return {f"{name} rate": None if rate is None else f"{rate:.2%}" for name, rate in rates.items()}


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(stats)
