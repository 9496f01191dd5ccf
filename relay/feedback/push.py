"""Takes what SNS posts: decides whether it is believed, and has it heard. Every rule of SES fact 5.1 and 5.2, in order.

The signature alone proves only that some topic of somebody's sent it, so the list of topics comes first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum

from relay import log
from relay.dispatch.unknown import Feedback
from relay.errors import Kind, Problem
from relay.feedback.hearing import Hearing, Verdict
from relay.feedback.sns import posts
from relay.feedback.sns.certificates import FORGED, UNREACHABLE, Certificates
from relay.feedback.sns.confirming import confirm
from relay.feedback.sns.feeds import Feeds
from relay.feedback.sns.fetching import Fetcher
from relay.feedback.sns.posts import Post, Sort, malformed
from relay.feedback.sns.topics import Source, sources_of
from relay.ses.access import Access
from relay.ses.clients import Accounts
from relay.ses.errors import SesProblem
from relay.store.directory.snapshot import Snapshot
from relay.store.store import Store

OLDEST = timedelta(hours=24)  # SNS gives up after an hour (SES fact 5.1)
NEWEST = timedelta(minutes=15)  # ahead of our clock
WITHIN = 9.0  # seconds; SNS waits 15
REMEMBERED = 20_000  # posts that were taken
NOTE_EVERY = 60.0  # seconds
RAW_TOLD_EVERY = 3600.0  # seconds

STRANGER = "stranger"  # aspects of what is refused: the topic is nobody's,
STALE = "stale"  # the moment is another day's,
RAW = "raw"  # there is no signature to look at,
FAILED = "failed"  # it is our own fault


class Outcome(Enum):
    """What became of a post that was believed."""

    HEARD = "heard"
    FOREIGN = "foreign"
    BROKEN = "broken"
    CONFIRMED = "confirmed"
    UNSUBSCRIBED = "unsubscribed"
    REPEATED = "repeated"  # it was taken before


_OUTCOMES = {
    Verdict.HEARD: Outcome.HEARD,
    Verdict.FOREIGN: Outcome.FOREIGN,
    Verdict.BROKEN: Outcome.BROKEN,
}


def _now() -> datetime:
    return datetime.now(UTC)


class Push:
    """One per server. Belongs to the event loop it is used in.

    `feedback` is told of each account whose topic a post was believed of. `only_signature_2`: SHA-1 is refused.
    """

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        hearing: Hearing,
        feedback: Feedback,
        *,
        only_signature_2: bool = False,
        fetcher: Fetcher | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._hearing = hearing
        self._feedback = feedback
        self._only_signature_2 = only_signature_2
        self._certificates = Certificates(fetcher or Fetcher())
        self._now = now
        self._sources: Mapping[str, Sequence[Source]] = {}
        self._taken: dict[tuple[str, str], None] = {}  # topic and MessageId, the oldest first
        self._hearing_out: set[asyncio.Task[Outcome]] = set()
        self._feeds = Feeds()
        self._raw_told_at: dict[str, float] = {}  # by topic

    def replace(self, snapshot: Snapshot, accesses: Mapping[str, Access]) -> None:
        """Believe the topics that the accounts of now name; `accesses` are by the accounts' names."""
        self._sources = sources_of(snapshot, accesses)
        self._feeds.keep({each.account for sources in self._sources.values() for each in sources})
        self._raw_told_at = {topic: at for topic, at in self._raw_told_at.items() if topic in self._sources}

    def faults(self) -> dict[str, str]:
        return self._feeds.faults()

    async def run(self) -> None:
        """Write down how it goes, for ever."""
        while True:
            await asyncio.sleep(NOTE_EVERY)
            try:
                await self._feeds.write(self._store)
            except Problem as problem:  # the database is away, which others say loudly
                log.event("push.not_noted", reason=problem.kind.slug)

    async def close(self) -> None:
        """Once nothing more is posted: what is in hand is written down."""
        await asyncio.gather(*self._hearing_out, return_exceptions=True)
        await self._certificates.close()

    def admit(self, header: Mapping[str, str]) -> None:
        """Refuse by its header what would be refused by its body, before that is read. `header` does not mind case.

        Raises Problem(BAD_REQUEST | FORBIDDEN).
        """
        topic = header.get(posts.TOPIC)
        if topic is not None:
            self._known(topic)
        if header.get(posts.RAW, "").lower() == "true":
            if topic is not None:
                self._tell_raw(topic)
            why = "it is raw, so nothing signs it: switch raw message delivery off for this subscription"
            raise Problem(Kind.BAD_REQUEST, why, aspect=RAW)
        if posts.TYPE not in header:
            raise malformed(f"it has no header {posts.TYPE}")

    async def take(self, header: Mapping[str, str], members: Mapping[str, object]) -> Outcome:
        """What a post says is written down, or done, when this returns.

        Raises Problem: BAD_REQUEST or FORBIDDEN for what SNS never sent, which it need not repeat; OVERLOADED,
        STORAGE_DOWN and the like for what it is to repeat. The aspect says which rule it was.
        """
        post = posts.read(header, members)
        sources = self._known(post.topic)
        try:
            async with asyncio.timeout(WITHIN):
                return await self._take(post, sources)
        except TimeoutError as exc:
            raise Problem(Kind.OVERLOADED, "it took too long: try again", aspect=FAILED) from exc

    async def _take(self, post: Post, sources: Sequence[Source]) -> Outcome:
        await self._believe(post, sources)
        key = (post.topic, post.message_id)
        if key in self._taken:
            return Outcome.REPEATED
        match post.sort:
            case Sort.NOTIFICATION:
                outcome = await self._heard_out(post, sources)
            case Sort.SUBSCRIPTION:
                outcome = await self._confirm(post, sources)
            case Sort.UNSUBSCRIPTION:
                outcome = self._leave(sources)
        self._taken[key] = None
        if len(self._taken) > REMEMBERED:
            del self._taken[next(iter(self._taken))]
        return outcome

    # -- whether it is believed ------------------------------------------------------------------------------------

    def _known(self, topic: str) -> Sequence[Source]:
        if (sources := self._sources.get(topic)) is None:
            raise Problem(Kind.FORBIDDEN, "no SES account here takes events from this topic", aspect=STRANGER)
        return sources

    async def _believe(self, post: Post, sources: Sequence[Source]) -> None:
        """Raises Problem. Nothing is fetched before all that needs no fetching is in order."""
        now = self._now()
        if not now - OLDEST <= post.at <= now + NEWEST:
            raise Problem(Kind.FORBIDDEN, "its Timestamp is too old, or yet to come", aspect=STALE)
        source = next((each for each in sources if each.has_certificate(post.certificate_url)), None)
        if source is None:
            raise Problem(Kind.FORBIDDEN, "its SigningCertURL is not where SNS has its certificates", aspect=FORGED)
        try:
            certificate = await self._certificates.find(post.certificate_url, source)
        except Problem as problem:
            if problem.aspect == UNREACHABLE:
                self._feeds.fault(source.account, f"what SNS posts cannot be checked: {problem.detail}")
            raise
        if not certificate.is_valid(now):
            raise Problem(Kind.FORBIDDEN, "the certificate of its signature is not valid now", aspect=FORGED)
        if not certificate.has_signed(post.signed, post.signature, post.version):
            raise Problem(Kind.FORBIDDEN, "its Signature is not that of what it says", aspect=FORGED)
        if post.version == "1" and self._only_signature_2:
            why = "SNS signs with SHA-1, which feedback.only_signature_2 refuses: set SignatureVersion 2 on its topic"
            for each in sources:
                self._feeds.fault(each.account, why)
            raise Problem(Kind.FORBIDDEN, "it is signed with SHA-1, which is not taken here", aspect=FORGED)

    # -- what it says ----------------------------------------------------------------------------------------------

    async def _heard_out(self, post: Post, sources: Sequence[Source]) -> Outcome:
        """What was begun is done, and told to dispatch, though SNS may be answered before."""
        task = asyncio.create_task(self._hear(post, sources), name="sns-post")
        self._hearing_out.add(task)
        task.add_done_callback(self._hearing_out.discard)
        return await asyncio.shield(task)

    async def _hear(self, post: Post, sources: Sequence[Source]) -> Outcome:
        """What was signed is what is heard. A topic that several accounts name may be about the mail of each."""
        verdicts = []
        for source in sources:
            [verdict] = await self._hearing.hear(source.account, [post.message])
            self._feedback.heard(source.account, time.monotonic())
            self._feeds.believed(source.account, is_event=verdict is Verdict.HEARD)
            verdicts.append(verdict)
        best = next(each for each in Verdict if each in verdicts)
        if best is Verdict.BROKEN:  # SNS would only repeat it
            log.trouble("push.unreadable", account=sources[0].account, sns_message_id=post.message_id)
        return _OUTCOMES[best]

    async def _confirm(self, post: Post, sources: Sequence[Source]) -> Outcome:
        for source in sources:
            try:
                await confirm(self._accounts, source, post.topic, post.token)
            except SesProblem as problem:
                self._feeds.fault(source.account, problem.detail)
                continue
            self._feeds.believed(source.account)
            log.event("push.confirmed", account=source.account, topic=post.topic)
            return Outcome.CONFIRMED
        raise Problem(Kind.OVERLOADED, "the subscription cannot be confirmed now", aspect=FAILED)

    def _leave(self, sources: Sequence[Source]) -> Outcome:
        for source in sources:
            remedy = f"run `relay account setup {source.account} --push URL`"
            self._feeds.fault(source.account, f"somebody ended the subscription to its topic: {remedy}")
        return Outcome.UNSUBSCRIBED

    def _tell_raw(self, topic: str) -> None:
        """Once in a while: anybody may post such a thing."""
        now = time.monotonic()
        if now - self._raw_told_at.get(topic, -RAW_TOLD_EVERY) >= RAW_TOLD_EVERY:
            self._raw_told_at[topic] = now
            log.trouble("push.raw", topic=topic, reason="switch raw message delivery off for the subscription")
