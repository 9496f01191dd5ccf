"""Examines one SES account: what AWS grants it, whether its events can come, and whether they do."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from relay.declared import Via
from relay.management import setting_up
from relay.management.doctoring.checked import Checked, fine, of, red, skipped, warning
from relay.management.doctoring.tools import Tools, patiently
from relay.management.reaching import access_of
from relay.management.setting_up import Matter, State
from relay.sealing import SealingError
from relay.ses.access import Access
from relay.ses.errors import Scope, SesProblem
from relay.ses.proof import prove
from relay.ses.remedies import Place, remedy_of
from relay.ses.sqs import Counts, EventQueue
from relay.ses.timing import ahead
from relay.ses.wire import Quota
from relay.store.clock import rfc3339
from relay.store.directory.accounts import SesAccount
from relay.store.silences import Seen

WITHIN = 90.0  # seconds for one account: SES is asked some twenty things, once a second where it wants that
MUCH = 0.8  # of the daily quota
STALE = timedelta(minutes=5)  # a server that reads the queue says so each minute
SLOW, WRONG = timedelta(seconds=30), timedelta(minutes=5)  # a clock; AWS takes no requests beyond the latter
# Where the words of a feed's fault end, and those of what to do begin.
_TO_DO = re.compile(r": (?=(?:allow|run|let|mend|give|set|renew|sign|wait|see|make|nothing)\b)")


@dataclass(frozen=True, slots=True)
class Examined:
    """`links`: what events go by, for whoever misses them. `access` None: nothing can be asked of it.

    `clock`: by how much ours is ahead of AWS's.
    """

    account: SesAccount
    checks: Sequence[Checked]
    links: Sequence[Checked] = ()
    access: Access | None = None
    clock: timedelta | None = None


async def examine(tools: Tools, account: SesAccount, seen: Seen, now: int) -> Examined:
    """`seen` and `now`: its feedback as the server wrote it down. Raises nothing of AWS."""
    place = f"account {account.name}"
    if account.disabled_at is not None:
        return Examined(account, [skipped(place, "it is disabled: the configuration file does not name it any more")])
    try:
        access = access_of(account, tools.store.sealer)
    except SealingError as exc:
        remedy = f"give it its secret again: `relay account set {account.name}`"
        return Examined(account, [red(place, str(exc), remedy)])
    try:
        async with asyncio.timeout(WITHIN):
            return await _examine(tools, account, access, seen, now)
    except TimeoutError:
        remedy = "see whether AWS answers this machine slowly, and look again"
        return Examined(account, [red(place, f"AWS did not answer everything within {WITHIN:.0f} s", remedy)])


async def _examine(tools: Tools, account: SesAccount, access: Access, seen: Seen, now: int) -> Examined:
    place = f"account {account.name}"
    checks: list[Checked] = []
    if account.paused_at is not None:
        said = f"paused by {account.paused_by}: {account.paused_reason}"
        checks.append(warning(place, said, f"`relay account resume {account.name}`, when the reason is gone"))
    proof = await prove(tools.accounts, access)
    checks += [of(each, place) for each in proof.findings]
    if proof.quota is None:
        return Examined(account, checks, clock=await _clock(tools, access))
    checks += judge_quota(place, proof.quota)
    links, clock = await asyncio.gather(_links(tools, account, access, seen, now), _clock(tools, access))
    return Examined(account, [*checks, *links], links, access, clock)


async def _clock(tools: Tools, access: Access) -> timedelta | None:
    try:
        async with tools.accounts.briefly(access) as opened:
            return await patiently(lambda: ahead(opened))
    except SesProblem as problem:
        return WRONG + SLOW if problem.scope is Scope.HOST else None  # AWS says so, and not by how much


async def _links(tools: Tools, account: SesAccount, access: Access, seen: Seen, now: int) -> list[Checked]:
    """What events go by, in the order in which they do, and then whether they were heard."""
    place = f"account {account.name}"
    if account.feedback.via is Via.NONE:
        said = "nobody is to hear what becomes of its mail (`feedback: via: none`)"
        return [skipped(f"{place}: events", said, f"`relay account set {account.name} --via sqs`, if that is wanted")]
    try:
        found, wanted = await setting_up.look_at(tools.store, tools.accounts, access, account, setting_up.USUAL)
    except SesProblem as problem:
        told = remedy_of(problem, Place(account.name, account.region))
        return [red(f"{place}: set-up", problem.said, told or f"`relay account test {account.name}` says what lacks")]
    checks = [_of_matter(place, each) for each in setting_up.judge(found, wanted)]
    if account.feedback.via is Via.SQS and found.queue is not None:
        checks.append(await _queue(tools, account, access))
    return [*checks, *judge_feed(account, seen, now, is_running=tools.is_running)]


def _of_matter(place: str, matter: Matter) -> Checked:
    check = f"{place}: {matter.check}"
    if matter.state is State.FINE:
        return fine(check, matter.said)
    if matter.state is State.UNSEEN:  # the server needs no look
        return skipped(check, matter.said, matter.remedy)
    remedy = matter.remedy
    if matter.steps:
        remedy += f" ({'; '.join(each.said for each in matter.steps)})"
    if matter.lines:
        remedy += f": {json.dumps(matter.lines)}"  # which is YAML, too
    return red(check, matter.said, remedy)


async def _queue(tools: Tools, account: SesAccount, access: Access) -> Checked:
    place = Place(account.name, account.region)
    queue = EventQueue(tools.accounts.beside("sqs", access), place, account.feedback.queue)
    try:
        counts = await patiently(queue.counts)
    except SesProblem as problem:
        check = f"account {account.name}: events in {queue.name}"
        return warning(check, f"they cannot be counted: {problem.said}", problem.remedy)
    finally:
        await queue.close()
    return judge_counts(account, counts, tools.settings.feedback.backlog)


# -- pure ------------------------------------------------------------------------------------------------------------


def judge_clock(offset: timedelta | None) -> Checked:
    """`offset`: by how much our clock is ahead of AWS's; None: no account answered."""
    if offset is None:
        return skipped("clock", "no account of AWS's said the time")
    seconds = round(offset.total_seconds())
    said = f"this machine's clock is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} AWS's"
    remedy = "set it, and let an NTP client keep it: AWS takes requests that are at most five minutes off"
    if abs(offset) >= WRONG:
        return red("clock", said if abs(offset) > WRONG + SLOW else "AWS refuses this machine's clock", remedy)
    if abs(offset) >= SLOW:
        return warning("clock", said, remedy)
    return fine("clock", "it goes as AWS's does")


def judge_quota(place: str, quota: Quota) -> Iterator[Checked]:
    """What will soon be used up; what is used up already, the proof says."""
    if quota.daily is not None and quota.daily * MUCH <= quota.sent_today < quota.daily:
        said = f"{quota.sent_today / quota.daily:.0%} of the daily quota is used: {quota.daily:,.0f} recipients"
        yield warning(f"{place}: quota left", said, "ask AWS for a higher quota (Service Quotas, SES) in time")


def judge_counts(account: SesAccount, counts: Counts, backlog: int) -> Checked:
    queue = account.feedback.queue
    check = f"account {account.name}: events in {queue}"
    if counts.dead:
        said = f"{counts.dead:,} events are in its dead-letter queue: nobody could read or keep them"
        remedy = (
            "see the server's log for feed.broken; then have SQS hand them out again (Start DLQ redrive), or purge them"
        )
        return warning(check, said, remedy)
    if counts.waiting > backlog:
        said = f"{counts.waiting:,} wait in it, more than {backlog:,}"
        return red(check, said, "see that the server runs, reads it, and can write to its database: its log says so")
    return fine(check, f"{counts.waiting:,} wait in it, and none is laid aside")


def judge_feed(account: SesAccount, seen: Seen, now: int, *, is_running: bool | None) -> Iterator[Checked]:
    """Whether the server hears what comes."""
    check = f"account {account.name}: hearing"
    is_read = account.feedback.via is Via.SQS
    if is_running is False:
        return  # that is said, and its rows are of another day
    if seen.fault:
        said, *rest = _TO_DO.split(seen.fault, maxsplit=1)
        yield red(check, f"the server cannot hear its events: {said}", rest[0] if rest else "see the server's log")
    elif is_read and seen.asked_at is None:
        yield warning(check, "no server has read its queue yet", "wait a minute, look again, and see the server's log")
    elif is_read and seen.asked_at is not None and now - seen.asked_at > STALE / timedelta(milliseconds=1):
        since = rfc3339(seen.asked_at, "seconds")
        yield red(check, f"no server has read its queue since {since}", "restart the server: `relay serve`")
    elif seen.silent_since is not None:
        said = f"mail goes out, and nothing has been heard of it since {rfc3339(seen.silent_since, 'seconds')}"
        yield red(check, said, f"mend what is red above; then `relay doctor --account {account.name}` sends probes")
    else:
        yield fine(check, "the server reads its queue" if is_read else "SNS is to post its events")
