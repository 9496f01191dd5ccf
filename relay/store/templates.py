"""Templates as they are kept: by tenant and name, in versions that never change. What is in them is not read here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update

from relay.errors import Kind, Problem, printable
from relay.message import Ids
from relay.store.clock import clock
from relay.store.directory import audit
from relay.store.directory.audit import Actor
from relay.store.directory.paging import Asked, Page, page
from relay.store.hot import HotRow
from relay.store.schema import template_versions as versions
from relay.store.schema import templates
from relay.store.schema import tenants as tenant_rows

MOST_TEMPLATES = 1000  # of a tenant
MOST_VERSIONS = 100  # of a template: the oldest go
_ids = Ids()


@dataclass(frozen=True, slots=True)
class Written:
    """What an author wrote. `missing`: what a variable that is not given is, "error" or "empty"."""

    subject: str = field(repr=False)
    text: str | None = field(repr=False)
    html: str | None = field(repr=False)
    missing: str


@dataclass(frozen=True, slots=True)
class Named:
    """A template by its name, with its newest version. Moments in milliseconds since 1970."""

    id: int
    tenant: str
    name: str
    version: int
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a template, with what is in it. `latest` is the newest there is."""

    template_id: int
    tenant: str
    name: str
    version: int
    latest: int
    created_at: int  # of this version
    written: Written


@dataclass(frozen=True, slots=True)
class Past:
    """A version, as the list of all shows it."""

    version: int
    subject: str = field(repr=False)
    created_at: int


# -- changing --------------------------------------------------------------------------------------------------------


def create(db: Connection, actor: Actor, tenant_id: int, name: str, written: Written) -> Version:
    """The first version. Raises Problem(CONFLICT) where there is one of that name, or too many."""
    tenant = db.execute(select(tenant_rows.c.id).where(tenant_rows.c.id == tenant_id).with_for_update()).scalar_one()
    if db.scalar(select(templates.c.id).where(templates.c.tenant_id == tenant, templates.c.name == name)) is not None:
        raise Problem(Kind.CONFLICT, f"there is a template {name!r} already: change that one")
    count = db.scalar(select(func.count()).select_from(templates).where(templates.c.tenant_id == tenant)) or 0
    if count >= MOST_TEMPLATES:
        raise Problem(Kind.CONFLICT, f"there are {MOST_TEMPLATES} templates, which is the most: delete some first")
    made, now = _ids.next(), clock(db)
    db.execute(
        insert(templates).values(id=made, tenant_id=tenant, name=name, version=1, created_at=now, updated_at=now)
    )
    _put(db, made, 1, written, now)
    _record(db, actor, "template.create", tenant_id, name, {"version": [None, 1]})
    return find(db, tenant_id, name)


def change(
    db: Connection, actor: Actor, tenant_id: int, name: str, written: Written, seen: int | None = None
) -> Version:
    """A new version, or none where nothing is new. `seen`: the version that is to be changed, and no later one.

    Raises Problem(NOT_FOUND | CONFLICT).
    """
    template_id, latest_is = _locked(db, tenant_id, name)
    now_is = find(db, tenant_id, name)
    _require_seen(latest_is, seen)
    if now_is.written == written:
        return now_is
    version, now = latest_is + 1, clock(db)
    db.execute(update(templates).where(templates.c.id == template_id).values(version=version, updated_at=now))
    _put(db, template_id, version, written, now)
    is_old = versions.c.version <= version - MOST_VERSIONS
    db.execute(delete(versions).where(versions.c.template_id == template_id, is_old))
    _record(db, actor, "template.change", tenant_id, name, {"version": [latest_is, version]})
    return find(db, tenant_id, name)


def remove(db: Connection, actor: Actor, tenant_id: int, name: str, seen: int | None = None) -> None:
    """With all versions. Raises Problem(NOT_FOUND | CONFLICT)."""
    template_id, latest_is = _locked(db, tenant_id, name)
    _require_seen(latest_is, seen)
    db.execute(delete(versions).where(versions.c.template_id == template_id))
    db.execute(delete(templates).where(templates.c.id == template_id))
    _record(db, actor, "template.remove", tenant_id, name, {"version": [latest_is, None]})


def _put(db: Connection, template_id: int, version: int, written: Written, now: int) -> None:
    db.execute(
        insert(versions).values(
            template_id=template_id,
            version=version,
            subject=written.subject,
            text=written.text,
            html=written.html,
            missing=written.missing,
            created_at=now,
        )
    )


def _locked(db: Connection, tenant_id: int, name: str) -> tuple[int, int]:
    """The id of a template, and its newest version, which nobody else changes until the transaction ends."""
    which = select(templates.c.id, templates.c.version).where(
        templates.c.tenant_id == tenant_id, templates.c.name == name
    )
    row = db.execute(which.with_for_update()).one_or_none()
    if row is None:
        raise not_found(name)
    return row.id, row.version


def _require_seen(version: int, seen: int | None) -> None:
    if seen is not None and seen != version:
        raise Problem(Kind.CONFLICT, f"it is version {version} now, changed by another: look at it again")


def _record(db: Connection, actor: Actor, action: str, tenant_id: int, name: str, changes: dict[str, Any]) -> None:
    # Servers ask the database each time: there is nothing for them to read again.
    audit.record(db, actor, action, f"template {name}", tenant_id=tenant_id, changes=changes, is_seen=False)


def not_found(name: str) -> Problem:
    return Problem(Kind.NOT_FOUND, f"there is no template {printable(name)} here")


# -- asking ----------------------------------------------------------------------------------------------------------

_named = select(
    templates.c.id,
    tenant_rows.c.name.label("tenant"),
    templates.c.name,
    templates.c.version,
    templates.c.created_at,
    templates.c.updated_at,
).join(tenant_rows, tenant_rows.c.id == templates.c.tenant_id)
_latest = select(templates.c.id, templates.c.version).where(
    templates.c.tenant_id == bindparam("tenant_id"), templates.c.name == bindparam("name")
)


def find(db: Connection, tenant_id: int, name: str, version: int | None = None) -> Version:
    """One version, without a number the newest. Raises Problem(NOT_FOUND)."""
    which = (
        select(versions, templates.c.name, templates.c.version.label("latest"), tenant_rows.c.name.label("tenant"))
        .join(templates, templates.c.id == versions.c.template_id)
        .join(tenant_rows, tenant_rows.c.id == templates.c.tenant_id)
        .where(templates.c.tenant_id == tenant_id, templates.c.name == name)
        .where(versions.c.version == (templates.c.version if version is None else version))
    )
    row = db.execute(which).one_or_none()
    if row is None:
        if version is not None and latest(db, tenant_id, name) is not None:
            raise Problem(Kind.NOT_FOUND, f"the template {printable(name)} has no version {version}")
        raise not_found(name)
    return Version(
        template_id=row.template_id,
        tenant=row.tenant,
        name=row.name,
        version=row.version,
        latest=row.latest,
        created_at=row.created_at,
        written=Written(row.subject, row.text, row.html, row.missing),
    )


def latest(db: Connection, tenant_id: int, name: str) -> tuple[int, int] | None:
    """The id of a template, and the number of its newest version."""
    row = db.execute(_latest, {"tenant_id": tenant_id, "name": name}).one_or_none()
    return None if row is None else (row.id, row.version)


class HotTemplates(HotRow):
    """SQLite: the same on the loop's own thread."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, _latest)

    def latest(self, tenant_id: int, name: str) -> tuple[int, int] | None:
        row = self.find({"tenant_id": tenant_id, "name": name})
        return None if row is None else (row[0], row[1])


def listed(db: Connection, asked: Asked, *, tenant_id: int | None = None) -> Page[Named]:
    """In the order in which they were made; None: everyone's."""
    which = _named if tenant_id is None else _named.where(templates.c.tenant_id == tenant_id)
    return page(db, which, templates.c.id, asked, lambda row: Named(*tuple(row)))


def history(db: Connection, asked: Asked, tenant_id: int, name: str) -> Page[Past]:
    """The versions that are kept, the oldest first. Raises Problem(NOT_FOUND)."""
    found = latest(db, tenant_id, name)
    if found is None:
        raise not_found(name)
    which = select(versions.c.version, versions.c.subject, versions.c.created_at)
    theirs = which.where(versions.c.template_id == found[0])
    return page(db, theirs, versions.c.version, asked, lambda row: Past(*tuple(row)))
