"""The account's suppression list in one region. Kept and shown; it stops no mail in the sandbox."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from relay.sandbox.refusals import Refusal

REASONS = ("BOUNCE", "COMPLAINT")
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Suppressed:
    """An address that gets no mail. SES keeps the case of its local part, not that of its domain."""

    address: str
    reason: str
    updated_at: datetime


class SuppressionList:
    """By address, in the order of addresses."""

    def __init__(self) -> None:
        self._held: dict[str, Suppressed] = {}
        self._order: list[str] = []

    def put(self, address: str, reason: str, now: datetime) -> None:
        """Add an address, or change its reason. Raises Refusal when the list is full."""
        address = _key(address)
        if address not in self._held:
            if len(self._held) >= _MOST:
                raise Refusal("LimitExceededException", f"The sandbox suppresses at most {_MOST} addresses.")
            insort(self._order, address)
        self._held[address] = Suppressed(address, reason, now)

    def find(self, address: str) -> Suppressed:
        """Raises Refusal."""
        found = self._held.get(_key(address))
        if found is None:
            text = f"Email address {address} does not exist on your suppression list."
            raise Refusal("NotFoundException", text)
        return found

    def delete(self, address: str) -> None:
        """Raises Refusal."""
        key = self.find(address).address
        del self._held[key]
        del self._order[bisect_left(self._order, key)]

    def page(
        self, after: str, size: int, is_wanted: Callable[[Suppressed], bool]
    ) -> tuple[list[Suppressed], str | None]:
        """Up to `size` after that address; and the address to go on after, None at the end."""
        wanted: list[Suppressed] = []
        for index in range(bisect_right(self._order, after), len(self._order)):
            suppressed = self._held[self._order[index]]
            if is_wanted(suppressed):
                if len(wanted) == size:
                    return wanted, wanted[-1].address
                wanted.append(suppressed)
        return wanted, None


def _key(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}"
