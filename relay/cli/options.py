"""What several commands share: where the configuration is, the database beside a server, and how lists look."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from relay import config
from relay.config import Settings
from relay.errors import Fault
from relay.store.clock import rfc3339

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", envvar="RELAY_CONFIG", help="The configuration file.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DEFAULT_CONFIG = Path("config.yaml")


def settings_of(file: Path) -> Settings:
    """Raises ConfigError."""
    if not file.exists():
        raise config.ConfigError(file, (Fault("", "there is no such file; `relay init` writes one"),))
    return config.load(file)


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, nothing: str) -> None:
    """A listing: a table for people, JSON for programs."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo(nothing)
    else:
        table = Table(*(Column(name, overflow="fold") for name in rows[0]))
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        # In a pipe nothing is cut: the next program wants whole ids.
        Console(width=None if sys.stdout.isatty() else 240).print(table)


def moment(milliseconds: int | None) -> str | None:
    """A time to the second, or None for none."""
    return None if milliseconds is None else rfc3339(milliseconds, "seconds")
