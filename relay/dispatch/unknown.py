"""Outcomes that no answer told: how long an event of SES may still tell them, and what such an event says. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from relay.delivery import Settlement, State

LIVE_FOR = timedelta(seconds=90)  # after its last sign of life: a long poll of an empty queue takes 20 s
NOTHING = timedelta(0)  # without events an unknown outcome stays unknown: waiting teaches nothing
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_MOST = 2**63 - 1


class Feedback:
    """Whether the events of each SES account are to be had. Moments are seconds of a monotonic clock.

    Nobody has been heard at a start. `window` is how long the outcome of an attempt may be waited for while they are.
    """

    def __init__(self, window: timedelta) -> None:
        self._window = window
        self._heard: dict[str, float] = {}

    def heard(self, account: str, now: float) -> None:
        """An event of the account came, or its queue was asked and had none."""
        self._heard[account] = max(now, self._heard.get(account, now))

    def is_live(self, account: str, now: float) -> bool:
        at = self._heard.get(account)
        return at is not None and now - at <= LIVE_FOR.total_seconds()

    def window(self, account: str, now: float) -> timedelta:
        """How long an outcome that becomes unknown now is waited for."""
        return self._window if self.is_live(account, now) else NOTHING

    def silent(self, accounts: Iterable[str], now: float) -> tuple[str, ...]:
        """Those of which nothing can be learnt now: what waits for their events waits no longer."""
        return tuple(sorted(account for account in accounts if not self.is_live(account, now)))


@dataclass(frozen=True, slots=True)
class Fact:
    """That SES took an attempt, as a Send event tells it. `account`: whose event it was."""

    account: str
    delivery_id: int
    attempt: int
    ses_message_id: str

    @classmethod
    def of_mail(cls, account: str, mail: Mapping[str, object]) -> Fact | None:
        """What the `mail` of a Send event says (SES facts section 4); None where it is not about an attempt of ours."""
        tags = mail.get("tags")
        ses_message_id = mail.get("messageId")
        if not isinstance(tags, Mapping) or not isinstance(ses_message_id, str) or not ses_message_id:
            return None
        delivery_id, attempt = _number(tags.get("relay_id")), _number(tags.get("attempt"))
        if delivery_id is None or attempt is None:
            return None
        return cls(account, delivery_id, attempt, ses_message_id)

    @property
    def settlement(self) -> Settlement:
        """It is no decision, so it holds whatever was decided since, unless that is final."""
        return Settlement(self.delivery_id, self.attempt, State.SENT, self.account, ses_message_id=self.ses_message_id)


def _number(tag: object) -> int | None:
    """A tag's only value, if it is one that we could have written: anyone may tag mail of the account."""
    if not isinstance(tag, Sequence) or isinstance(tag, str) or len(tag) != 1 or not isinstance(tag[0], str):
        return None
    number = int(tag[0]) if _NUMBER.fullmatch(tag[0]) else 0
    return number if 0 < number <= _MOST else None
