"""`relay account test`, `usage`, `policies` and `setup`: what AWS says of an account, and wants from its owner."""

from __future__ import annotations

import os

import typer

from relay.cli.account_setup import setup
from relay.cli.accounts import AccountName, find
from relay.cli.desk import at_desk
from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, settings_of, show_one
from relay.cli.policies import paste


def prove(name: AccountName, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Prove an account: who AWS takes it for, and what SES lets it send. Sends nothing; exit code 69 if it fails."""
    settings = settings_of(config)
    account = find(settings, name)
    proof = at_desk(settings, lambda desk: desk.prove_account(account))
    rows = [
        {"check": each.check, "ok": each.is_ok, "found": each.said, "remedy": each.remedy or None}
        for each in proof.findings
    ]
    if as_json:
        show_one({"name": name, "region": proof.region, "ok": proof.is_ok, "findings": rows}, as_json=True)
    else:
        for each in proof.findings:
            typer.echo(f"{'ok' if each.is_ok else 'FAILED':>6}  {each.check}: {each.said}")
            if each.remedy:
                typer.echo(f"{'':>6}  to mend it: {each.remedy}")
    if not proof.is_ok:
        raise typer.Exit(os.EX_UNAVAILABLE)


def usage(name: AccountName, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show what SES grants an account, and how much of it is used."""
    settings = settings_of(config)
    account = find(settings, name)
    quota = at_desk(settings, lambda desk: desk.account_usage(account))
    left = None if quota.daily is None else max(0.0, quota.daily - quota.sent_today)
    show_one(
        {
            "name": account.name,
            "region": account.region,
            "recipients_a_second": quota.rate,
            "daily_quota": quota.daily,
            "sent_in_24_hours": quota.sent_today,
            "left_in_24_hours": left,
            "sending_enabled": quota.is_sending_enabled,
            "production_access": quota.is_production,
            "enforcement": quota.enforcement,
        },
        as_json=as_json,
    )


def policies(name: AccountName, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Print the least policies to paste into AWS, and for a role its trust policy with the ExternalId."""
    settings = settings_of(config)
    account = find(settings, name)
    found = at_desk(settings, lambda desk: desk.policies(account))
    if as_json:
        show_one(found.as_json(), as_json=True)
    else:
        paste(account, found)


def register(app: typer.Typer) -> None:
    """Add these commands to those of accounts."""
    app.command("test")(prove)
    app.command()(usage)
    app.command()(policies)
    app.command()(setup)
