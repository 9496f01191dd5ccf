"""`relay domain verify` and `dns`: what a sender domain has to publish, and whether it has."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from relay.cli.desk import at_desk
from relay.cli.domains import DomainName, find
from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, actor, settings_of, show, show_one
from relay.cli.publishing import show_checks
from relay.declared import DomainStatus
from relay.management import dns_records
from relay.store.directory.domains import SenderDomain


def verify(name: DomainName, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Look now, at SES and in the DNS, and say what is found and what is expected. Exit code 75 while not verified."""
    settings = settings_of(config)
    domain = find(settings, name)
    seen = at_desk(settings, lambda desk: desk.verify_domain(actor(), domain))
    if as_json:
        show_one(
            {
                "name": seen.name,
                "status": seen.status.value,
                "warnings": list(seen.warnings),
                "checks": list(seen.checks),
            },
            as_json=True,
        )
    else:
        show_checks(seen)
        typer.echo(_outcome(seen))
    if seen.status is not DomainStatus.VERIFIED:
        raise typer.Exit(os.EX_TEMPFAIL)


def _outcome(domain: SenderDomain) -> str:
    if domain.status is not DomainStatus.VERIFIED:
        return f"{domain.name} is {domain.status.value}: it may not send; `relay domain dns {domain.name}` lists all"
    return f"{domain.name} is verified, and may send" + (", with warnings" if domain.warnings else "")


def dns(
    name: DomainName,
    zone: Annotated[bool, typer.Option("--zone", help="Print a snippet for a zone file.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Print the DNS records to publish for a domain: as a table, for a zone file or as JSON."""
    settings = settings_of(config)
    domain = find(settings, name)
    if not domain.records:  # nobody has looked yet, and the DKIM records are SES's to name
        seen = domain
        domain = at_desk(settings, lambda desk: desk.verify_domain(actor(), seen))
    records = dns_records.read_json(domain.records)
    if as_json:
        show(dns_records.as_json(records), as_json=True, nothing="")
    else:
        typer.echo((dns_records.zone_file if zone else dns_records.table)(records, domain.name), nl=False)


def register(app: typer.Typer) -> None:
    """Add these commands to those of domains."""
    app.command()(verify)
    app.command()(dns)
