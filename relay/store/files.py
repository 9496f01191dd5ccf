"""Where an installation keeps its database, its master key and what else it makes."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL

from relay.config import Settings
from relay.sealing import MasterKey, SealingError
from relay.store import database


def database_url(settings: Settings) -> URL:
    return database.parse_url(settings.database, settings.folder)


def state_folder(settings: Settings) -> Path:
    """Beside the SQLite database, else beside the configuration."""
    url = database_url(settings)
    return database.sqlite_path(url).parent if database.is_sqlite(url) else settings.folder


def key_file(settings: Settings) -> Path | None:
    """The file that the master key is read from; None where the configuration or the environment has the key itself."""
    if settings.master_key is None:
        return state_folder(settings) / "master.key"
    return settings.master_key_file


def master_key(settings: Settings) -> MasterKey:
    """The key as it is now: its file may have changed since the configuration was read. Where no key is configured it
    is the one in `master.key` in the state folder, made if need be. Raises SealingError.
    """
    older = [each.get_secret_value() for each in settings.previous_master_keys]
    if settings.master_key is None:
        return MasterKey.read_or_create(state_folder(settings) / "master.key").with_older(*older)
    return MasterKey.decode(_configured(settings, settings.master_key.get_secret_value()), *older)


def existing_master_key(settings: Settings) -> MasterKey:
    """The same where there has to be one already. Raises SealingError."""
    file = key_file(settings)
    if file is not None and not file.exists():
        raise SealingError(f"{file}, the master key of this database, is missing: put back the copy of it")
    return master_key(settings)


def _configured(settings: Settings, text: str) -> str:
    if settings.master_key_file is None:
        return text
    try:
        return settings.master_key_file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise SealingError(f"the master key in {settings.master_key_file} cannot be read") from exc
