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
from dataclasses import dataclass
from uuid import uuid4

from relay.sandbox.refusals import Refusal


@dataclass(slots=True)
class Item:
    """A message of the queue. `receives` counts how often it was handed out."""

    id: str
    body: str
    sent_at: float  # seconds since the epoch
    receives: int = 0

    @property
    def receipt(self) -> str:
        """The handle of the latest receive; an earlier one no longer deletes the message."""
        return base64.urlsafe_b64encode(f"{self.id}#{self.receives}".encode()).decode("ascii")


class Queue:
    """Hands messages out, and again when they were not deleted in time."""

    def __init__(self, max_items: int = 100_000) -> None:
        self._max_items = max_items
        self._visible: OrderedDict[str, Item] = OrderedDict()
        self._in_flight: dict[str, Item] = {}
        self._expiries: list[tuple[float, str, int]] = []  # a heap: when, id, the receive it belongs to
        self._waiting: set[asyncio.Future[None]] = set()

    def put(self, body: str) -> None:
        """Add a message; the oldest gives way when the queue is full."""
        item = Item(str(uuid4()), body, time.time())
        self._visible[item.id] = item
        if len(self._visible) + len(self._in_flight) > self._max_items:
            self._visible.popitem(last=False)
        for waiting in self._waiting:  # all of them: who finds nothing left waits on
            if not waiting.done():
                waiting.set_result(None)

    def receive(self, limit: int, visibility: float) -> list[Item]:
        """Up to `limit` messages, invisible to others for the span."""
        now = time.monotonic()
        self._release(now)
        items: list[Item] = []
        while self._visible and len(items) < limit:
            _, item = self._visible.popitem(last=False)
            item.receives += 1
            self._in_flight[item.id] = item
            heapq.heappush(self._expiries, (now + visibility, item.id, item.receives))
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
        try:
            id, _, receives = base64.urlsafe_b64decode(receipt).decode("ascii").rpartition("#")
            receive = int(receives)
        except (binascii.Error, ValueError):
            raise Refusal("ReceiptHandleIsInvalid") from None
        for place in (self._in_flight, self._visible):
            item = place.get(id)
            if item is not None and item.receives == receive:
                del place[id]

    def counts(self) -> tuple[int, int]:
        """How many messages are visible, and how many in flight."""
        self._release(time.monotonic())
        return len(self._visible), len(self._in_flight)

    def _release(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, id, receive = heapq.heappop(self._expiries)
            item = self._in_flight.get(id)
            if item is not None and item.receives == receive:
                self._visible[id] = self._in_flight.pop(id)
