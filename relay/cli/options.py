"""What several commands share: where the configuration is, what options say, and how listings look."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Column, Table

from relay import config
from relay.errors import Fault, Kind, Problem
from relay.settings import Settings
from relay.store.clock import rfc3339
from relay.store.directory.audit import Actor
from relay.store.directory.paging import Asked, Page
from relay.values import Line, Name, Section, faults_of

Item = TypeVar("Item")
Fields = TypeVar("Fields", bound=BaseModel)

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", envvar="RELAY_CONFIG", help="The configuration file.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
OfTenant = Annotated[str | None, typer.Option("--tenant", help="Only of this tenant.")]
SecretFile = Annotated[
    Path | None, typer.Option(help="A file that holds the secret. Default: it is asked for, or read from a pipe.")
]
DEFAULT_CONFIG = Path("config.yaml")
PAGE = 1000  # rows of a listing that are read at once


def settings_of(file: Path) -> Settings:
    """Raises ConfigError."""
    if not file.exists():
        raise config.ConfigError(file, (Fault("", "there is no such file; `relay init` writes one"),))
    return config.load(file)


def actor() -> Actor:
    """Who gives a command: the user of this process, by number where it has no name, as in some containers."""
    try:
        return Actor(f"command {getpass.getuser()}", is_operator=True)
    except (KeyError, OSError):
        return Actor(f"command {os.getuid()}", is_operator=True)


# -- what options say ------------------------------------------------------------------------------------------------


def said(**options: Any) -> dict[str, Any]:
    """The options that were given. An empty word, alone in its list or not, takes back what was chosen before."""
    given = {name: value for name, value in options.items() if value is not None and value != []}
    return {name: None if value in ("", [""]) else value for name, value in given.items()}


def parsed(model: type[Fields], fields: Mapping[str, Any], options: Mapping[str, str] | None = None) -> Fields:
    """What options say, checked. Raises Problem(BAD_REQUEST) that names every option at fault.

    `options`: the option of a field whose own name it does not have; of `list.*`, for what a list or mapping holds.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        found = [Fault(_option(fault.path, options or {}), fault.message) for fault in faults_of(exc)]
        raise Problem(Kind.BAD_REQUEST, "\n".join(map(str, found)), faults=tuple(found)) from None


def _option(path: str, options: Mapping[str, str]) -> str:
    parent, _, last = path.rpartition(".")
    for known in (path, f"{parent}.*"):
        if known in options:
            return options[known]
    return f"--{last.replace('_', '-')}" if last else ""


class _Named(Section):
    name: Name


def slug(text: str) -> str:
    """The name for a new tenant or account. Raises Problem(BAD_REQUEST)."""
    return parsed(_Named, {"name": text}, {"name": "NAME"}).name


class _Told(Section):
    text: Line


def line(text: str, option: str) -> str:
    """A reason or note: it ends up in replies and listings. Raises Problem(BAD_REQUEST) unless it is one line."""
    return parsed(_Told, {"text": text}, {"text": option}).text


def secret_from(file: Path | None, what: str) -> str:
    """A secret, which never stands in a command line: from a file, or typed unseen, or from a pipe.

    Raises Problem(BAD_REQUEST) where there is none.
    """
    try:
        if file is not None:
            secret = file.read_text("utf-8")
        elif sys.stdin.isatty():
            secret = typer.prompt(what, hide_input=True)
        else:
            secret = sys.stdin.read()
    except UnicodeDecodeError:
        raise Problem(Kind.BAD_REQUEST, f"the {what} in {file or 'the input'} is not text") from None
    if not secret.strip():
        raise Problem(Kind.BAD_REQUEST, f"there is no {what} in {file or 'the input'}")
    return secret.strip()


# -- how listings look -----------------------------------------------------------------------------------------------


def every(pages: Callable[[Asked], Page[Item]]) -> list[Item]:
    """All items of a listing, read a page at a time."""
    page = pages(Asked(PAGE))
    items = [*page.items]
    while page.next_cursor is not None:
        page = pages(Asked(PAGE, page.next_cursor))
        items += page.items
    return items


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, nothing: str) -> None:
    """A listing: a table for people, JSON for programs."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo(nothing)
    else:
        table = Table(*(Column(name, overflow="fold") for name in rows[0]))
        for row in rows:
            table.add_row(*(_words(value) for value in row.values()))
        # In a pipe nothing is cut: the next program wants whole ids. What stands in brackets is no markup.
        console = Console(width=None if sys.stdout.isatty() else 240, markup=False, emoji=False, highlight=False)
        console.print(table)


def show_one(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: a line for each field that has a value, for people; JSON for programs."""
    if as_json:
        typer.echo(json.dumps(fields, indent=2))
        return
    for name, value in fields.items():
        if shown := _words(value):
            typer.echo(f"{name:>20}  {shown}")


def _words(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{name} {shown}" for name, each in value.items() if (shown := _words(each)))
        case list() | tuple():
            return ", ".join(map(_words, value))
    return str(value)


def moment(milliseconds: int | None) -> str | None:
    """A time to the second, or None for none."""
    return None if milliseconds is None else rfc3339(milliseconds, "seconds")
