"""Whether a tenant sends well enough to go on: what is counted, and what follows from the counts. Pure."""

from __future__ import annotations

from enum import Enum


class Level(Enum):
    """How a tenant stands by what became of its mail, from good to bad."""

    GOOD = "good"
    WARNED = "warned"
    SLOWED = "slowed"
    SUSPENDED = "suspended"
