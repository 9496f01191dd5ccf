"""The API keys that the file declares: those that exist already, for a file is no place to be told a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from relay.config import Settings
from relay.declared import DEFAULT_TENANT, Device, KeyChange, KeyFields, SenderRule
from relay.errors import Fault
from relay.management.declaring.plan import CHANGED, Change, Shown, Step, Verb, additions, differences, whole
from relay.sealing import Sealer
from relay.settings import DeclaredKey
from relay.store import Connection
from relay.store.clock import rfc3339
from relay.store.directory import domains, installation, keys, tenants
from relay.store.directory.audit import FILE
from relay.store.directory.key_senders import faults_of_senders
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
        yield from _sender_faults(f"keys.{number}", key, row, db, settings)
        if row is None:
            yield _new_key(key, forgotten.pop(key.name, None), sealer)
        else:
            yield from _key(f"keys.{number}", key, row)
    for row in forgotten.values():
        yield Step(Change(Verb.DISABLE, f"key {row.name}", {}), _revocation(row))


def _sender_faults(
    path: str, said: DeclaredKey, row: ApiKey | None, db: Connection, settings: Settings
) -> Iterator[Fault]:
    """Of what is new. A rule that stays is no reason to refuse a file, though its domain may have gone meanwhile."""
    before, after = {} if row is None else _is(row), _said(said)
    if all(before.get(name, ...) == after[name] for name in ("permission", "domains", "sender_rule", "device")):
        return
    tenant = said.tenant or DEFAULT_TENANT

    def carrier_of(domain: str) -> str | None:
        for name, fields in settings.domains.items():
            is_in = domain == name or (fields.include_subdomains and domain.endswith(f".{name}"))
            if is_in and fields.tenant == tenant:
                return name
        found = next((each.id for each in tenants.every(db) if each.name == tenant), None)
        there = None if found is None else domains.carrier(domain, found, domains.around(db, domain))
        return None if there is None else there.name

    for fault in faults_of_senders(said, tenant, carrier_of):
        yield Fault(f"{path}.{fault.path}", fault.message)


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
        "sender_rule": _rule(key.sender_rule),
        "device": _rule(key.device),
    }


def _said(fields: KeyFields) -> Shown:
    return {
        "name": fields.name,
        "tenant": fields.tenant or DEFAULT_TENANT,
        "permission": fields.permission.value,
        "domains": None if fields.domains is None else sorted(set(fields.domains)),
        "rate_per_minute": fields.rate_per_minute,
        "expires_at": _moment(expiry(fields.expires_at)),
        "sender_rule": _rule(fields.sender_rule),
        "device": _rule(fields.device),
    }


def _rule(rule: SenderRule | Device | None) -> str | None:
    """In words, as a difference shows it."""
    if rule is None:
        return None
    said = {name: value for name, value in rule.model_dump(mode="json").items() if value is not None}
    return ", ".join(f"{name} {' '.join(value) if isinstance(value, list) else value}" for name, value in said.items())


def _moment(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)
