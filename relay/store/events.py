"""What happened to messages, domains, accounts and tenants: rows that are only added, oldest first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from relay.message import Ids
from relay.store.clock import clock
from relay.store.rows import put
from relay.store.schema import domains, events

_ids = Ids()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `type`: its noun and what became of it, such as account.held.

    `data` is JSON for whoever is told: never content, a secret or an address.
    """

    type: str
    account: str | None = None
    domain: str | None = None
    tenant_id: int | None = None
    message_id: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Happened:
    """An event as it is kept; `at` in milliseconds since 1970."""

    id: int
    at: int
    event: Event


def note(db: Connection, items: Sequence[Event]) -> None:
    """Write events down, in the transaction of what they are about. A domain's are its tenant's."""
    now = clock(db)
    named = sorted({each.domain for each in items if each.domain is not None and each.tenant_id is None})
    owners: dict[str, int] = {}
    if named:
        rows = db.execute(select(domains.c.name, domains.c.tenant_id).where(domains.c.name.in_(named)))
        owners = {row.name: row.tenant_id for row in rows}
    put(
        db,
        events,
        [
            {
                "id": _ids.next(),
                "at": now,
                "type": each.type,
                "tenant_id": each.tenant_id if each.tenant_id is not None else owners.get(each.domain or ""),
                "account": each.account,
                "domain": each.domain,
                "message_id": each.message_id,
                "data": json.dumps(dict(each.data)),
            }
            for each in items
        ],
    )


def of_account(db: Connection, account: str, most: int = 100) -> list[Happened]:
    """The newest events of an account and its domains, oldest first."""
    rows = db.execute(select(events).where(events.c.account == account).order_by(events.c.id.desc()).limit(most)).all()
    return [
        Happened(
            row.id,
            row.at,
            Event(row.type, row.account, row.domain, row.tenant_id, row.message_id, json.loads(row.data)),
        )
        for row in reversed(rows)
    ]
