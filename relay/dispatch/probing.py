"""Which mail may show that a stop is over, and when it may be tried."""

from __future__ import annotations

from collections.abc import Sequence

from relay.dispatch.stops import Stops
from relay.dispatch.turns import Room, Share, Turns
from relay.routing.standing import ACCOUNT


def probes(turns: Turns, stops: Stops, key: str, now: int) -> Sequence[Share]:
    """One delivery of the stopped domain; or, for the account, of any whose own stop it would not be.

    `now` in milliseconds since 1970.
    """
    if not stops.is_held(key):  # it ended while another was probed
        return []
    if key != ACCOUNT:
        return [] if stops.is_closed(key) else turns.due_of(key, now)
    return turns.plan(now, Room(1, 1.0)) or turns.due_where(now, lambda domain: not stops.is_closed(domain))


def moments(turns: Turns, stops: Stops, now: float, wall: int) -> list[float]:
    """When stops with mail that could test them may be looked at, by the steady clock of `now`; `wall` is the same
    moment in milliseconds since 1970."""
    if stops.is_closed(ACCOUNT):
        return []
    stopped = stops.by_ses()
    if (account := stopped.get(ACCOUNT)) is not None:
        if account.is_probed:
            return []
        if account.until > now:
            return [account.until]
        first = turns.first_due_where(lambda domain: not stops.is_closed(domain))
        return [] if first is None else [now + (first - wall) / 1000]
    return [
        max(stop.until, now + (due - wall) / 1000)
        for domain, stop in stopped.items()
        if not stop.is_probed and not stops.is_closed(domain) and (due := turns.first_due(domain))
    ]
