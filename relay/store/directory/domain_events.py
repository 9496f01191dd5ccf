"""What whoever owns a domain is told of changes to it: it may send now, or may not any more, or goes another way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from relay.declared import DomainStatus
from relay.store.events import Event, note
from relay.store.schema import ses_accounts

_TOLD = {DomainStatus.VERIFIED.value: "domain.verified", DomainStatus.FAILED.value: "domain.failed"}


def note_changes(db: Connection, name: str, tenant_id: int, account_id: int, changed: Mapping[str, Any]) -> None:
    """In the transaction of the change. `account_id`: of the account it went through until now."""
    found = []
    if (type := _TOLD.get(changed.get("status", ""))) is not None:
        found.append(Event(type, domain=name, tenant_id=tenant_id))
    if (account := changed.get("account_id")) is not None:
        ids = [account_id, account]
        rows = db.execute(select(ses_accounts.c.id, ses_accounts.c.name).where(ses_accounts.c.id.in_(ids)))
        names = {row.id: row.name for row in rows}
        data = {"from": names.get(account_id), "to": names.get(account)}
        found.append(Event("account.switched", account=names.get(account), domain=name, tenant_id=tenant_id, data=data))
    note(db, found)
