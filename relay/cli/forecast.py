"""When a message that waits will be tried, as far as a command can know: the server knows the account's live rate."""

from __future__ import annotations

from relay.config import Settings
from relay.delivery import State
from relay.message import Stream
from relay.store import listing
from relay.store.beside import with_database
from relay.store.clock import now_ms
from relay.store.directory.snapshot import Snapshot
from relay.store.listing import MessageView


def forecast(settings: Settings, directory: Snapshot, found: MessageView) -> tuple[int | None, int | None]:
    """How many deliveries of its queue go before the first of a message, and when that would go at the account's
    configured rate, in milliseconds since 1970. None where nothing of it waits, or its domain is not known here."""
    domain = directory.domains.get(found.domain)
    waiting = [(each.due_at or 0, each.id) for each in found.deliveries if each.state == State.QUEUED.value]
    if domain is None or not waiting:
        return None, None
    due_at, delivery_id = min(waiting)
    queue = (found.domain, Stream(found.stream))
    ahead = with_database(settings, lambda db, _: listing.ahead(db, queue, delivery_id, due_at))
    seconds = ahead / directory.accounts[domain.account].rate
    return ahead, max(due_at, now_ms() + round(1000 * seconds))
