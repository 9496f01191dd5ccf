"""The command line: its commands, and the exit codes of sysexits.h for what goes wrong."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from relay import __version__
from relay.cli import (
    accounts,
    audit,
    aws,
    backup,
    blocks,
    doctor,
    domains,
    erase,
    events,
    keys,
    master_key,
    queue,
    run,
    sending,
    smtp,
    standing,
    stats,
    suppressions,
    tenants,
    verifying,
    webhooks,
)
from relay.errors import Problem, Unusable

USAGE = 2  # what typer exits with for a command line it does not understand

app = typer.Typer(
    help="Relay: a self-hosted bridge from SMTP and HTTP to Amazon SES.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"relay {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


run.register(app)
backup.register(app)
sending.register(app)
audit.register(app)
doctor.register(app)
erase.register(app)
events.register(app)
stats.register(app)
standing.register(tenants.app)
aws.register(accounts.app)
verifying.register(domains.app)
app.add_typer(tenants.app, name="tenant")
app.add_typer(accounts.app, name="account")
app.add_typer(domains.app, name="domain")
app.add_typer(keys.app, name="key")
app.add_typer(master_key.app, name="master-key")
app.add_typer(queue.app, name="queue")
app.add_typer(suppressions.app, name="suppression")
app.add_typer(webhooks.app, name="webhook")
app.add_typer(blocks.app, name="block")
app.add_typer(smtp.app, name="smtp")


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    sys.exit(code)


def main() -> None:
    """Run a command. Its exit code is one of sysexits.h."""
    try:
        app()
    except SystemExit as exc:
        sys.exit(os.EX_USAGE if exc.code == USAGE else exc.code)
    except Unusable as exc:
        _stop(str(exc), exc.exit_code)
    except Problem as problem:
        _stop(problem.detail, os.EX_TEMPFAIL if problem.kind.is_temporary else os.EX_DATAERR)
    except OSError as exc:
        _stop(f"{exc.strerror or exc}" + (f": {exc.filename}" if exc.filename else ""), os.EX_OSERR)
