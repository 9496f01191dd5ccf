"""Compares what an SES account has for its events with what it needs. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from relay.declared import Via
from relay.management.setting_up.delivering import judge_subscription, judge_topic
from relay.management.setting_up.matters import Matter
from relay.management.setting_up.naming import judge_domains, judge_feedback, judge_mail
from relay.management.setting_up.publishing import judge_sets
from relay.management.setting_up.queueing import judge_queue
from relay.management.setting_up.seen import Seen
from relay.management.setting_up.wanted import Wanted


def judge(seen: Seen, wanted: Wanted) -> list[Matter]:
    """One matter for each thing, in the order in which they can be mended: what others need comes first."""
    return list(_each(seen, wanted))


def _each(seen: Seen, wanted: Wanted) -> Iterator[Matter]:
    if wanted.via is Via.SQS:
        yield from judge_queue(seen, wanted)
    if wanted.via is not Via.NONE:
        yield from judge_topic(seen, wanted)
        yield from judge_feedback(seen, wanted)
        yield from judge_subscription(seen, wanted)
    yield from judge_sets(seen, wanted)
    yield from judge_domains(wanted)
    yield from judge_mail(seen, wanted)
