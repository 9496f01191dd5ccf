"""The command line: its commands, and the exit codes of sysexits.h for what goes wrong."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click
import typer

from relay import __version__
from relay.certificates import CertificateError
from relay.cli import keys, queue, run, sending, suppressions
from relay.config import ConfigError
from relay.errors import Problem
from relay.sealing import SealingError
from relay.ses.clients import AccountError
from relay.store.database import StoreError

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
sending.register(app)
app.add_typer(keys.app, name="key")
app.add_typer(queue.app, name="queue")
app.add_typer(suppressions.app, name="suppression")


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    sys.exit(code)


def main() -> None:
    """Run a command."""
    try:
        code = app(standalone_mode=False)
    except click.exceptions.Abort:
        _stop("stopped", 130)
    except click.ClickException as exc:
        exc.show()
        sys.exit(os.EX_USAGE)
    except ConfigError as exc:
        _stop(f"{exc.file} cannot be used:\n{exc}", os.EX_CONFIG)
    except (AccountError, CertificateError) as exc:
        _stop(str(exc), os.EX_CONFIG)
    except (StoreError, SealingError) as exc:
        _stop(str(exc), os.EX_UNAVAILABLE)
    except Problem as problem:
        _stop(problem.detail, os.EX_DATAERR if not problem.kind.is_temporary else os.EX_TEMPFAIL)
    except OSError as exc:
        _stop(f"{exc.strerror or exc}" + (f": {exc.filename}" if exc.filename else ""), os.EX_OSERR)
    sys.exit(code if isinstance(code, int) else os.EX_OK)
