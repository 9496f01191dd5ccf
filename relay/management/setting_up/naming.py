"""Compares what the directory says of an account and its domains with what their events need. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from relay.declared import Via
from relay.management.setting_up.delivering import is_believed
from relay.management.setting_up.matters import (
    Matter,
    SetDomain,
    SetFeedback,
    Step,
    amiss,
    by_hand,
    fine,
    unseen,
)
from relay.management.setting_up.seen import ANY_NUMBER, Seen
from relay.management.setting_up.wanted import Bare, Wanted
from relay.ses.destinations import stop_mailing_feedback


def judge_feedback(seen: Seen, wanted: Wanted) -> Iterator[Matter]:
    """Whose posts are believed. Before SNS is asked to post: the server confirms for topics that it knows."""
    topic = wanted.topic(seen.number or ANY_NUMBER)
    if wanted.via is not Via.SNS or wanted.push is None:
        return
    if is_believed(wanted, topic):
        yield fine("trust", "posts of the topic are believed")
        return
    topics = (*wanted.feedback.topics, *({topic} - {*wanted.feedback.topics}))
    if wanted.is_declared:
        feedback = {"via": Via.SNS.value, "topics": list(topics)}
        lines = {"ses_accounts": {wanted.account: {"feedback": feedback}}}
        remedy = "add the lines to the configuration file, `relay reload`, then set up again"
        yield by_hand("trust", "posts of the topic are not believed here yet", remedy, lines)
        return
    changed = wanted.feedback.model_copy(update={"via": Via.SNS, "topics": topics})
    step = Step(SetFeedback(changed), f"believe what {topic} posts, and ask the queue no more")
    yield amiss("trust", wanted.account, "posts of the topic are not believed here yet", step)


def judge_domains(wanted: Wanted) -> Iterator[Matter]:
    if wanted.via is Via.NONE:
        return
    for each in wanted.bare:
        yield _domain(each, wanted)


def _domain(bare: Bare, wanted: Wanted) -> Matter:
    check = f"configuration sets of {bare.domain}"
    streams = ", ".join(each.value for each in bare.lacking)
    said = f"nothing is heard of its mail in the streams {streams}: that names no configuration set"
    names = " ".join(f"--configuration-set {stream.value}={name}" for stream, name in bare.lacking.items())
    if bare.ses_tenant is not None:
        # Mail for an SES tenant may name only what is associated with it: set unasked, all of it would be refused.
        remedy = f"associate {', '.join(bare.lacking.values())} with the SES tenant {bare.ses_tenant}, then "
        remedy += f"`relay domain set {bare.domain} {names}`"
        return by_hand(check, said, remedy)
    if bare.is_declared:
        sets = {stream.value: name for stream, name in bare.sets.items()}
        lines = {"domains": {bare.domain: {"configuration_sets": sets}}}
        return by_hand(check, said, "add the lines to the configuration file, then `relay reload`", lines)
    words = ", ".join(bare.lacking.values())
    step = Step(SetDomain(bare.domain, bare.sets), f"let the mail of {bare.domain} name {words}")
    return amiss(check, wanted.account, said, step)


def judge_mail(seen: Seen, wanted: Wanted) -> Iterator[Matter]:
    """Bounces that also come as mail, to whoever the mail said."""
    if "mailed" in seen.unseen:
        yield unseen("feedback mail", seen.unseen["mailed"], "ses:GetEmailIdentity on the account's identities")
    for each in sorted(seen.mailed):
        step = Step(stop_mailing_feedback(each), f"stop SES from mailing bounces and complaints of {each} as well")
        yield amiss(f"feedback mail of {each}", wanted.account, "SES mails bounces and complaints, too", step)
