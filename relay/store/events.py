"""What happened to messages, domains, accounts and tenants: rows that are only added, oldest first.

Whoever is to be told of an event over HTTP gets it into the outbox in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, select, update

from relay.declared import DEFAULT_TENANT
from relay.message import Ids
from relay.store.clock import clock
from relay.store.hooks import Hooks, hooks_of
from relay.store.rows import put
from relay.store.schema import UNTOLD, domains, events, ses_accounts, tenants, webhook_posts

TOGETHER = 500  # events told at once that commands wrote down
_ids = Ids()
_post_ids = Ids()
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `type`: its noun and what became of it, such as account.held.

    `data` is JSON for whoever may see the tenant's things: never content, a secret or an address. `letter` is what only
    webhooks are told besides, sealed until they are: of a message its facts, and the addresses it is about; of mail
    without one they are not told. `sealed`:
    what nobody here understood, as it came. `at`: when it happened, in milliseconds since 1970; None: now.
    """

    type: str
    account: str | None = None
    domain: str | None = None
    tenant_id: int | None = None
    message_id: int | None = None
    data: Json = field(default_factory=dict)
    letter: Json | None = field(default=None, repr=False)
    sealed: bytes | None = field(default=None, repr=False)
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """An event as it is kept; `at` in milliseconds since 1970."""

    id: int
    at: int
    event: Event


def note(db: Connection, items: Sequence[Event]) -> None:
    """Write events down, in the transaction of what they are about. A domain's are its tenant's."""
    if not items:
        return
    now, hooks = clock(db), hooks_of(db)
    happened = [Happened(_ids.next(), now if each.at is None else each.at, each) for each in _with_owners(db, items)]
    put(
        db,
        events,
        [
            {
                "id": each.id,
                "at": each.at,
                "type": each.event.type,
                "tenant_id": each.event.tenant_id,
                "account": each.event.account,
                "domain": each.event.domain,
                "message_id": each.event.message_id,
                "data": json.dumps(dict(each.event.data)),
                "sealed": each.event.sealed,
                "untold": hooks is None,
            }
            for each in happened
        ],
    )
    if hooks:
        _tell(db, hooks, happened, now)


def _with_owners(db: Connection, items: Sequence[Event]) -> Sequence[Event]:
    named = sorted({each.domain for each in items if each.domain is not None and each.tenant_id is None})
    if not named:
        return items
    rows = db.execute(select(domains.c.name, domains.c.tenant_id).where(domains.c.name.in_(named)))
    owners = {row.name: row.tenant_id for row in rows}
    return [
        each if each.tenant_id is not None or each.domain is None else replace(each, tenant_id=owners.get(each.domain))
        for each in items
    ]


# -- telling ---------------------------------------------------------------------------------------------------------


def _tell(db: Connection, hooks: Hooks, happened: Sequence[Happened], now: int) -> None:
    """Into the outbox, a row for each hook that wants one of them."""
    readers = _readers(db, happened)
    rows = []
    for each in happened:
        tenant_id = readers.get(each.id)
        if tenant_id is None:
            continue
        event = each.event
        if event.message_id is not None and event.letter is None:  # mail of the relay's own
            continue
        if wanting := hooks.wanting(tenant_id, event.type, event.domain):
            sealed = hooks.seal(facts(each))
            rows += [
                {
                    "id": _post_ids.next(),
                    "webhook_id": hook,
                    "event_id": each.id,
                    "type": event.type,
                    "at": each.at,
                    "message_id": event.message_id,
                    "sealed": sealed,
                    "attempts": 0,
                    "due_at": now,
                    "created_at": now,
                }
                for hook in wanting
            ]
    put(db, webhook_posts, rows)


def facts(happened: Happened) -> dict[str, Any]:
    """What a webhook is rendered from. `message` and `recipients` where it is about mail."""
    event = happened.event
    told: dict[str, Any] = {
        "id": happened.id,
        "type": event.type,
        "at": happened.at,
        "account": event.account,
        "domain": event.domain,
        "data": dict(event.data),
    }
    return told | dict(event.letter or {})


def _readers(db: Connection, happened: Sequence[Happened]) -> dict[int, int]:
    """Whose hooks an event is for: its tenant's, its account's owner's, else those of the operator's default tenant."""
    found = {each.id: each.event.tenant_id for each in happened if each.event.tenant_id is not None}
    left = [each for each in happened if each.event.tenant_id is None]
    if not left:
        return found
    default = db.scalars(select(tenants.c.id).where(tenants.c.name == DEFAULT_TENANT)).one()
    owners: dict[str, int | None] = dict(db.execute(select(ses_accounts.c.name, ses_accounts.c.tenant_id)).all())
    return found | {each.id: owners.get(each.event.account or "") or default for each in left}


def tell_left(db: Connection, items: Sequence[None]) -> Sequence[int]:
    """Tell of what commands wrote down beside the server. Returns how many events that were: TOGETHER at most."""
    hooks = hooks_of(db)
    assert hooks is not None  # a server's transaction
    return [_tell_left(db, hooks) for _ in items]


def _tell_left(db: Connection, hooks: Hooks) -> int:
    # Another server is told of the same change in the same second: what it has in hand, it tells.
    left = select(events).where(UNTOLD).order_by(events.c.id).limit(TOGETHER).with_for_update(skip_locked=True)
    rows = db.execute(left).all()
    if rows:
        _tell(db, hooks, [_happened(row) for row in rows], clock(db))
        db.execute(update(events).where(events.c.id.in_([row.id for row in rows])).values(untold=False))
    return len(rows)


# -- reading ---------------------------------------------------------------------------------------------------------


def of_account(db: Connection, account: str, most: int = 100) -> list[Happened]:
    """The newest events of an account and its domains, oldest first."""
    rows = db.execute(select(events).where(events.c.account == account).order_by(events.c.id.desc()).limit(most)).all()
    return [_happened(row) for row in reversed(rows)]


def _happened(row: Any) -> Happened:
    event = Event(
        row.type, row.account, row.domain, row.tenant_id, row.message_id, json.loads(row.data), sealed=row.sealed
    )
    return Happened(row.id, row.at, event)
