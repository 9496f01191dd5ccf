"""The API keys that the file declares: those that exist already, for a file is no place to be told a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from relay.config import Settings
from relay.declared import DEFAULT_TENANT, KeyChange, KeyFields
from relay.errors import Fault
from relay.management.declaring.plan import CHANGED, Change, Shown, Step, Verb, additions, differences, whole
from relay.sealing import Sealer
from relay.settings import DeclaredKey
from relay.store import Connection
from relay.store.clock import rfc3339
from relay.store.directory import installation, keys
from relay.store.directory.audit import FILE
from relay.store.directory.keys import ApiKey, expiry


def steps(db: Connection, sealer: Sealer, settings: Settings) -> Iterator[Step | Fault]:
    """A key is known by its secret. Another secret under the same name takes the place of the one before."""
    known = {row.hash: row for row in keys.every(db)}
    said = {sealer.hash_api_key(key.secret.get_secret_value()): key for key in settings.keys}
    forgotten = {
        row.name: row for row in known.values() if row.is_declared and row.revoked_at is None and row.hash not in said
    }
    for number, (hashed, key) in enumerate(said.items()):
        row = known.get(hashed)
        if row is None:
            yield _new_key(key, forgotten.pop(key.name, None), sealer)
        else:
            yield from _key(f"keys.{number}", key, row)
    for row in forgotten.values():
        yield Step(Change(Verb.DISABLE, f"key {row.name}", {}), _revocation(row))


def _new_key(said: DeclaredKey, old: ApiKey | None, sealer: Sealer) -> Step:
    what, after = f"key {said.name}", _said(said)
    if old is None:
        added = additions({field: value for field, value in after.items() if field != "name"})
        return Step(Change(Verb.ADD, what, added), lambda db: keys.create(db, sealer, FILE, said))
    revoke = _revocation(old)

    def replace(db: Connection) -> None:
        revoke(db)
        keys.create(db, sealer, FILE, said)

    changed = {"secret": CHANGED, **differences(_is(old), after)}
    return Step(Change(Verb.CHANGE, what, changed), replace)


def _revocation(row: ApiKey) -> Callable[[Connection], object]:
    return lambda db: keys.revoke(db, FILE, installation.shown(row.id))


def _key(path: str, said: DeclaredKey, row: ApiKey) -> Iterator[Step | Fault]:
    changed = differences(_is(row), _said(said))
    if row.revoked_at is not None:
        yield Fault(f"{path}.secret", f"the key {row.prefix} is revoked, for good: give {said.name} another secret")
    elif "tenant" in changed:
        yield Fault(f"{path}.tenant", f"the key {row.prefix} is one of the tenant {row.tenant}, and that stays")
    elif changed or not row.is_declared:
        taken = {} if row.is_declared else {"declared": (False, True)}

        def change(db: Connection) -> None:
            keys.take_over(db, FILE, row, said.permission)
            keys.change(db, FILE, installation.shown(row.id), whole(KeyChange, said))

        yield Step(Change(Verb.CHANGE, f"key {said.name}", {**taken, **changed}), change)


def _is(key: ApiKey) -> Shown:
    return {
        "name": key.name,
        "tenant": key.tenant,
        "permission": key.permission.value,
        "domains": None if key.domains is None else sorted(key.domains),
        "rate_per_minute": key.rate_per_minute,
        "expires_at": _moment(key.expires_at),
    }


def _said(fields: KeyFields) -> Shown:
    return {
        "name": fields.name,
        "tenant": fields.tenant or DEFAULT_TENANT,
        "permission": fields.permission.value,
        "domains": None if fields.domains is None else sorted(set(fields.domains)),
        "rate_per_minute": fields.rate_per_minute,
        "expires_at": _moment(expiry(fields.expires_at)),
    }


def _moment(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)
