"""`relay doctor`: looks at an installation from beside the server, and says what is wrong and how to mend it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, moment, settings_of, show
from relay.errors import Unusable
from relay.routing.disk import Disk
from relay.ses.finding import Finding
from relay.settings import Settings
from relay.store import database, files
from relay.store.examining import Examined, examine, try_master_key
from relay.store.stops import Stopped

MEGABYTE = 1 << 20


def doctor(as_json: AsJson = False, file: ConfigFile = DEFAULT_CONFIG) -> None:
    """Look for what is wrong, beside a running server if there is one. Changes nothing.

    Exit code 0: all is well. 69: something is not.
    """
    found = list(findings(file))
    is_well = all(each.is_ok for each in found)
    rows = [{"check": each.check, "ok": each.is_ok, "said": each.said, "remedy": each.remedy} for each in found]
    if as_json:
        typer.echo(json.dumps({"ok": is_well, "checks": rows}, indent=2))
    else:
        show(rows, as_json=False, nothing="")
    if not is_well:
        raise typer.Exit(os.EX_UNAVAILABLE)


def findings(file: Path) -> Iterator[Finding]:
    """What was looked at, in order: what cannot be looked at because of what came before is left out."""
    try:
        settings = settings_of(file)
    except (Unusable, OSError) as exc:
        remedy = "correct it: `relay check` names every fault" if file.exists() else "`relay init` writes one"
        yield Finding("configuration", False, str(exc), remedy)
        return
    yield Finding("configuration", True, f"{file} is fine")
    yield from _disk(settings)
    try:
        found = examine(settings)
    except (Unusable, OSError) as exc:
        yield _unusable("database", exc, "see that it is reached, and whole")
        return
    if found is None:
        yield Finding("database", False, "there is none yet", "start the server, `relay serve`: it makes one")
        return
    yield Finding("database", True, f"it answers, with schema {found.schema}")
    yield _master_key(settings, found)
    if not found.stops:
        yield Finding("sending", True, "SES stops no account and no domain")
    for stop in found.stops:
        yield _stopped(stop)


def _unusable(check: str, exc: Exception, otherwise: str) -> Finding:
    """The text of what is unusable says what is wrong, then mostly how to mend it."""
    said, _, remedy = str(exc).partition(": ")
    return Finding(check, False, said, remedy or otherwise)


def _disk(settings: Settings) -> Iterator[Finding]:
    url = files.database_url(settings)
    if not database.is_sqlite(url):
        return
    folder = database.sqlite_path(url).parent
    if not folder.is_dir():
        yield Finding("disk", False, f"the folder of the database, {folder}, does not exist", "create it")
        return
    said = f"{shutil.disk_usage(folder).free // MEGABYTE:,} MB are free in {folder}"
    if lack := Disk(folder, settings.limits.max_message_size).lack:
        yield Finding("disk", False, f"{said}: too little {lack}", "make room: mail is refused until there is")
        return
    yield Finding("disk", True, said)


def _master_key(settings: Settings, found: Examined) -> Finding:
    if found.wrapped_key is None:
        return Finding("master key", True, "nothing is sealed with one yet")
    try:
        try_master_key(settings, found.wrapped_key)
    except (Unusable, OSError) as exc:
        return _unusable("master key", exc, "put back the key that the database was made with")
    return Finding("master key", True, "it fits the database")


def _stopped(stop: Stopped) -> Finding:
    check = f"account {stop.account}" + (f", domain {stop.domain}" if stop.domain else "")
    return Finding(check, False, f"stopped by SES since {moment(stop.since)}: {stop.said}", stop.remedy)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)
