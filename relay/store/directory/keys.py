"""API keys: made, imported, rotated, revoked. What rests is a keyed hash; the secret is shown once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from relay.declared import DEFAULT_TENANT, Device, KeyChange, KeyFields, Permission, SenderRule
from relay.errors import Kind, Problem, printable
from relay.message import Ids
from relay.sealing import Sealer, api_key_prefix, new_api_key
from relay.store.clock import clock, milliseconds, moment_ms
from relay.store.directory import audit, tenants
from relay.store.directory.audit import Actor
from relay.store.directory.installation import row_id, shown
from relay.store.directory.key_senders import column, device, require_senders, sender_rule
from relay.store.directory.paging import Asked, Page, page
from relay.store.schema import keys
from relay.store.schema import tenants as tenant_rows

LONGEST_PREFIX = 14  # characters, of `api_key_prefix`
_ids = Ids()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the server knows it: never its secret. `domains` None: every domain of its tenant."""

    id: int
    tenant_id: int
    tenant: str
    name: str
    prefix: str
    hash: bytes = field(repr=False)
    permission: Permission
    domains: frozenset[str] | None
    rate_per_minute: int | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    replaces: int | None
    is_declared: bool
    sender_rule: SenderRule | None = None
    device: Device | None = None

    def is_valid(self, now: int) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def status(self, now: int) -> str:
        return "revoked" if self.revoked_at is not None else "valid" if self.is_valid(now) else "expired"

    def is_within(self, other: ApiKey) -> bool:
        """Whether it may do nothing that the other may not."""
        return other.permission.includes(self.permission) and (
            other.domains is None or (self.domains is not None and self.domains <= other.domains)
        )

    def outlives(self, other: ApiKey) -> bool:
        """Whether it is good for longer than the other."""
        return other.expires_at is not None and (self.expires_at is None or self.expires_at > other.expires_at)


_select = select(keys, tenant_rows.c.name.label("tenant")).join(tenant_rows, tenant_rows.c.id == keys.c.tenant_id)


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant=row.tenant,
        name=row.name,
        prefix=row.prefix,
        hash=row.hash,
        permission=Permission(row.permission),
        domains=None if row.domains is None else frozenset(json.loads(row.domains)),
        rate_per_minute=row.rate_per_minute,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        replaces=row.replaces,
        is_declared=row.is_declared,
        sender_rule=sender_rule(row.sender_rule),
        device=device(row.device),
    )


# -- reading ---------------------------------------------------------------------------------------------------------


def every(db: Connection) -> list[ApiKey]:
    return [_key(row) for row in db.execute(_select.order_by(keys.c.id))]


def usable(db: Connection) -> list[ApiKey]:
    """Those that are not revoked: what a server has to know."""
    return [_key(row) for row in db.execute(_select.where(keys.c.revoked_at.is_(None)).order_by(keys.c.id))]


def find(db: Connection, name: str, *, tenant_id: int | None = None) -> ApiKey:
    """By id or, where only one has it, by prefix. Raises Problem(NOT_FOUND | CONFLICT)."""
    which = _select.where(or_(keys.c.id == (row_id(name) or -1), keys.c.prefix == name))
    if tenant_id is not None:
        which = which.where(keys.c.tenant_id == tenant_id)
    found = [_key(row) for row in db.execute(which)]
    valid = [key for key in found if key.revoked_at is None] or found
    if not valid:
        raise Problem(Kind.NOT_FOUND, f"there is no key {without_secret(name)!r} here")
    if len(valid) > 1:
        raise Problem(Kind.CONFLICT, f"several keys begin with {name!r}: name one by its id")
    return valid[0]


def without_secret(name: str) -> str:
    """What was given as a key's name, to be said back: of a whole key, which some give, only what may be shown."""
    is_whole = row_id(name) is None and len(name) > LONGEST_PREFIX
    return printable(f"{api_key_prefix(name)}..." if is_whole else name)


def listed(
    db: Connection,
    asked: Asked,
    *,
    tenant_id: int | None = None,
    permission: Permission | None = None,
    is_revoked: bool | None = None,
) -> Page[ApiKey]:
    which = _select
    if tenant_id is not None:
        which = which.where(keys.c.tenant_id == tenant_id)
    if permission is not None:
        which = which.where(keys.c.permission == permission.value)
    if is_revoked is not None:
        which = which.where(keys.c.revoked_at.is_not(None) if is_revoked else keys.c.revoked_at.is_(None))
    return page(db, which, keys.c.id, asked, _key)


# -- changing --------------------------------------------------------------------------------------------------------


def create(
    db: Connection, sealer: Sealer, actor: Actor, fields: KeyFields, *, maker: ApiKey | None = None
) -> tuple[ApiKey, str]:
    """A new key, or an imported one. The secret is returned here and never again.

    `maker`: the key that asks; what it makes is never above itself.
    Raises Problem(NOT_FOUND | CONFLICT | FORBIDDEN | BAD_REQUEST).
    """
    tenant = tenants.find(db, fields.tenant or DEFAULT_TENANT)
    secret = fields.secret.get_secret_value() if fields.secret is not None else new_api_key()
    made = ApiKey(
        id=_ids.next(),
        tenant_id=tenant.id,
        tenant=tenant.name,
        name=fields.name,
        prefix=api_key_prefix(secret),
        hash=sealer.hash_api_key(secret),
        permission=fields.permission,
        domains=None if fields.domains is None else frozenset(fields.domains),
        rate_per_minute=fields.rate_per_minute,
        created_at=clock(db),
        expires_at=expiry(fields.expires_at),
        revoked_at=None,
        last_used_at=None,
        replaces=None,
        is_declared=actor.is_file,
        sender_rule=fields.sender_rule,
        device=fields.device,
    )
    _require_within(made, maker)
    require_senders(db, made)
    if db.scalar(select(keys.c.id).where(keys.c.hash == made.hash)) is not None:
        raise Problem(Kind.CONFLICT, "this key is registered already; a revoked one cannot come back")
    _insert(db, made)
    said = fields.model_dump(mode="json", exclude={"secret"}, exclude_unset=True) | {"prefix": made.prefix}
    action = "key.create" if fields.secret is None else "key.import"
    audit.record(db, actor, action, f"key {shown(made.id)}", tenant_id=tenant.id, changes=audit.differences({}, said))
    return made, secret


def _require_within(key: ApiKey, maker: ApiKey | None, before: ApiKey | None = None) -> None:
    """`maker` makes or changes `key`, which was `before`: never into more than itself."""
    if maker is None or (maker.permission is Permission.ADMIN and maker.domains is None):
        return
    if key.tenant_id != maker.tenant_id:
        raise Problem(Kind.NOT_FOUND, f"there is no tenant {key.tenant!r} here")
    if not key.is_within(maker):
        raise Problem(
            Kind.FORBIDDEN,
            "a key makes none above itself: ask for the same permission or less, and for domains it is for itself",
        )
    is_longer = key.outlives(maker) and (before is None or before.expires_at != key.expires_at)
    if is_longer:
        raise Problem(Kind.FORBIDDEN, "a key makes none that outlives it: give an expires_at no later than its own")


def _insert(db: Connection, made: ApiKey) -> None:
    db.execute(
        insert(keys).values(
            id=made.id,
            tenant_id=made.tenant_id,
            name=made.name,
            prefix=made.prefix,
            hash=made.hash,
            permission=made.permission.value,
            domains=None if made.domains is None else json.dumps(sorted(made.domains)),
            rate_per_minute=made.rate_per_minute,
            created_at=made.created_at,
            expires_at=made.expires_at,
            replaces=made.replaces,
            is_declared=made.is_declared,
            sender_rule=column(made.sender_rule),
            device=column(made.device),
        )
    )


def expiry(at: datetime | None) -> int | None:
    """As the column has it: milliseconds since 1970."""
    return None if at is None else moment_ms(at)


def change(
    db: Connection,
    actor: Actor,
    name: str,
    fields: KeyChange,
    *,
    tenant_id: int | None = None,
    maker: ApiKey | None = None,
) -> ApiKey:
    """Change what `fields` names. Raises Problem(NOT_FOUND | CONFLICT | FORBIDDEN | BAD_REQUEST)."""
    key = _changeable(db, actor, name, tenant_id, maker)
    given = fields.model_fields_set
    values: dict[str, Any] = {each: getattr(fields, each) for each in given & {"name", "rate_per_minute"}}
    if "domains" in given:
        values["domains"] = None if fields.domains is None else json.dumps(sorted(fields.domains))
    if "expires_at" in given:
        values["expires_at"] = expiry(fields.expires_at)
    values |= {name: column(getattr(fields, name)) for name in given & {"sender_rule", "device"}}
    _update(db, actor, key, "key.change", values)
    changed = find(db, shown(key.id))
    _require_within(changed, maker, key)
    if (changed.domains, changed.sender_rule, changed.device) != (key.domains, key.sender_rule, key.device):
        require_senders(db, changed)
    return changed


def _changeable(db: Connection, actor: Actor, name: str, tenant_id: int | None, maker: ApiKey | None) -> ApiKey:
    key = find(db, name, tenant_id=tenant_id)
    actor.require_free(f"the key {key.name}", key.is_declared)
    _require_within(key, maker, key)
    if key.revoked_at is not None:
        raise Problem(Kind.CONFLICT, f"the key {key.prefix} is revoked, for good")
    return key


def _update(db: Connection, actor: Actor, key: ApiKey, action: str, values: Mapping[str, Any]) -> None:
    row = db.execute(select(keys).where(keys.c.id == key.id)).one()
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not changed:
        return
    db.execute(update(keys).where(keys.c.id == key.id).values(**changed))
    changes = {name: [getattr(row, name), value] for name, value in changed.items()}
    audit.record(db, actor, action, f"key {shown(key.id)}", tenant_id=key.tenant_id, changes=changes)


def rotate(
    db: Connection,
    sealer: Sealer,
    actor: Actor,
    name: str,
    overlap: timedelta,
    *,
    tenant_id: int | None = None,
    maker: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """A new key for the same, and the old one's end after `overlap`: until then both are good.

    Raises Problem(NOT_FOUND | CONFLICT | FORBIDDEN).
    """
    old = _changeable(db, actor, name, tenant_id, maker)
    now = clock(db)
    if not old.is_valid(now):
        raise Problem(Kind.CONFLICT, f"the key {old.prefix} has expired: make a new one")
    secret = new_api_key()
    made = replace(
        old,
        id=_ids.next(),
        prefix=api_key_prefix(secret),
        hash=sealer.hash_api_key(secret),
        created_at=now,
        last_used_at=None,
        replaces=old.id,
        is_declared=False,
    )
    _insert(db, made)
    ends_at = now + milliseconds(overlap)
    ends_at = ends_at if old.expires_at is None else min(ends_at, old.expires_at)
    _update(db, actor, old, "key.rotate", {"expires_at": ends_at})
    audit.record(
        db,
        actor,
        "key.create",
        f"key {shown(made.id)}",
        tenant_id=made.tenant_id,
        changes={"replaces": ["", shown(old.id)], "prefix": ["", made.prefix]},
    )
    return made, secret


def revoke(
    db: Connection, actor: Actor, name: str, *, tenant_id: int | None = None, maker: ApiKey | None = None
) -> ApiKey:
    """For good. Raises Problem(NOT_FOUND | CONFLICT | FORBIDDEN)."""
    key = _changeable(db, actor, name, tenant_id, maker)
    _update(db, actor, key, "key.revoke", {"revoked_at": clock(db)})
    return find(db, shown(key.id))


def take_over(db: Connection, actor: Actor, key: ApiKey, permission: Permission) -> None:
    """The file declares it: from now on it is the file's, with the permission that the file gives it."""
    action = "key.change" if key.is_declared else "key.take_over"
    _update(db, actor, key, action, {"is_declared": True, "permission": permission.value})


_used = (
    update(keys)
    .where(keys.c.id == bindparam("_id"), or_(keys.c.last_used_at.is_(None), keys.c.last_used_at < bindparam("_at")))
    .values(last_used_at=bindparam("_at"))
)


def note_used(db: Connection, items: Sequence[Mapping[int, int]]) -> Sequence[None]:
    """When keys were last used, by id. Servers gather it and write now and then."""
    rows = [{"_id": key_id, "_at": at} for item in items for key_id, at in sorted(item.items())]
    if rows:
        db.execute(_used, rows)
    return [None] * len(items)
