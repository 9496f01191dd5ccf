"""The mail the sandbox has accepted, held in memory and bounded."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice


@dataclass(frozen=True, slots=True)
class Captured:
    """One accepted SendEmail call. `raw` is what the caller sent; `recipients` is the envelope."""

    id: str
    account: str
    region: str
    recipients: tuple[str, ...]
    tags: Mapping[str, str]
    configuration_set: str | None
    raw: bytes
    received_at: datetime
    tracking: Mapping[str, str] = field(default_factory=dict)  # as ConfigurationOverrides.Tracking had it
    sender: str = ""

    def as_json(self) -> str:
        """The shape that GET /messages shows."""
        return json.dumps(
            {
                "id": self.id,
                "account": self.account,
                "region": self.region,
                "recipients": self.recipients,
                "tags": dict(self.tags),
                "configuration_set": self.configuration_set,
                "raw": base64.b64encode(self.raw).decode("ascii"),
                "received_at": stamp(self.received_at),
                "tracking": dict(self.tracking),
            }
        )


class Mailbox:
    """The last so many messages or bytes, oldest dropped first."""

    def __init__(self, max_messages: int = 100_000, max_bytes: int = 1_000_000_000) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._held: deque[Captured] = deque()
        self._serials: dict[str, int] = {}
        self._first = 0  # the serial of the oldest one held
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, captured: Captured) -> None:
        self._serials[captured.id] = self._first + len(self._held)
        self._held.append(captured)
        self._bytes += len(captured.raw)
        while len(self._held) > self._max_messages or (self._bytes > self._max_bytes and len(self._held) > 1):
            oldest = self._held.popleft()
            self._bytes -= len(oldest.raw)
            self._first += 1
            del self._serials[oldest.id]

    def find(self, id: str) -> Captured | None:
        serial = self._serials.get(id)
        return None if serial is None else self._held[serial - self._first]

    def after(self, id: str = "") -> list[Captured]:
        """What came after that message, newest last. An id no longer held is older than everything held."""
        serial = self._serials.get(id)
        return list(self._held) if serial is None else list(islice(self._held, serial - self._first + 1, None))

    def before(self, id: str = "", limit: int = 100) -> list[Captured]:
        """What came before that message, newest first: for reading backwards. An unknown id is the end."""
        end = self._serials.get(id, self._first + len(self._held)) - self._first
        return [self._held[index] for index in range(end - 1, max(-1, end - 1 - limit), -1)]

    def clear(self) -> None:
        self._first += len(self._held)
        self._held.clear()
        self._serials.clear()
        self._bytes = 0


def stamp(moment: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
