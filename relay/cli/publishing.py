"""How a sender domain's DNS records and checks are printed: what to publish, and what was seen of it."""

from __future__ import annotations

import typer

from relay.declared import DomainStatus
from relay.management import dns_records
from relay.store.directory.domains import SenderDomain


def publish(domain: SenderDomain) -> None:
    """What is left to do until a domain may send."""
    if domain.status is DomainStatus.VERIFIED:
        typer.echo("it is verified, and may send")
        return
    for check in domain.checks:
        if check.get("status") == "unknown":
            typer.echo(f"{check.get('purpose')}: {check.get('said')}")
    typer.echo("publish these records:\n")
    typer.echo(dns_records.table(dns_records.read_json(domain.records), domain.name))
    typer.echo(f"next: `relay domain verify {domain.name}`; a running server looks by itself, too")


def show_checks(domain: SenderDomain) -> None:
    """Every check: what was expected, what was found, and what to do where that differs."""
    for check in domain.checks:
        need = "" if check.get("is_required") else " (recommended)"
        typer.echo(f"{check.get('status', ''):>8}  {check.get('purpose', '')}{need}")
        for word in ("expected", "found"):
            for text in check.get(word) or ["nothing"]:
                typer.echo(f"{'':>10}{word:<8}  {text}")
        if check.get("said"):
            typer.echo(f"{'':>10}to do     {check['said']}")
