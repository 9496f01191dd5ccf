"""What happens has a name: ours, and that of each dialect of webhooks (contracts: conflicts section 7)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

TEST = "webhook.test"  # what a webhook is tried with; every dialect can tell it


class Dialect(Enum):
    """Whose form of webhooks a receiver understands (contracts: webhooks)."""

    NATIVE = "native"
    SENDFLEET = "sendfleet"
    SENDEX = "sendex"
    MAILERLOGIC = "mailerlogic"
    SENDMUX = "sendmux"


_OF = {
    "email": "queued sent delivered delayed bounced soft_bounced complained not_spam auth_failure rejected failed"
    " opened clicked suppressed unsubscribed",
    "domain": "verified failed held released",
    "account": "held released switched",
    "tenant": "approved declined warned slowed suspended resumed limit_reached appealed",
    "feedback": "silent resumed",
    "webhook": "disabled test",
}
EVENTS = tuple(f"{noun}.{what}" for noun, became in _OF.items() for what in became.split())

# A soft bounce is no `email.bounced` of theirs: who takes an address off a list for that would lose one that is good.
# Sendmux says of a bounce which it was. What is suppressed after it was taken never goes: that is a failure of theirs.
# fmt: off
_SENT_ON = {
    "email.sent":         "email.sent",
    "email.delivered":    "email.delivered",
    "email.bounced":      "email.bounced",
    "email.complained":   "email.complained",
    "email.rejected":     "email.failed",
    "email.failed":       "email.failed",
    "email.suppressed":   "email.failed",
    TEST:                 TEST,
}
_SEEN = {
    "email.opened":       "email.opened",
    "email.clicked":      "email.clicked",
}
NAMES: Mapping[Dialect, Mapping[str, str]] = {
    Dialect.SENDFLEET: _SENT_ON,
    Dialect.SENDEX: _SENT_ON | _SEEN,
    Dialect.MAILERLOGIC: _SENT_ON | _SEEN | {"email.unsubscribed": "email.unsubscribed"},
    Dialect.SENDMUX: {
        "email.delivered":    "message.delivered",
        "email.delayed":      "message.delivery_delayed",
        "email.bounced":      "message.bounced",
        "email.soft_bounced": "message.bounced",
        "email.complained":   "message.complained",
        "email.rejected":     "message.rejected",
        "email.failed":       "message.rejected",
        "email.suppressed":   "message.rejected",
        TEST:                 "sendmux.test",
    },
}
# fmt: on
# Our names of what each can tell. None: everything.
TELLS: Mapping[Dialect, frozenset[str] | None] = {
    dialect: frozenset(NAMES[dialect]) if dialect in NAMES else None for dialect in Dialect
}
