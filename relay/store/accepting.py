"""Writes accepted messages: the row of each, its sealed content, its deliveries and their recipients, in one go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from relay.delivery import RecipientState, State
from relay.store import device_usage, idempotency, usage
from relay.store.announcing import announce_queued
from relay.store.arriving import NewMessage
from relay.store.clock import LEASE, clock, milliseconds
from relay.store.rows import put
from relay.store.schema import contents, deliveries, messages, recipients


@dataclass(frozen=True, slots=True)
class Together:
    """Messages that are there all or none. `once`: what makes the same request, made again, answered like this one."""

    messages: tuple[NewMessage, ...]
    once: idempotency.Once | None = None


def accept(db: Connection, items: Sequence[Together]) -> Sequence[idempotency.Answer | None]:
    """Write accepted messages. A delivery committed as SENDING has thereby durably started its first attempt.

    Returns None for each that was written; for one that is to be there once, and is there already, what was answered.
    """
    answers: list[idempotency.Answer | None] = [None] * len(items)
    if any(item.once is not None for item in items):
        answers = idempotency.remember(db, [item.once for item in items])
    _write(db, [new for item, answer in zip(items, answers, strict=True) if answer is None for new in item.messages])
    return answers


def _write(db: Connection, items: Sequence[NewMessage]) -> None:
    if not items:
        return
    put_messages(db, items)
    _count(db, items)
    announce_queued(db, items)


def put_messages(db: Connection, items: Sequence[NewMessage]) -> None:
    """Write messages, and count them towards nobody's quota: the relay's own are nobody's."""
    message_rows: list[dict[str, Any]] = []
    content_rows: list[dict[str, Any]] = []
    delivery_rows: list[dict[str, Any]] = []
    recipient_rows: list[dict[str, Any]] = []
    lease_ends = clock(db) + milliseconds(LEASE)
    for item in items:
        is_sending = item.state is State.SENDING
        message_rows.append(
            {
                "id": item.id,
                "public_id": item.public_id,
                "tenant_id": item.tenant_id,
                "key_id": item.key_id,
                "protocol": item.protocol,
                "domain": item.domain,
                "mode": item.mode.value,
                "stream": item.stream.value,
                "mail_from": item.mail_from,
                "header_from": item.header_from,
                "subject": item.subject,
                "rfc_message_id": item.rfc_message_id,
                "ledger": item.ledger,
                "ret": item.dsn.ret,
                "envid": item.dsn.envid,
                "tag": item.options.tag,
                "metadata": json.dumps(dict(item.options.metadata)) if item.options.metadata else None,
                "track_opens": item.options.track_opens,
                "track_clicks": item.options.track_clicks,
                "size": item.size,
                "accepted_at": item.accepted_at,
                "wrapped_key": item.wrapped_key,
                "keep_until": item.keep_until,
                "open_deliveries": len(item.deliveries),
                "forgets": item.forgets,
                "slim_at": item.slim_at,
                "about": item.about,
                "echo": item.echo,
            }
        )
        for part, sealed in enumerate(item.parts):
            content_rows.append({"message_id": item.id, "part": part, "sealed": sealed})
        for new in item.deliveries:
            delivery_rows.append(
                {
                    "id": new.id,
                    "message_id": item.id,
                    "domain": item.domain,
                    "stream": item.stream.value,
                    "state": item.state.value,
                    "attempts": int(is_sending),
                    "account": item.account,
                    "failures": 0,
                    "possible_duplicates": 0,
                    "first_due_at": item.due_at,
                    "due_at": lease_ends if is_sending else item.due_at,
                    "reports": new.reports.value,
                    "delay_at": new.delay_at,
                }
            )
            for row_id, addressee, address_hash in new.recipients:
                recipient_rows.append(
                    {
                        "id": row_id,
                        "delivery_id": new.id,
                        "address": str(addressee.address),
                        "address_hash": address_hash,
                        "field": addressee.field.value,
                        "state": RecipientState.QUEUED.value,
                        "updated_at": item.accepted_at,
                        "notify": addressee.notify,
                        "orcpt": addressee.orcpt,
                    }
                )
    put(db, messages, message_rows)
    put(db, contents, content_rows)
    put(db, deliveries, delivery_rows)
    put(db, recipients, recipient_rows)


def _count(db: Connection, items: Sequence[NewMessage]) -> None:
    usage.count(
        db,
        ((item.tenant_id, item.accepted_at, sum(len(new.recipients) for new in item.deliveries)) for item in items),
    )
    device_usage.count(
        db,
        (
            (item.key_id, item.accepted_at, sum(len(new.recipients) for new in item.deliveries))
            for item in items
            if item.is_capped and item.key_id is not None
        ),
    )
