"""Webhooks: made, changed, given new secrets, removed. A secret rests sealed, and is shown once."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from relay.declared import DEFAULT_TENANT, TELLS, Dialect, WebhookChange, WebhookFields, untold
from relay.errors import Fault, Kind, Problem, printable
from relay.message import Ids
from relay.sealing import Sealer
from relay.store.clock import clock, milliseconds
from relay.store.directory import audit, tenants
from relay.store.directory.audit import Actor
from relay.store.directory.installation import lock, row_id, shown
from relay.store.directory.paging import Asked, Page, page
from relay.store.hooks import Hook
from relay.store.schema import tenants as tenant_rows
from relay.store.schema import webhooks

MOST = 100  # of a tenant
SECRET_OCTETS = 24
BY_HAND = "disabled by hand"
_ids = Ids()


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook. Times in milliseconds since 1970. `domains` None: of all sender domains.

    `failing_since`: when the first of its latest posts failed that all did, of which there were `failures`.
    """

    id: int
    tenant_id: int
    tenant: str
    name: str
    url: str = field(repr=False)  # its path or query may hold a secret of the receiver
    dialect: Dialect
    events: tuple[str, ...]
    domains: frozenset[str] | None
    retries: int
    sealed_secret: bytes = field(repr=False)
    sealed_old_secret: bytes | None = field(repr=False)
    old_until: int | None
    disabled_at: int | None
    disabled_reason: str | None
    failing_since: int | None
    failures: int
    created_at: int
    updated_at: int

    @property
    def is_enabled(self) -> bool:
        return self.disabled_at is None

    @property
    def origin(self) -> str:
        """As much of its URL as anybody may see."""
        return origin_of(self.url)

    @property
    def hook(self) -> Hook:
        """What it is told of."""
        return Hook(self.id, self.tenant_id, self.events, self.domains, TELLS[self.dialect])

    def secrets(self, sealer: Sealer, now: int) -> tuple[str, ...]:
        """Those that sign, the newest first. Raises SealingError."""
        sealed = [self.sealed_secret]
        if self.sealed_old_secret is not None and self.old_until is not None and now < self.old_until:
            sealed.append(self.sealed_old_secret)
        return tuple(sealer.open_secret(each, _purpose(self.id)) for each in sealed)


def origin_of(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def new_secret() -> str:
    """As Standard Webhooks has it: 192 random bits."""
    return f"whsec_{b64encode(secrets.token_bytes(SECRET_OCTETS)).decode()}"


def _purpose(webhook_id: int) -> str:
    return f"webhook {webhook_id}"


_select = (
    select(webhooks, tenant_rows.c.name.label("tenant"))
    .join(tenant_rows, tenant_rows.c.id == webhooks.c.tenant_id)
    .where(webhooks.c.removed_at.is_(None))
)


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant=row.tenant,
        name=row.name,
        url=row.url,
        dialect=Dialect(row.dialect),
        events=tuple(json.loads(row.events)),
        domains=None if row.domains is None else frozenset(json.loads(row.domains)),
        retries=row.retries,
        sealed_secret=row.sealed_secret,
        sealed_old_secret=row.sealed_old_secret,
        old_until=row.old_until,
        disabled_at=row.disabled_at,
        disabled_reason=row.disabled_reason,
        failing_since=row.failing_since,
        failures=row.failures,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


# -- reading ---------------------------------------------------------------------------------------------------------


def every(db: Connection) -> list[Webhook]:
    """All of the installation, the disabled ones too."""
    return [_webhook(row) for row in db.execute(_select.order_by(webhooks.c.id))]


def hooks(db: Connection) -> list[Hook]:
    """What those that are enabled are told of."""
    return [each.hook for each in every(db) if each.is_enabled]


def find(db: Connection, name: str, *, within: int | None = None) -> Webhook:
    """By its id as shown or, where only one has it, by its name; of the tenant `within`, None: of anyone.

    Raises Problem(NOT_FOUND | CONFLICT).
    """
    which = _select.where(or_(webhooks.c.id == (row_id(name) or -1), webhooks.c.name == (name or None)))
    if within is not None:
        which = which.where(webhooks.c.tenant_id == within)
    found = [_webhook(row) for row in db.execute(which)]
    if not found:
        raise Problem(Kind.NOT_FOUND, f"there is no webhook {printable(name)!r} here")
    if len(found) > 1:
        raise Problem(Kind.CONFLICT, f"several webhooks are called {printable(name)!r}: name one by its id")
    return found[0]


def listed(
    db: Connection, asked: Asked, *, tenant_id: int | None = None, is_enabled: bool | None = None
) -> Page[Webhook]:
    """In the order in which they were made; of one tenant if it is named."""
    which = _select
    if tenant_id is not None:
        which = which.where(webhooks.c.tenant_id == tenant_id)
    if is_enabled is not None:
        column = webhooks.c.disabled_at
        which = which.where(column.is_(None) if is_enabled else column.is_not(None))
    return page(db, which, webhooks.c.id, asked, _webhook)


# -- changing --------------------------------------------------------------------------------------------------------


def create(db: Connection, sealer: Sealer, actor: Actor, fields: WebhookFields) -> tuple[Webhook, str]:
    """A new one. The secret is returned here and never again. Raises Problem(NOT_FOUND | CONFLICT)."""
    tenant = tenants.find(db, fields.tenant or DEFAULT_TENANT)
    lock(db)
    theirs = select(func.count()).where(webhooks.c.tenant_id == tenant.id, webhooks.c.removed_at.is_(None))
    if (db.scalar(theirs) or 0) >= MOST:
        raise Problem(Kind.CONFLICT, f"there are {MOST} webhooks, which is the most: remove some first")
    made, secret, now = _ids.next(), new_secret(), clock(db)
    db.execute(
        insert(webhooks).values(
            id=made,
            tenant_id=tenant.id,
            name=fields.name,
            url=fields.url,
            dialect=fields.dialect.value,
            events=json.dumps(fields.events),
            domains=_column(fields.domains),
            retries=fields.retries,
            sealed_secret=sealer.seal_secret(secret, _purpose(made)),
            created_at=now,
            updated_at=now,
        )
    )
    said = fields.model_dump(mode="json", exclude={"url", "tenant"}, exclude_unset=True)
    changes = audit.differences({}, said | {"url": origin_of(fields.url)})
    audit.record(db, actor, "webhook.create", _target(made), tenant_id=tenant.id, changes=changes)
    return find(db, shown(made)), secret


def _column(domains: tuple[str, ...] | None) -> str | None:
    return None if domains is None else json.dumps(sorted(set(domains)))


def _target(webhook_id: int) -> str:
    return f"webhook {shown(webhook_id)}"


def change(db: Connection, actor: Actor, name: str, fields: WebhookChange, *, within: int | None = None) -> Webhook:
    """Change what `fields` names. Enabled again, or posted elsewhere, it begins without failures.

    Raises Problem(NOT_FOUND | CONFLICT | BAD_REQUEST).
    """
    webhook = find(db, name, within=within)
    given = fields.model_fields_set
    if "events" in given and (said := untold(webhook.dialect, fields.events)):
        raise Problem(Kind.BAD_REQUEST, faults=(Fault("events", said),))
    values: dict[str, Any] = {each: getattr(fields, each) for each in given & {"name", "url", "retries"}}
    if "events" in given:
        values["events"] = json.dumps(fields.events)
    if "domains" in given:
        values["domains"] = _column(fields.domains)
    if "enabled" in given and fields.enabled is not webhook.is_enabled:
        values["disabled_at"] = None if fields.enabled else clock(db)
        values["disabled_reason"] = None if fields.enabled else BY_HAND
    begins_anew = values.get("url", webhook.url) != webhook.url or values.get("disabled_at", 0) is None
    if begins_anew:
        values |= {"failing_since": None, "failures": 0}
    _update(db, actor, webhook, "webhook.change", values)
    return find(db, shown(webhook.id))


def _update(db: Connection, actor: Actor, webhook: Webhook, action: str, values: Mapping[str, Any]) -> None:
    row = db.execute(select(webhooks).where(webhooks.c.id == webhook.id)).one()
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not changed:
        return
    db.execute(update(webhooks).where(webhooks.c.id == webhook.id).values(**changed, updated_at=clock(db)))
    changes = {name: [getattr(row, name), value] for name, value in changed.items() if not name.startswith("sealed_")}
    if "url" in changed:
        changes["url"] = [origin_of(row.url), origin_of(changed["url"])]
    audit.record(db, actor, action, _target(webhook.id), tenant_id=webhook.tenant_id, changes=changes)


def rotate(
    db: Connection, sealer: Sealer, actor: Actor, name: str, overlap: timedelta, *, within: int | None = None
) -> tuple[Webhook, str]:
    """A new secret. The old one signs beside it until `overlap` is over, so that receivers can change in between.

    Raises Problem(NOT_FOUND | CONFLICT).
    """
    webhook = find(db, name, within=within)
    secret = new_secret()
    stays = overlap > timedelta(0)
    values = {
        "sealed_secret": sealer.seal_secret(secret, _purpose(webhook.id)),
        "sealed_old_secret": webhook.sealed_secret if stays else None,
        "old_until": clock(db) + milliseconds(overlap) if stays else None,
    }
    _update(db, actor, webhook, "webhook.rotate", values)
    return find(db, shown(webhook.id)), secret


def remove(db: Connection, actor: Actor, name: str, *, within: int | None = None) -> Webhook:
    """For good: its secret and its URL go at once, its outbox and its log in a sweep. Returns what it was.

    Raises Problem(NOT_FOUND | CONFLICT).
    """
    webhook = find(db, name, within=within)
    now = clock(db)
    db.execute(
        update(webhooks)
        .where(webhooks.c.id == webhook.id)
        .values(removed_at=now, disabled_at=now, url="", sealed_secret=b"", sealed_old_secret=None, old_until=None)
    )
    changes = {"url": [webhook.origin, None], "name": [webhook.name, None]}
    audit.record(db, actor, "webhook.remove", _target(webhook.id), tenant_id=webhook.tenant_id, changes=changes)
    return webhook
