"""`relay doctor`: examines an installation from beside the server, says what is wrong and how to mend it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, parsed, settings_of
from relay.errors import Unusable
from relay.management.doctoring import host
from relay.management.doctoring.checked import Checked, Level, fine, is_well, red
from relay.settings import Settings
from relay.values import Section, Span

_COLOURS = {Level.OK: typer.colors.GREEN, Level.WARNING: typer.colors.YELLOW, Level.RED: typer.colors.RED}


class _Patience(Section):
    wait: Annotated[Span, Field(ge=timedelta(seconds=1), le=timedelta(hours=1))]


def doctor(
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Only look at this SES account.")] = None,
    send: Annotated[
        bool, typer.Option("--send/--no-send", help="Send three mails to SES's simulator per account, and await them.")
    ] = True,
    wait: Annotated[str, typer.Option(help="How long to wait for the events of these: 30s, 5m.")] = "60s",
    as_json: AsJson = False,
    file: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Examine everything that mail and its events go by, beside a running server if there is one.

    It changes nothing, and tries the loop: mail to SES's mailbox simulator, and what is heard of it. Exit code 0: all
    is well, or could be better (warnings). 69: something is red.
    """
    shown = _Shown(as_json=as_json)
    within = parsed(_Patience, {"wait": wait}).wait if send else None
    settings = _settings(file, shown)
    if settings is not None:
        shown.take(list(host.look(settings)))
        if not any(each.level is Level.RED and each.check in _NEEDED for each in shown.found):
            asyncio.run(_outside(settings, account, within, shown))
    shown.end()
    if not is_well(shown.found):
        raise typer.Exit(os.EX_UNAVAILABLE)


_NEEDED = {"database", "master key"}


def _settings(file: Path, shown: _Shown) -> Settings | None:
    try:
        settings = settings_of(file)
    except (Unusable, OSError) as exc:
        remedy = "correct it: `relay check` names every fault" if file.exists() else "`relay init` writes one"
        shown.take([red("configuration", str(exc), remedy)])
        return None
    shown.take([fine("configuration", f"{file} is fine")])
    return settings


async def _outside(settings: Settings, account: str | None, within: timedelta | None, shown: _Shown) -> None:
    # Here, because they load the AWS libraries.
    from relay.dns import Resolver
    from relay.management.doctoring.examination import Asked, examine
    from relay.management.doctoring.tools import Tools
    from relay.management.reaching import base_of
    from relay.ses.clients import Accounts
    from relay.store.beside import open_beside

    is_running = host.is_served(settings)
    async with open_beside(settings) as store, Accounts(base_of(settings.aws)) as accounts:
        resolver = Resolver(settings.dns.nameservers, settings.dns.timeout)
        try:
            tools = Tools(settings, store, accounts, resolver, is_running)
            await examine(tools, Asked(account, within), shown.take, shown.waiting)
        finally:
            await resolver.close()


class _Shown:
    """What was found, printed as it is."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.found: list[Checked] = []

    def take(self, checks: Sequence[Checked]) -> None:
        self.found += checks
        if not self._as_json:
            for each in checks:
                word = each.level.value if each.is_well else each.level.value.upper()
                typer.echo(f"{typer.style(f'{word:>8}', fg=_COLOURS.get(each.level))}  {each.check}: {each.said}")
                if each.remedy:
                    typer.echo(f"{'':>8}  to mend it: {each.remedy}")

    def waiting(self, count: int) -> None:
        if not self._as_json and count:
            typer.echo(f"{'':>8}  waiting for the events of {count} probes", err=True)

    def end(self) -> None:
        if self._as_json:
            whole = {"ok": is_well(self.found), "checks": [each.as_json() for each in self.found]}
            typer.echo(json.dumps(whole, indent=2))
            return
        count = {level: sum(each.level is level for each in self.found) for level in Level}
        skipped = f", {count[Level.SKIPPED]} not looked at" if count[Level.SKIPPED] else ""
        typer.echo(f"{count[Level.RED]} red, {count[Level.WARNING]} warnings, {count[Level.OK]} well{skipped}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)
