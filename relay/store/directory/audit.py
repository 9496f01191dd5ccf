"""Who changed what, and when: a row for every change of the directory, in the change's own transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from relay.errors import Kind, Problem
from relay.message import Ids
from relay.store.clock import clock
from relay.store.directory.installation import bump
from relay.store.schema import audit

_ids = Ids()


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose word something changes: a key by its prefix, a command by its user, the file, or Relay itself.

    `is_operator`: what is the operator's to decide may be changed, too.
    """

    name: str
    request_id: str | None = None
    is_file: bool = False
    is_operator: bool = False

    def require_free(self, what: str, is_declared: bool) -> None:
        """Raises Problem(CONFLICT) for a row that the configuration file owns, unless it is the file that speaks."""
        if is_declared and not self.is_file:
            raise Problem(Kind.CONFLICT, f"{what} is declared in the configuration file: change it there")


FILE = Actor("file", is_file=True, is_operator=True)
RELAY = Actor("relay", is_operator=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `changes`: field -> [before, after]."""

    id: int
    at: int
    actor: str
    action: str
    target: str
    tenant_id: int | None
    changes: Mapping[str, Any]
    request_id: str | None


def record(
    db: Connection,
    actor: Actor,
    action: str,
    target: str,
    *,
    tenant_id: int | None,
    changes: Mapping[str, Any] | None = None,
    is_seen: bool = True,
) -> None:
    """Write down a change, in its transaction. `is_seen`: servers hold it in memory and have to look again."""
    db.execute(
        insert(audit).values(
            id=_ids.next(),
            at=clock(db),
            actor=actor.name,
            action=action,
            target=target,
            tenant_id=tenant_id,
            changes=json.dumps(dict(changes or {}), default=str),
            request_id=actor.request_id,
        )
    )
    if is_seen:
        bump(db)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The fields that change, each with what it was and what it becomes."""
    return {
        name: [before.get(name), value] for name, value in after.items() if name not in before or before[name] != value
    }


def entries(db: Connection, *, target: str | None, tenant_id: int | None, limit: int) -> list[Entry]:
    """The newest changes first, of one target or tenant if named."""
    which = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if target is not None:
        which = which.where(audit.c.target == target)
    if tenant_id is not None:
        which = which.where(audit.c.tenant_id == tenant_id)
    return [
        Entry(row.id, row.at, row.actor, row.action, row.target, row.tenant_id, json.loads(row.changes), row.request_id)
        for row in db.execute(which)
    ]
