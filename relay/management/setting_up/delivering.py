"""Compares the topic of an account's events, and who is subscribed to it, with what they have to be. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from relay.declared import Via
from relay.management.setting_up.matters import Matter, Step, amiss, by_hand, fine, taken, unseen
from relay.management.setting_up.queueing import is_untagged, other_name, stranger
from relay.management.setting_up.seen import ANY_NUMBER, Seen
from relay.management.setting_up.wanted import PATH, Wanted
from relay.ses.granting import permits, publishing, topic_statement, with_statement
from relay.ses.topics import (
    DELIVERY_POLICY,
    SIGNATURE,
    Subscription,
    Topic,
    create_topic,
    set_topic,
    subscribe,
    tag_topic,
    unraw,
)

SQS = "sqs"
HTTPS = "https"


def judge_topic(seen: Seen, wanted: Wanted) -> Iterator[Matter]:
    number = seen.number or ANY_NUMBER
    arn = wanted.topic(number)
    name = arn.rpartition(":")[2]
    check = f"topic {name}"
    if "topic" in seen.unseen:
        yield unseen(check, seen.unseen["topic"], f"sns:GetTopicAttributes on {arn}")
        return
    topic = seen.topic
    statement = topic_statement(arn, wanted.set_arns(number), number)
    if topic is None:
        attributes = {"SignatureVersion": SIGNATURE}
        if seen.number is not None:  # a policy names the account
            attributes["Policy"] = with_statement(None, statement)
        said = f"create the topic {name}: open to SES for the account's configuration sets, signed with SHA-256"
        yield amiss(check, wanted.account, "there is none", Step(create_topic(name, attributes, wanted.tags), said))
        return
    if strange := stranger(topic.tags, wanted):
        yield taken(check, strange, other_name(wanted))
        return
    yield _attributes(check, name, topic, wanted)
    check = f"topic policy of {name}"
    shut = [each for each in wanted.set_arns(number) if not permits(topic.policy, publishing(arn, each, number))]
    if shut:
        names = ", ".join(each.rpartition("/")[2] for each in shut)
        step = Step(set_topic(arn, "Policy", with_statement(topic.policy, statement)), f"let SES publish to {name}")
        yield amiss(check, wanted.account, f"SES may not publish the events of {names}", step)
    elif permits(topic.policy, publishing(arn, wanted.set_arns(number)[0], number).by_a_stranger):
        said = "it lets in strangers: whoever knows its name can forge events"
        yield by_hand(check, said, f"take the statement away that lets everybody publish to {arn} (SNS console)")
    else:
        yield fine(check, "SES may publish to it")
    if topic.kms_key == "alias/aws/sns":
        remedy = "encrypt it with no key, or with one of your own that ses.amazonaws.com may use"
        yield by_hand(f"encryption of {name}", "it is encrypted with a key that SES cannot use", remedy)


def _attributes(check: str, name: str, topic: Topic, wanted: Wanted) -> Matter:
    differences, steps = [], []
    if topic.signature != SIGNATURE:
        differences.append("SNS signs with SHA-1")
        steps.append(Step(set_topic(topic.arn, "SignatureVersion", SIGNATURE), f"let SNS sign {name} with SHA-256"))
    if is_untagged(topic.tags):
        differences.append("it does not say whose it is")
        steps.append(Step(tag_topic(topic.arn, wanted.tags), f"tag the topic {name} as this installation's"))
    if steps:
        return amiss(check, wanted.account, "; ".join(differences), *steps)
    return fine(check, "it is there")


# -- who is subscribed -----------------------------------------------------------------------------------------------


def judge_subscription(seen: Seen, wanted: Wanted) -> Iterator[Matter]:
    if "subscriptions" in seen.unseen:
        arn = wanted.topic(seen.number or ANY_NUMBER)
        yield unseen("subscription", seen.unseen["subscriptions"], f"sns:ListSubscriptionsByTopic on {arn}")
    elif "topic" not in seen.unseen:
        yield _to_queue(seen, wanted) if wanted.via is Via.SQS else _to_us(seen, wanted)


def _to_queue(seen: Seen, wanted: Wanted) -> Matter:
    number = seen.number or ANY_NUMBER
    check, queue = f"subscription of {wanted.queue}", wanted.arn("sqs", number, wanted.queue)
    found = _subscribed(seen, SQS, queue)
    if found is None or found.arn is None:
        call = subscribe(wanted.topic(number), SQS, queue, {"RawMessageDelivery": "false"})
        step = Step(call, f"subscribe the queue {wanted.queue} to the topic")
        return amiss(check, wanted.account, "the queue is not sent what the topic is told", step)
    return _whole(check, found, wanted)


def _to_us(seen: Seen, wanted: Wanted) -> Matter:
    check = "subscription of this installation"
    found = _subscribed(seen, HTTPS, wanted.push)
    if wanted.push is None:
        if found is not None and found.arn is not None:
            return fine(check, f"SNS posts to {_host(found.endpoint)}")
        said = "SNS posts to nobody here" if found is None else f"{_host(found.endpoint)} has not confirmed it yet"
        return by_hand(check, said, f"`relay account setup {wanted.account} --push https://HOST`: its public URL")
    arn = wanted.topic(seen.number or ANY_NUMBER)
    step = Step(
        subscribe(arn, HTTPS, wanted.push, {"DeliveryPolicy": DELIVERY_POLICY}),
        f"let SNS post to {_host(wanted.push)}: the running server confirms it",
    )
    if wanted.is_declared and not is_believed(wanted, arn):
        return by_hand(check, "the configuration file does not name the topic yet", "add the lines, then set up again")
    if found is None:
        return amiss(check, wanted.account, "SNS posts to nobody here", step)
    if found.arn is None:
        said = f"{_host(wanted.push)} has not confirmed it yet: is the server running, and reached from outside?"
        return amiss(check, wanted.account, said, step)
    return _whole(check, found, wanted)


def is_believed(wanted: Wanted, topic: str) -> bool:
    """Whether posts of the topic are believed here already."""
    return wanted.feedback.via is Via.SNS and topic in wanted.feedback.topics


def _whole(check: str, found: Subscription, wanted: Wanted) -> Matter:
    if found.is_raw and found.arn is not None:
        step = Step(unraw(found.arn), "let SNS keep its envelope around events")
        return amiss(check, wanted.account, "events come raw, without SNS's envelope", step)
    return fine(check, "it is sent what the topic is told")


def _subscribed(seen: Seen, protocol: str, endpoint: str | None) -> Subscription | None:
    """Of several the confirmed one. `endpoint` None: any that is ours by its path."""
    fitting = [
        each
        for each in seen.subscriptions
        if each.protocol == protocol and (each.endpoint == endpoint or (endpoint is None and PATH in each.endpoint))
    ]
    return next((each for each in fitting if each.arn is not None), fitting[0] if fitting else None)


def _host(url: str) -> str:
    """A subscription's URL may hold a password."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]
