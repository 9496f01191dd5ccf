"""The room of one HTTP listener: who may come in, and how long they are waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay import log
from relay.http.proxies import Proxies
from relay.routing.admission import Admission, Crowded

if TYPE_CHECKING:
    from relay.http.connection import Connection

MOST = 1000  # connections, where nobody says otherwise
MOST_OF_ONE = 200
# Places in front of those, for clients that are told that there is none; who finds these taken is cut off unheard.
SPARE = 64
SPARE_OF_ONE = 16
WATCH_EVERY = 1.0  # seconds: how exact deadlines are


class Hall:
    """One per listener."""

    def __init__(self, most: int, most_of_one: int, proxies: Proxies) -> None:
        """`most` connections at once, and `most_of_one` address; all clients of a proxy come from one."""
        self.admission = Admission(most, most_of_one)
        self.connections: set[Connection] = set()
        self._turned_away = Admission(SPARE, SPARE_OF_ONE)
        self._proxies = proxies
        self._is_crowded = False

    def enter(self, peer: str) -> Place | None:
        """A place for a new connection; None where there is not even one to tell it so."""
        is_proxy = self._proxies.trusts(peer)
        crowded = self.admission.enter(peer, is_trusted=is_proxy)
        if crowded is None or (is_proxy and crowded is Crowded.TOO_MANY_OF_YOURS):
            return Place(self, peer, None)
        self.admission.leave(peer)  # or those who are told so would take the places of those who need not be
        if self._turned_away.enter(peer, is_trusted=True) is None:
            return Place(self, peer, crowded)
        self._turned_away.leave(peer)
        return None

    def leave(self, place: Place) -> None:
        (self.admission if place.crowded is None else self._turned_away).leave(place.peer)

    async def watch(self) -> None:
        """For ever: let go of clients that take too long, sooner when there is little room for others."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_EVERY)
            self.look(loop.time())

    def look(self, now: float) -> None:
        is_crowded = self.admission.is_nearly_full
        if is_crowded != self._is_crowded:
            self._is_crowded = is_crowded
            log.event("http.crowded" if is_crowded else "http.relieved", connections=self.admission.count)
        for connection in list(self.connections):
            connection.expire(now, is_crowded=is_crowded)


class Place:
    """What one connection takes of the room until it leaves. `crowded`: why it cannot stay."""

    def __init__(self, hall: Hall, peer: str, crowded: Crowded | None) -> None:
        self.peer = peer
        self.crowded = crowded
        self._hall = hall
        self._is_known = self._is_left = False

    def remember(self) -> None:
        """Whoever is there has authenticated."""
        if not self._is_known:
            self._is_known = True
            self._hall.admission.remember(self.peer)

    def leave(self) -> None:
        if not self._is_left:
            self._is_left = True
            self._hall.leave(self)
