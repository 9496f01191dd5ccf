"""Says what the events of an SES account need, at AWS and in the directory. Asks nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relay.declared import FeedbackFields, Via
from relay.errors import Kind, Problem
from relay.message import Stream
from relay.ses.destinations import CLICKS, OPENS
from relay.ses.policies import partition_of
from relay.store.directory.accounts import SesAccount
from relay.store.directory.domains import SenderDomain

PATH = "/api/ses-notifications"
TAG = "relay-installation"
MOST_NAME = 64  # characters of a destination's name
MOST_QUEUE = 80  # of a queue's
_DEAD = "-dead"
TRACKED = {"opens": OPENS, "clicks": CLICKS}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for besides the usual. `push`: the public URL of this installation, for SNS to post to.

    `tracking`: of a stream, which of OPEN and CLICK; of a stream that is not named, what is there stays.
    """

    push: str | None = None
    tracking: Mapping[Stream, frozenset[str]] = field(default_factory=dict)
    is_stopping_mail: bool = False


USUAL = Asked()


def tracked(options: Sequence[str]) -> dict[Stream, frozenset[str]]:
    """`STREAM=opens,clicks`, `STREAM=none`. Raises Problem(BAD_REQUEST)."""
    found: dict[Stream, frozenset[str]] = {}
    for text in options:
        stream, _, said = text.partition("=")
        words = {word.strip() for word in said.split(",")} - {"none"}
        if stream not in {each.value for each in Stream} or not said or words - TRACKED.keys():
            streams = ", ".join(each.value for each in Stream)
            raise Problem(
                Kind.BAD_REQUEST,
                f"--track: write it as STREAM=opens,clicks or STREAM=none, of the streams {streams}",
            )
        found[Stream(stream)] = frozenset(TRACKED[word] for word in words)
    return found


@dataclass(frozen=True, slots=True)
class WantedSet:
    """A configuration set. `tracking` None: as it is there, and none where the set is new."""

    name: str
    tracking: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Bare:
    """A domain with streams whose mail names no configuration set, so that nothing is heard of it.

    `lacking`: the set for each of these streams. `sets`: all that it is to have then.
    """

    domain: str
    is_declared: bool
    ses_tenant: str | None
    lacking: Mapping[Stream, str]
    sets: Mapping[Stream, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything at once. `installation` is what queue and topic are tagged with. `push`: where SNS posts, or None.

    `mailed`: the identities whose feedback mail is to stop.
    """

    account: str
    region: str
    is_declared: bool
    installation: str
    feedback: FeedbackFields
    via: Via
    push: str | None
    sets: tuple[WantedSet, ...]
    bare: tuple[Bare, ...]
    mailed: tuple[str, ...] = ()

    @property
    def tags(self) -> dict[str, str]:
        return {TAG: self.installation}

    @property
    def queue(self) -> str:
        return self.feedback.queue

    @property
    def dead(self) -> str:
        return self.queue[: MOST_QUEUE - len(_DEAD)] + _DEAD

    @property
    def destination(self) -> str:
        """The event destination's name: other installations have their own in the same configuration sets."""
        return self.queue[:MOST_NAME]

    def topic(self, number: str) -> str:
        """The topic's ARN: the first of this account that is believed here, else one named as the queue is."""
        start = self.arn("sns", number, "")
        return next((each for each in self.feedback.topics if each.startswith(start)), f"{start}{self.queue}")

    def arn(self, service: str, number: str, resource: str) -> str:
        return f"arn:{partition_of(self.region)}:{service}:{self.region}:{number}:{resource}"

    def set_arns(self, number: str) -> list[str]:
        return [self.arn("ses", number, f"configuration-set/{each.name}") for each in self.sets]


def usual_set(stream: Stream) -> str:
    """The configuration set of a stream that nobody has named one for."""
    return f"relay-{stream.value}"


def wanted_of(account: SesAccount, domains: Sequence[SenderDomain], installation: str, asked: Asked = USUAL) -> Wanted:
    """What the account needs; `domains` are those that send through it. Raises Problem(BAD_REQUEST)."""
    feedback = account.feedback
    via = Via.SNS if asked.push else feedback.via
    if asked.push and not asked.push.startswith("https://"):
        raise Problem(Kind.BAD_REQUEST, "push: SNS posts to a public https:// URL of this installation")
    bare = tuple(each for each in map(_bare, domains) if each is not None)
    return Wanted(
        account=account.name,
        region=account.region,
        is_declared=account.is_declared,
        installation=installation,
        feedback=feedback,
        via=via,
        push=asked.push.rstrip("/").removesuffix(PATH) + PATH if asked.push else None,
        sets=_sets(domains, asked.tracking),
        bare=bare,
        mailed=tuple(sorted(each.name for each in domains)) if asked.is_stopping_mail else (),
    )


def _bare(domain: SenderDomain) -> Bare | None:
    bare = [each for each in Stream if each in domain.streams and each not in domain.configuration_sets]
    lacking = {each: usual_set(each) for each in bare}
    if not lacking or domain.disabled_at is not None:
        return None
    every = {**domain.configuration_sets, **lacking}
    sets = {each: every[each] for each in Stream if each in every}
    return Bare(domain.name, domain.is_declared, domain.ses_tenant, lacking, sets)


def _sets(domains: Sequence[SenderDomain], tracking: Mapping[Stream, frozenset[str]]) -> tuple[WantedSet, ...]:
    """One for each stream, and those that domains name. Of a set for several streams the tracking stays as it is."""
    streams: dict[str, set[Stream]] = {usual_set(each): {each} for each in Stream}
    for domain in domains:
        for stream, name in domain.configuration_sets.items():
            streams.setdefault(name, set()).add(stream)
    return tuple(
        WantedSet(name, tracking.get(min(used, key=list(Stream).index)) if len(used) == 1 else None)
        for name, used in streams.items()
    )
