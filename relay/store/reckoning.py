"""Counts what the queue itself makes of recipients: those SES took, those given up, those suppressed while they waited.

Called in the transaction that moves them, before it does. The relay's own reports are nobody's mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, case, func, select

from relay.delivery import RecipientState
from relay.message import Mode
from relay.store.schema import deliveries, messages, recipients
from relay.store.standings import Counted, count
from relay.store.tallies import Tallied, tally

SIMULATOR = "@simulator.amazonses.com"  # its mail counts towards nobody's standing
_IDS: BindParameter[Any] = bindparam("_ids", expanding=True)
_pretended = case((func.lower(recipients.c.address).like(f"%{SIMULATOR}"), 1), else_=0)
_waiting = (
    select(messages.c.tenant_id, messages.c.mode, messages.c.domain, messages.c.stream, messages.c.tag)
    .add_columns(func.count().label("people"), func.sum(_pretended).label("pretended"))
    .select_from(recipients)
    .join(deliveries, deliveries.c.id == recipients.c.delivery_id)
    .join(messages, messages.c.id == deliveries.c.message_id)
    .where(recipients.c.delivery_id.in_(_IDS), recipients.c.state == "queued", messages.c.about.is_(None))
    .group_by(messages.c.tenant_id, messages.c.mode, messages.c.domain, messages.c.stream, messages.c.tag)
)


def reckon(
    db: Connection, delivery_ids: Sequence[int], state: RecipientState, now: int, only: Sequence[str] | None = None
) -> None:
    """The recipients of these that still wait come to `state` now; `only`: those with these addresses."""
    which = _waiting if only is None else _waiting.where(recipients.c.address.in_(only))
    rows = db.execute(which, {"_ids": list(delivery_ids)}).all()
    tally(
        db,
        [Tallied(row.tenant_id, now, row.domain, row.stream, row.tag or "", state.value, row.people) for row in rows],
    )
    if state is RecipientState.SENT:
        count(db, [Counted(row.tenant_id, Mode(row.mode), now, row.people - int(row.pretended)) for row in rows])
