"""The mailbox simulator: what becomes of a recipient.

SES developer guide, "Using the mailbox simulator". Labels (`bounce+x@`) are ignored; any other recipient is delivered.
"""

from __future__ import annotations

from enum import Enum

DOMAIN = "simulator.amazonses.com"


class Outcome(Enum):
    """What becomes of a recipient. Complaints and out-of-office replies follow a delivery."""

    DELIVERED = "success"
    BOUNCED = "bounce"
    COMPLAINED = "complaint"
    AWAY = "ooto"
    SUPPRESSED = "suppressionlist"


_BY_LOCAL = {outcome.value: outcome for outcome in Outcome}


def is_simulator(address: str) -> bool:
    """Whether it is a simulator address: rate limited, but free of the daily quota and of the account's sandbox."""
    return address.rpartition("@")[2].lower() == DOMAIN


def outcome_of(address: str) -> Outcome:
    if not is_simulator(address):
        return Outcome.DELIVERED
    local = address.partition("@")[0].partition("+")[0].lower()
    return _BY_LOCAL.get(local, Outcome.DELIVERED)
