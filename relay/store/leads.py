"""A report in the making: what there is to tell of a message, how that rests, and the mail that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from relay.delivery import State
from relay.errors import Problem
from relay.message import Address, Addressee, Dsn, Ids, Mode, Options, Stream, new_public_id
from relay.sealing import Sealer, SealingError
from relay.store import resting
from relay.store.arriving import NewDelivery, NewMessage
from relay.store.fates import Action, Fate, Notice
from relay.store.schema import contents

PROTOCOL = "report"  # how these messages came in
FULL_AT_MOST = 1 << 20  # octets of a message that is returned whole
SMALL = 64 << 10  # octets of a message that is read together with others
_ids = Ids()


@dataclass(frozen=True, slots=True)
class Lead:
    """What there is to tell of one message, and to whom; to nobody where its sender is no address."""

    row: Row[Any]
    fates: Sequence[Fate]
    sender: Address | None
    address_hash: bytes
    is_whole: bool  # whether the message goes back with it, and not its header alone


def lead_of(sealer: Sealer, row: Row[Any], fates: Sequence[Fate]) -> Lead:
    # RET is about failure (RFC 3461 section 4.3).
    is_whole = row.ret == "full" and row.size <= FULL_AT_MOST and any(each.action is Action.FAILED for each in fates)
    try:
        sender = Address.parse(row.mail_from)
    except Problem:
        return Lead(row, fates, None, b"", is_whole)
    return Lead(row, fates, sender, sealer.hash_address(sender.folded), is_whole)


def small_contents(db: Connection, leads: Sequence[Lead]) -> dict[int, list[bytes]]:
    """The sealed content of small messages, by message."""
    return resting.sealed_parts(db, [lead.row.message_id for lead in leads if lead.row.size <= SMALL])


def sealed_parts(db: Connection, lead: Lead, small: Mapping[int, Sequence[bytes]]) -> tuple[Sequence[bytes], int]:
    """The content's sealed parts, of a large one that is not wanted whole the first; and how many there are."""
    if (parts := small.get(lead.row.message_id)) is not None:
        return parts, len(parts)
    theirs = contents.c.message_id == lead.row.message_id
    count = db.scalar(select(func.count()).select_from(contents).where(theirs)) or 0
    query = select(contents.c.sealed).where(theirs).order_by(contents.c.part)
    return list(db.scalars(query if lead.is_whole else query.limit(1))), count


def opened(sealer: Sealer, row: Row[Any], sealed: Sequence[bytes], count: int) -> bytes | None:
    """None where it was damaged, or destroyed: its sender is to know all the same."""
    if row.wrapped_key is None or not sealed:
        return None
    try:
        opener = sealer.opener(row.message_id, row.wrapped_key, count)
        return b"".join(opener.part(number, part) for number, part in enumerate(sealed))
    except SealingError:
        return None


def notice_of(lead: Lead, original: bytes | None, now: int) -> Notice:
    row = lead.row
    assert lead.sender is not None
    return Notice(
        public_id=new_public_id(),
        about=row.public_id,
        sender=lead.sender,
        domain=row.domain,
        at=now,
        arrived_at=row.accepted_at,
        rfc_message_id=row.rfc_message_id,
        envid=row.envid,
        original=original,
        is_whole=lead.is_whole,
        fates=tuple(lead.fates),
    )


def message_of(sealer: Sealer, lead: Lead, notice: Notice, composed: bytes) -> NewMessage:
    """A report is mail like any other, to one recipient, of which nothing is kept and nothing reported."""
    message_id = _ids.next()
    wrapped_key, parts = sealer.seal(message_id, composed)
    delivery = NewDelivery(_ids.next(), ((_ids.next(), Addressee(notice.sender), lead.address_hash),))
    row = lead.row
    return NewMessage(
        id=message_id,
        public_id=notice.public_id,
        tenant_id=row.tenant_id,
        key_id=None,
        protocol=PROTOCOL,
        domain=row.domain,
        mode=Mode(row.mode),
        stream=Stream.TRANSACTIONAL,
        mail_from=None,
        header_from=f"postmaster@{row.domain}",
        subject=None,
        rfc_message_id=f"<{notice.public_id}@{row.domain}>",
        ledger="[]",
        size=len(composed),
        accepted_at=notice.at,
        wrapped_key=wrapped_key,
        parts=tuple(parts),
        keep_until=None,
        due_at=notice.at,
        state=State.QUEUED,
        deliveries=(delivery,),
        dsn=Dsn(),
        options=Options(),
        forgets=row.forgets,
        about=row.message_id,
    )
