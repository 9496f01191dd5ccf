"""Watches the room on the disk that holds the database, so that mail is refused before it is sent and not after."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from relay import log
from relay.errors import Kind, Problem

LOOK_EVERY = 1.0  # seconds
MESSAGES = 1.5  # largest messages that must fit (SMTP fact 1.3: Postfix)
INODES = 0.05  # of all (SMTP fact 1.3: OpenSMTPD)


class Disk:
    """One per server. `folder` None: the database is elsewhere, and nothing is watched."""

    def __init__(
        self,
        folder: Path | None,
        largest: int,
        look: Callable[[Path], os.statvfs_result] = os.statvfs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._needed = int(largest * MESSAGES)
        self._look = look
        self._clock = clock
        self._looked_at = float("-inf")
        self._lack = ""

    @property
    def lack(self) -> str:
        """What there is too little of; "" where there is enough."""
        now = self._clock()
        if self._folder is not None and now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            lack = self._lacking(self._folder)
            if lack and not self._lack:
                log.trouble("disk.nearly_full", lack=lack, needed=self._needed)
            elif self._lack and not lack:
                log.event("disk.has_room")
            self._lack = lack
        return self._lack

    def require_room(self) -> None:
        """Raises Problem(STORAGE_FULL)."""
        if self.lack:
            raise Problem(Kind.STORAGE_FULL)

    def _lacking(self, folder: Path) -> str:
        try:
            found = self._look(folder)
        except OSError as exc:  # the next write will say more
            log.trouble("disk.unknown", exc)
            return ""
        if found.f_bavail * found.f_frsize < self._needed:
            return "space"
        # Some file systems make inodes as they go and say 0.
        return "inodes" if found.f_files and found.f_favail < INODES * found.f_files else ""
