"""Hears what SES says of mail: understands it, has it written down with what follows, tells dispatch and the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from relay import log
from relay.dispatch.dispatcher import Dispatcher
from relay.feedback.envelopes import NotAnEvent, Notice, unwrapped
from relay.feedback.reading import read
from relay.metrics import Metrics
from relay.sealing import Sealer
from relay.store.cases import Outcome
from relay.store.heard import Heard
from relay.store.hearing import Answer, Told, hear
from relay.store.store import Store
from relay.store.writer import Rank

SIZE = 1024  # octets that an event costs in a transaction
LOUD = {  # what an operator looks for in the log; the rest is there at the level "debug"
    "email.bounced",
    "email.complained",
    "email.rejected",
    "email.failed",
    "email.auth_failure",
}


class Verdict(Enum):
    """What becomes of a queue's message: HEARD and FOREIGN are taken off it, BROKEN is for its dead-letter queue."""

    HEARD = "heard"
    FOREIGN = "foreign"  # of mail of somebody else's, or of another installation
    BROKEN = "broken"


class Hearing:
    """One per server."""

    def __init__(self, store: Store, dispatcher: Dispatcher, metrics: Metrics) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._metrics = metrics

    async def hear(self, account: str, bodies: Sequence[str]) -> list[Verdict]:
        """What became of each: written when this returns. A body is an SNS envelope, an EventBridge one or an event.

        `account`: whose queue or topic they came by. Raises Problem where nothing can be written now.
        """
        found = [_understood(body, self._store.sealer) for body in bodies]
        events = tuple(each for each in found if isinstance(each, Heard))
        if not events:
            return [each for each in found if isinstance(each, Verdict)]
        answer = await self._store.write(hear, Told(account, events), Rank.SETTLE, SIZE * len(events))
        await self._dispatcher.learnt(answer.learnt)
        self._tell(account, events, answer)
        outcomes = iter(answer.outcomes)
        return [each if isinstance(each, Verdict) else _verdict(next(outcomes)) for each in found]

    def _tell(self, account: str, events: Sequence[Heard], answer: Answer) -> None:
        for event, outcome, public_id in zip(events, answer.outcomes, answer.public_ids, strict=True):
            known = event.type if event.raw is None else "other"  # else a stranger could make any number of series
            self._metrics.events.labels(account, known, outcome.value).inc()
            if outcome is not Outcome.NEW:
                continue
            say = log.event if event.type in LOUD else log.detail
            say(f"feedback.{event.type}", id=public_id, account=account, ses_message_id=event.ses_message_id)


def _understood(body: str, sealer: Sealer) -> Heard | Verdict:
    try:
        event = read(unwrapped(body))
    except Notice:
        return Verdict.HEARD
    except NotAnEvent as exc:
        log.detail("feedback.not_an_event", reason=str(exc))  # who took it off the queue says which, aloud
        return Verdict.BROKEN
    hashed = tuple(replace(each, hash=sealer.hash_address(each.address)) for each in event.people)
    return replace(event, people=hashed)


def _verdict(outcome: Outcome) -> Verdict:
    return Verdict.FOREIGN if outcome is Outcome.FOREIGN else Verdict.HEARD
