"""An SQS standard queue in memory: bounded, with visibility timeouts and long polling. Knows no wire format.

Moments are seconds of a monotonic clock, spans are seconds.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import heapq
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from relay.sandbox.refusals import Refusal

_STALE = 1_000  # expiries that no longer count, and may be kept


@dataclass(slots=True)
class Item:
    """A message of the queue. `receives` counts how often it was handed out."""

    id: str
    body: str
    sent_at: float  # seconds since the epoch
    receives: int = 0
    first_received_at: float = 0.0  # seconds since the epoch

    @property
    def receipt(self) -> str:
        """The handle of the latest receive; an earlier one no longer deletes the message."""
        return base64.urlsafe_b64encode(f"{self.id}#{self.receives}".encode()).decode("ascii")


@dataclass(frozen=True, slots=True)
class Redrive:
    """What is received so many times, and not deleted, is buried instead of being handed out once more."""

    after: int
    bury: Callable[[Item], None]


class Queue:
    """Hands messages out, and again when they were not deleted in time."""

    def __init__(self, max_items: int = 100_000, max_characters: int = 500_000_000) -> None:
        self._max_items = max_items
        self._max_characters = max_characters
        self._characters = 0
        self._visible: OrderedDict[str, Item] = OrderedDict()
        self._in_flight: dict[str, Item] = {}
        self._expiries: list[tuple[float, str, int]] = []  # a heap: when, id, the receive it belongs to
        self._until: dict[str, float] = {}  # by id: the expiry that counts, others in the heap are stale
        self._waiting: set[asyncio.Future[None]] = set()
        self.redrive: Redrive | None = None

    def put(self, body: str) -> str:
        """Add a message, and say its id; the oldest gives way when the queue is full."""
        item = Item(str(uuid4()), body, time.time())
        self.add(item)
        return item.id

    def add(self, item: Item) -> None:
        """Put a message that was in another queue: it keeps its id and its age."""
        self._visible[item.id] = item
        self._characters += len(item.body)
        while self._visible and self._is_full():
            _, oldest = self._visible.popitem(last=False)
            self._characters -= len(oldest.body)
        self._wake()

    def receive(self, limit: int, visibility: float) -> list[Item]:
        """Up to `limit` messages, invisible to others for the span."""
        now = time.monotonic()
        self._release(now)
        items: list[Item] = []
        while self._visible and len(items) < limit:
            _, item = self._visible.popitem(last=False)
            if self.redrive is not None and item.receives >= self.redrive.after:
                self._characters -= len(item.body)
                self.redrive.bury(item)
                continue
            item.receives += 1
            item.first_received_at = item.first_received_at or time.time()
            self._in_flight[item.id] = item
            self._hide(item, now + visibility)
            items.append(item)
        return items

    async def arrival(self, span: float) -> None:
        """Return as soon as there is something to receive, after the span at the latest."""
        until = time.monotonic() + span
        while True:
            now = time.monotonic()
            self._release(now)
            if self._visible or now >= until:
                return
            wake_at = min(until, self._expiries[0][0]) if self._expiries else until
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            try:
                await asyncio.wait({waiting}, timeout=wake_at - now)
            finally:
                self._waiting.discard(waiting)

    def delete(self, receipt: str) -> None:
        """Remove a received message. A stale handle succeeds and does nothing, as in SQS; Refusal for a made-up one."""
        id, receive = _read_receipt(receipt)
        for place in (self._in_flight, self._visible):
            item = place.get(id)
            if item is not None and item.receives == receive:
                del place[id]
                self._until.pop(id, None)
                self._characters -= len(item.body)

    def change_visibility(self, receipt: str, span: float) -> None:
        """From now on so long. Raises Refusal for a made-up handle, and when the message is not in flight."""
        id, receive = _read_receipt(receipt)
        now = time.monotonic()
        self._release(now)
        item = self._in_flight.get(id)
        if item is None or item.receives != receive:
            raise Refusal("MessageNotInflight")
        self._hide(item, now + span)
        self._release(now)
        self._wake()  # who sleeps until the next expiry looks again

    def purge(self) -> None:
        for place in (self._visible, self._in_flight, self._expiries, self._until):
            place.clear()
        self._characters = 0

    def counts(self) -> tuple[int, int]:
        """How many messages are visible, and how many in flight."""
        self._release(time.monotonic())
        return len(self._visible), len(self._in_flight)

    def _is_full(self) -> bool:
        return len(self._visible) + len(self._in_flight) > self._max_items or self._characters > self._max_characters

    def _hide(self, item: Item, until: float) -> None:
        self._until[item.id] = until
        heapq.heappush(self._expiries, (until, item.id, item.receives))
        if len(self._expiries) > 2 * len(self._in_flight) + _STALE:
            held = self._in_flight
            self._expiries = [(at, id, held[id].receives) for id, at in self._until.items()]
            heapq.heapify(self._expiries)

    def _release(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            until, id, receive = heapq.heappop(self._expiries)
            item = self._in_flight.get(id)
            if item is not None and item.receives == receive and self._until[id] == until:
                self._visible[id] = self._in_flight.pop(id)
                del self._until[id]

    def _wake(self) -> None:
        for waiting in self._waiting:  # all of them: who finds nothing left waits on
            if not waiting.done():
                waiting.set_result(None)


def _read_receipt(receipt: str) -> tuple[str, int]:
    try:
        id, _, receives = base64.urlsafe_b64decode(receipt).decode("ascii").rpartition("#")
        return id, int(receives)
    except (binascii.Error, ValueError):
        raise Refusal("ReceiptHandleIsInvalid") from None
