"""Writes a first configuration, its master key and its first API key."""

from __future__ import annotations

import os
from pathlib import Path

from relay import config
from relay.cli.options import actor
from relay.declared import KeyFields, Permission
from relay.errors import Kind, Problem
from relay.management import declaring
from relay.message import Mode
from relay.sealing import MasterKey
from relay.store.beside import with_database
from relay.store.directory import keys

TEMPLATE = """\
# Relay's configuration. Every setting is explained in config.example.yaml.
database: relay.db
master_key: file:master.key

smtp:
  listeners:
    - address: 0.0.0.0:587
      tls: starttls
    - address: 0.0.0.0:465
      tls: implicit

http:
  address: 127.0.0.1:8080

ses_accounts:
  main:
    region: {region}
    # Without credentials here, AWS's own chain is used: environment, ~/.aws, instance role.

domains:
  {domain}:
    mode: {mode}
    account: main
"""


def create(folder: Path, domain: str, region: str, mode: Mode) -> tuple[Path, str]:
    """Returns the configuration file and the key. Raises Problem(CONFLICT) where there is a configuration already."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    if file.exists():
        raise Problem(Kind.CONFLICT, f"{file} exists already; remove it first, or choose another folder")
    text = TEMPLATE.format(domain=domain, region=region, mode=mode.value)
    MasterKey.read_or_create(folder / "master.key")
    write_private(file, text)
    settings = config.load(file)
    with_database(
        settings, lambda db, sealer: declaring.apply(db, sealer, settings)
    )  # commands see the account and the domain
    return file, create_key(file, "first", Permission.ADMIN)


def create_key(file: Path, name: str, permission: Permission) -> str:
    """Make an API key of the default tenant in the database of a configuration."""
    fields = KeyFields(name=name, permission=permission)
    _, secret = with_database(config.load(file), lambda db, sealer: keys.create(db, sealer, actor(), fields))
    return secret


def write_private(path: Path, text: str) -> None:
    """A file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
