"""`relay check` and `relay reload`: what the configuration file says, and the rows that it declares."""

from __future__ import annotations

import json
import os
from collections.abc import Sized
from typing import Annotated

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, settings_of, show
from relay.config import Settings
from relay.errors import Problem
from relay.management import declaring
from relay.management.declaring import Plan
from relay.store.beside import with_database
from relay.store.peek import peek

WOULD_CHANGE = 1  # as diff(1) has it

RESTART = (
    "A running server has these rows within 2 seconds. The rest of the file counts after a restart of the server: "
    "listeners, database, keys and certificates, plans, limits and every other setting."
)


def check(
    diff: Annotated[bool, typer.Option("--diff", help="Print what the file would change in the database.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Check a configuration file. Prints every fault with its path; exit code 78 if there is one.

    With --diff, print what `relay reload`, or a start of the server, would change in the database, and change nothing.
    Exit code 0: nothing. 1: something. 65: the file asks for what cannot change.
    """
    if as_json and not diff:
        raise typer.BadParameter("goes with --diff", param_hint="--json")
    settings = settings_of(config)
    if not diff:
        typer.echo(f"{config} is fine: {_counted(settings)}")
        return
    try:
        plan = peek(settings, lambda db, sealer: declaring.plan(db, sealer, settings))
    except Problem as problem:
        raise _refused(problem) from problem
    _print(plan, as_json=as_json, nothing="The file would change nothing.")
    if plan.changes:
        raise typer.Exit(WOULD_CHANGE)


def reload(as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Bring tenants, SES accounts, domains and keys to what the file declares: all of it or, if refused, nothing.

    A row that is no longer in the file is disabled; a key is revoked, for good.
    """
    settings = settings_of(config)
    try:
        plan = with_database(settings, lambda db, sealer: declaring.apply(db, sealer, settings))
    except Problem as problem:
        raise _refused(problem) from problem
    _print(plan, as_json=as_json, nothing="The file changes nothing.")
    typer.echo(RESTART, err=as_json)


def _counted(settings: Settings) -> str:
    counts: dict[str, Sized] = {
        "SES accounts": settings.ses_accounts,
        "domains": settings.domains,
        "tenants": settings.tenants,
        "keys": settings.keys,
        "plans": settings.plans,
    }
    return ", ".join(f"{len(each)} {name}" for name, each in counts.items())


def _print(plan: Plan, *, as_json: bool, nothing: str) -> None:
    if as_json:
        rows = [{"verb": each.verb.value, "what": each.what, "differences": each.differences} for each in plan.changes]
        typer.echo(json.dumps(rows, indent=2))
        return
    rows = [{"verb": each.verb.value, "what": each.what, "differences": each.words} for each in plan.changes]
    show(rows, as_json=False, nothing=nothing)


def _refused(problem: Problem) -> typer.Exit:
    """Each fault on a line of its own."""
    for fault in problem.faults or (problem.detail,):
        typer.echo(fault, err=True)
    return typer.Exit(os.EX_TEMPFAIL if problem.kind.is_temporary else os.EX_DATAERR)
