"""The mailbox simulator: what becomes of a recipient.

SES developer guide, "Using the mailbox simulator". Labels (`bounce+x@`) are ignored; any other recipient is delivered.
"""

from __future__ import annotations

from base64 import b64encode
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


# The test file of EICAR, which every scanner knows; in two parts, or scanners would find it here.
_EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STAND" + b"ARD-ANTIVIRUS-TEST-FILE!$H+H*"
_ENCODED = b64encode(_EICAR)[:60]  # on the first line of an attachment


def has_virus(raw: bytes) -> bool:
    """Whether SES would accept the mail and then reject it: it has EICAR's test file attached."""
    return _ENCODED in raw or _EICAR in raw
