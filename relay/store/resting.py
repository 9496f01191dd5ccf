"""The content of messages as it rests: sealed, part by part."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from relay.store.schema import contents


def sealed_parts(db: Connection, message_ids: Sequence[int]) -> dict[int, list[bytes]]:
    """Of each message its parts in order; none where it was destroyed. For small ones: all of it is in memory."""
    found: dict[int, list[bytes]] = {each: [] for each in message_ids}
    for message_id, sealed in db.execute(
        select(contents.c.message_id, contents.c.sealed)
        .where(contents.c.message_id.in_(message_ids))
        .order_by(contents.c.message_id, contents.c.part)
    ):
        found[message_id].append(sealed)
    return found
