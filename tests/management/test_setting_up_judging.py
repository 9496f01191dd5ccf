"""What is compared with what is wanted: everything that can be amiss, one at a time, and the steps that mend it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relay.declared import FeedbackFields, Via
from relay.errors import Kind, Problem
from relay.management.setting_up import Asked, Seen, State, Wanted, findings, judge, plan, tracked, wanted_of
from relay.management.setting_up.matters import SetDomain, SetFeedback
from relay.management.setting_up.wanted import Bare, WantedSet
from relay.message import Stream
from relay.ses.call import Call
from relay.ses.destinations import OUTCOMES, ConfigurationSet, Destination
from relay.ses.errors import Scope, SesProblem
from relay.ses.granting import queue_statement, read_policy, topic_statement, with_statement
from relay.ses.queues import RETENTION, TRIES, VISIBILITY, Queue
from relay.ses.topics import Subscription, Topic
from relay.store.directory.accounts import Reach, SesAccount, Sort

NUMBER = "111122223333"
QUEUE = f"arn:aws:sqs:eu-west-1:{NUMBER}:relay-events"
TOPIC = f"arn:aws:sns:eu-west-1:{NUMBER}:relay-events"
OTHERS = f"arn:aws:sns:eu-west-1:{NUMBER}:others"
SETS = ("relay-transactional", "relay-shared", "relay-broadcast")
ARNS = [f"arn:aws:ses:eu-west-1:{NUMBER}:configuration-set/{name}" for name in SETS]
TAGS = {"relay-installation": "relay-1"}
URL = "https://relay.example/api/ses-notifications"
PUSHED = FeedbackFields(via=Via.SNS, topics=(TOPIC,))

WANTED = Wanted("main", "eu-west-1", False, "relay-1", FeedbackFields(), Via.SQS, None, tuple(map(WantedSet, SETS)), ())
OPEN_TO_ALL = {"Effect": "Allow", "Principal": "*", "Action": "*"}


def policy(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


WHOLE_QUEUE = Queue(
    "relay-events",
    "https://sqs/1/relay-events",
    QUEUE,
    VISIBILITY,
    RETENTION,
    f"{QUEUE}-dead",
    TRIES,
    policy(queue_statement(QUEUE, TOPIC)),
    None,
    TAGS,
)
DEAD = replace(WHOLE_QUEUE, name="relay-events-dead", arn=f"{QUEUE}-dead", dead=None, tries=0, policy=None)
WHOLE_TOPIC = Topic(TOPIC, policy(topic_statement(TOPIC, ARNS, NUMBER)), "2", None, TAGS)
TO_QUEUE = Subscription(f"{TOPIC}:1", "sqs", QUEUE)
TO_US = Subscription(f"{TOPIC}:2", "https", URL)
OURS = Destination("relay-events", True, OUTCOMES, TOPIC)
WHOLE = Seen(
    NUMBER,
    WHOLE_QUEUE,
    DEAD,
    WHOLE_TOPIC,
    (TO_QUEUE,),
    {name: ConfigurationSet(name, True, (OURS,)) for name in SETS},
)


def queue(**changes: Any) -> Seen:
    return replace(WHOLE, queue=replace(WHOLE_QUEUE, **changes))


def topic(**changes: Any) -> Seen:
    return replace(WHOLE, topic=replace(WHOLE_TOPIC, **changes))


def first_set(*destinations: Destination, **changes: Any) -> Seen:
    changed = replace(WHOLE.sets[SETS[0]], destinations=destinations or (OURS,), **changes)
    return replace(WHOLE, sets={**WHOLE.sets, SETS[0]: changed})


def without_set() -> Seen:
    return replace(WHOLE, sets={name: each for name, each in WHOLE.sets.items() if name != SETS[0]})


def without_destination() -> Seen:
    return replace(WHOLE, sets={**WHOLE.sets, SETS[0]: ConfigurationSet(SETS[0], True, ())})


def bare(**changes: Any) -> Wanted:
    lacking = {Stream.BROADCAST: "relay-broadcast"}
    sets = {Stream.SHARED: "mine", **lacking}
    return replace(WANTED, bare=(replace(Bare("a.example", False, None, lacking, sets), **changes),))


def tracking(*types: str) -> Wanted:
    return replace(WANTED, sets=(WantedSet(SETS[0], frozenset(types)), *WANTED.sets[1:]))


def pushing(**changes: Any) -> Wanted:
    return replace(WANTED, via=Via.SNS, push=URL, feedback=PUSHED, **changes)


def pushed(*found: Subscription) -> Seen:
    return replace(WHOLE, queue=None, dead=None, subscriptions=found)


def forbidden(*parts: str) -> Seen:
    problem = SesProblem(Kind.SES_DENIED, Scope.DOMAIN, "AccessDenied: no", code="AccessDenied")
    return replace(WHOLE, unseen=dict.fromkeys(parts, problem))


SPLIT = (replace(OURS, name="a", types=OUTCOMES - {"BOUNCE"}), replace(OURS, name="b", types=frozenset({"BOUNCE"})))
TEN = tuple(Destination(f"d{at}", True, OUTCOMES, OTHERS) for at in range(10))
OPENS = replace(OURS, types=OUTCOMES | {"OPEN"})

MENDABLE: dict[str, tuple[Seen, Wanted, str, list[str]]] = {
    # what is amiss: (seen, wanted, what is said of it, the actions that mend it)
    "no queue": (
        replace(WHOLE, queue=None, subscriptions=()),
        WANTED,
        "there is none",
        ["sqs:CreateQueue", "sns:Subscribe"],
    ),
    "no dead letters": (replace(WHOLE, dead=None), WANTED, "there is none", ["sqs:CreateQueue"]),
    "dead letters in a hurry": (
        replace(WHOLE, dead=replace(DEAD, retention=4 * 86_400)),
        WANTED,
        "for 4 days, not 14",
        ["sqs:SetQueueAttributes"],
    ),
    "visibility": (queue(visibility=30), WANTED, "comes again after 30 s, not 120", ["sqs:SetQueueAttributes"]),
    "retention": (queue(retention=345_600), WANTED, "for 4 days, not 14", ["sqs:SetQueueAttributes"]),
    "redrive": (queue(dead=None, tries=0), WANTED, "stays in it", ["sqs:SetQueueAttributes"]),
    "tries": (queue(tries=1000), WANTED, "after 1000 tries, not 5", ["sqs:SetQueueAttributes"]),
    "both": (queue(visibility=30, tries=2), WANTED, "not 120; what nobody can read", ["sqs:SetQueueAttributes"]),
    "untagged queue": (queue(tags={}), WANTED, "whose it is", ["sqs:TagQueue"]),
    "no queue policy": (queue(policy=None), WANTED, "may not put events", ["sqs:SetQueueAttributes"]),
    "another topic's": (
        queue(policy=policy(queue_statement(QUEUE, OTHERS))),
        WANTED,
        "may not put events",
        ["sqs:SetQueueAttributes"],
    ),
    "no topic": (
        replace(WHOLE, topic=None, subscriptions=()),
        WANTED,
        "there is none",
        ["sns:CreateTopic", "sns:Subscribe"],
    ),
    "old signature": (topic(signature="1"), WANTED, "SHA-1", ["sns:SetTopicAttributes"]),
    "untagged topic": (topic(tags={}), WANTED, "whose it is", ["sns:TagResource"]),
    "no topic policy": (topic(policy=None), WANTED, "SES may not publish the events of", ["sns:SetTopicAttributes"]),
    "a set too few": (
        topic(policy=policy(topic_statement(TOPIC, ARNS[1:], NUMBER))),
        WANTED,
        "may not publish the events of relay-transactional",
        ["sns:SetTopicAttributes"],
    ),
    "no subscription": (replace(WHOLE, subscriptions=()), WANTED, "is not sent what", ["sns:Subscribe"]),
    "raw": (
        replace(WHOLE, subscriptions=(replace(TO_QUEUE, is_raw=True),)),
        WANTED,
        "come raw",
        ["sns:SetSubscriptionAttributes"],
    ),
    "no set": (
        without_set(),
        WANTED,
        "there is none",
        ["ses:CreateConfigurationSet", "ses:CreateConfigurationSetEventDestination"],
    ),
    "no destination": (
        without_destination(),
        WANTED,
        "nothing is heard of its mail",
        ["ses:CreateConfigurationSetEventDestination"],
    ),
    "disabled": (
        first_set(replace(OURS, is_enabled=False)),
        WANTED,
        "it is disabled",
        ["ses:UpdateConfigurationSetEventDestination"],
    ),
    "deaf": (
        first_set(replace(OURS, types=OUTCOMES - {"BOUNCE", "REJECT"})),
        WANTED,
        "does not tell of BOUNCE, REJECT",
        ["ses:UpdateConfigurationSetEventDestination"],
    ),
    "moved": (
        first_set(replace(OURS, topic=OTHERS)),
        WANTED,
        f"it publishes to {OTHERS}",
        ["ses:UpdateConfigurationSetEventDestination"],
    ),
    "beside another's": (
        first_set(replace(OURS, name="theirs", topic=OTHERS)),
        WANTED,
        "nothing is heard",
        ["ses:CreateConfigurationSetEventDestination"],
    ),
    "under another name": (
        first_set(replace(OURS, name="mine", is_enabled=False)),
        WANTED,
        "it is disabled",
        ["ses:UpdateConfigurationSetEventDestination"],
    ),
    "tracking asked for": (
        WHOLE,
        tracking("OPEN", "CLICK"),
        "does not tell of CLICK, OPEN",
        ["ses:UpdateConfigurationSetEventDestination"],
    ),
    "tracking ended": (
        first_set(OPENS),
        tracking(),
        "it asks for opens, which nobody wants",
        ["ses:UpdateConfigurationSetEventDestination"],
    ),
    "a bare domain": (WHOLE, bare(), "in the streams broadcast", ["domain.change"]),
    "mailed": (
        replace(WHOLE, mailed=frozenset({"a.example"})),
        WANTED,
        "SES mails bounces",
        ["ses:PutEmailIdentityFeedbackAttributes"],
    ),
    "not believed": (
        pushed(TO_US),
        replace(WANTED, via=Via.SNS, push=URL),
        "are not believed here yet",
        ["account.change"],
    ),
    "nobody posted to": (pushed(TO_QUEUE), pushing(), "SNS posts to nobody here", ["sns:Subscribe"]),
    "not confirmed": (
        pushed(replace(TO_US, arn=None)),
        pushing(),
        "relay.example has not confirmed it",
        ["sns:Subscribe"],
    ),
    "raw posts": (pushed(replace(TO_US, is_raw=True)), pushing(), "come raw", ["sns:SetSubscriptionAttributes"]),
}


@pytest.mark.parametrize(("seen", "wanted", "said", "actions"), MENDABLE.values(), ids=MENDABLE.keys())
def test_what_is_amiss_is_named_and_mended(seen: Seen, wanted: Wanted, said: str, actions: list[str]) -> None:
    matters = judge(seen, wanted)
    assert [step.doing.action for step in plan(matters)] == actions
    amiss = [each for each in matters if each.state is State.AMISS]
    assert said in amiss[0].said
    assert {each.remedy for each in amiss} == {"`relay account setup main` mends it"}
    assert [each.check for each in findings(matters) if not each.is_ok] == [each.check for each in amiss]


FINE: dict[str, tuple[Seen, Wanted]] = {
    "whole": (WHOLE, WANTED),
    "split over destinations": (first_set(*SPLIT), WANTED),
    "tracking that nobody spoke of": (first_set(OPENS), WANTED),
    "tags that may not be seen": (replace(queue(tags=None), topic=replace(WHOLE_TOPIC, tags=None)), WANTED),
    "dead letters to a queue of their own": (queue(dead=f"{QUEUE}-mine"), WANTED),
    "a wider policy": (topic(policy=policy(OPEN_TO_ALL | {"Condition": {"StringEquals": {"aws:SourceAccount": NUMBER}}})), WANTED),
    "pushed": (pushed(TO_US), pushing()),
    "pushed, looked at": (pushed(TO_US), replace(pushing(), push=None)),
    "pushed of the file": (pushed(TO_US), pushing(is_declared=True)),
    "a queue beside": (pushed(TO_QUEUE, TO_US), pushing()),
    "not wanted": (Seen(NUMBER, sets=WHOLE.sets), replace(WANTED, via=Via.NONE, bare=bare().bare)),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "wanted"), FINE.values(), ids=FINE.keys())
def test_what_serves_is_left_alone(seen: Seen, wanted: Wanted) -> None:
    matters = judge(seen, wanted)
    assert [each for each in matters if each.state is not State.FINE] == []
    assert plan(matters) == []
    assert all(each.is_ok and not each.remedy for each in findings(matters))


BY_HAND: dict[str, tuple[Seen, Wanted, str, str]] = {
    "an open queue": (queue(policy=policy(OPEN_TO_ALL)), WANTED, "forge events", QUEUE),
    "an open topic": (topic(policy=policy(OPEN_TO_ALL)), WANTED, "forge events", TOPIC),
    "a locked queue": (queue(kms_key="alias/aws/sqs"), WANTED, "SNS cannot use", "sns.amazonaws.com may use"),
    "a locked topic": (topic(kms_key="alias/aws/sns"), WANTED, "SES cannot use", "ses.amazonaws.com may use"),
    "a paused set": (first_set(is_sending=False), WANTED, "switched off", "SES console"),
    "a full set": (first_set(*TEN), WANTED, "10 event destinations", "remove one"),
    "another's tracking": (
        first_set(OURS, replace(OPENS, name="theirs")),
        tracking(),
        "theirs asks for opens",
        "event destination theirs",
    ),
    "a domain of an SES tenant": (
        WHOLE,
        bare(ses_tenant="t1"),
        "names no configuration set",
        "associate relay-broadcast with the SES tenant t1, then `relay domain set a.example "
        "--configuration-set broadcast=relay-broadcast`",
    ),
    "a domain of the file": (WHOLE, bare(is_declared=True), "names no configuration set", "add the lines"),
    "no URL": (pushed(), replace(pushing(), push=None), "posts to nobody", "--push https://HOST"),
    "an account of the file": (
        pushed(TO_US),
        replace(WANTED, via=Via.SNS, push=URL, is_declared=True),
        "not believed",
        "add the lines to the configuration file, `relay reload`, then set up again",
    ),
}


@pytest.mark.parametrize(("seen", "wanted", "said", "remedy"), BY_HAND.values(), ids=BY_HAND.keys())
def test_what_only_the_operator_can_mend_is_said(seen: Seen, wanted: Wanted, said: str, remedy: str) -> None:
    matters = judge(seen, wanted)
    assert plan(matters) == []
    found = next(each for each in matters if each.state is State.BY_HAND)
    assert said in found.said
    assert remedy in found.remedy
    assert found.check in [each.check for each in findings(matters) if not each.is_ok]


THEIRS = {"relay-installation": "relay-2"}


@pytest.mark.parametrize(
    ("seen", "wanted", "remedy"),
    [
        (queue(tags=THEIRS, visibility=5), WANTED, "`relay account set main --queue NAME`"),
        (topic(tags=THEIRS, policy=None), WANTED, "`relay account set main --queue NAME`"),
        (topic(tags=THEIRS), replace(WANTED, is_declared=True), "ses_accounts.main.feedback.queue"),
    ],
    ids=["queue", "topic", "file"],
)
def test_what_another_installation_has_is_not_touched(seen: Seen, wanted: Wanted, remedy: str) -> None:
    matters = judge(seen, wanted)
    assert plan(matters) == []
    [found] = [each for each in matters if each.state is State.TAKEN]
    assert found.said == "it is of another installation, relay-2"
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("part", "check", "action"),
    [
        ("queue", "queue relay-events", "sqs:GetQueueAttributes"),
        ("dead", "dead-letter queue relay-events-dead", "sqs:GetQueueAttributes"),
        ("topic", "topic relay-events", "sns:GetTopicAttributes"),
        ("subscriptions", "subscription", "sns:ListSubscriptionsByTopic"),
        (SETS[1], "configuration set relay-shared", "ses:GetConfigurationSetEventDestinations"),
        ("mailed", "feedback mail", "ses:GetEmailIdentity"),
    ],
)
def test_what_may_not_be_seen_is_no_fault(part: str, check: str, action: str) -> None:
    matters = judge(forbidden(part), WANTED)
    [found] = [each for each in matters if each.state is State.UNSEEN]
    assert found.check == check
    assert action in found.remedy
    assert all(each.is_ok for each in findings(matters))
    assert plan(matters) == []


def test_nothing_there_at_all() -> None:
    steps = plan(judge(Seen(NUMBER), replace(WANTED, bare=bare().bare)))
    assert [step.doing.action for step in steps] == [
        "sqs:CreateQueue",
        "sqs:CreateQueue",
        "sns:CreateTopic",
        "sns:Subscribe",
        *["ses:CreateConfigurationSet", "ses:CreateConfigurationSetEventDestination"] * 3,
        "domain.change",
    ]
    calls = [step.doing for step in steps if isinstance(step.doing, Call)]
    dead, made, told, subscribed = calls[:4]
    assert dead.request["QueueName"] == "relay-events-dead"
    assert made.request["tags"] == TAGS
    assert read_policy(made.request["Attributes"]["RedrivePolicy"]) == {
        "deadLetterTargetArn": f"{QUEUE}-dead",
        "maxReceiveCount": 5,
    }
    assert read_policy(made.request["Attributes"]["Policy"]) == policy(queue_statement(QUEUE, TOPIC))
    assert read_policy(told.request["Attributes"]["Policy"]) == policy(topic_statement(TOPIC, ARNS, NUMBER))
    assert subscribed.request["Endpoint"] == QUEUE
    assert calls[5].request["EventDestination"]["MatchingEventTypes"] == sorted(OUTCOMES)
    assert steps[-1].doing == SetDomain("a.example", {Stream.SHARED: "mine", Stream.BROADCAST: "relay-broadcast"})


def test_trust_comes_before_the_subscription() -> None:
    """The server confirms at once, and only for topics that it knows."""
    steps = plan(judge(pushed(), replace(WANTED, via=Via.SNS, push=URL)))
    assert [step.doing.action for step in steps] == ["account.change", "sns:Subscribe"]
    [believed, _] = [step.doing for step in steps]
    assert isinstance(believed, SetFeedback)
    assert (believed.feedback.via, believed.feedback.topics) == (Via.SNS, (TOPIC,))


def test_the_lines_for_the_file() -> None:
    wanted = replace(WANTED, via=Via.SNS, push=URL, is_declared=True, bare=bare(is_declared=True).bare)
    lines = [each.lines for each in judge(pushed(), wanted) if each.lines]
    assert lines == [
        {"ses_accounts": {"main": {"feedback": {"via": "sns", "topics": [TOPIC]}}}},
        {"domains": {"a.example": {"configuration_sets": {"shared": "mine", "broadcast": "relay-broadcast"}}}},
    ]


def test_others_statements_stay() -> None:
    theirs = {"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": NUMBER}, "Action": "sqs:*"}
    stale = queue_statement(QUEUE, OTHERS)
    [step] = plan(judge(queue(policy=policy(theirs, stale)), WANTED))
    assert isinstance(step.doing, Call)
    assert read_policy(step.doing.request["Attributes"]["Policy"]) == policy(theirs, queue_statement(QUEUE, TOPIC))
    assert with_statement(None, stale) == with_statement(policy(queue_statement(QUEUE, TOPIC)), stale)


# -- what is asked for -----------------------------------------------------------------------------------------------


def test_tracking_options() -> None:
    assert tracked(["broadcast=opens,clicks", "shared=none", "transactional=clicks"]) == {
        Stream.BROADCAST: {"OPEN", "CLICK"},
        Stream.SHARED: set(),
        Stream.TRANSACTIONAL: {"CLICK"},
    }


@pytest.mark.parametrize("text", ["broadcast", "broadcast=", "other=opens", "shared=looks", "=opens"])
def test_tracking_options_that_are_none(text: str) -> None:
    with pytest.raises(Problem, match="--track: write it as STREAM=opens,clicks"):
        tracked([text])


def account(feedback: FeedbackFields | None = None) -> SesAccount:
    return SesAccount(
        id=1,
        tenant_id=None,
        tenant=None,
        name="main",
        region="eu-west-1",
        reach=Reach(Sort.CHAIN),
        sealed_secret=None,
        endpoint_url=None,
        proxy=None,
        ca_bundle=None,
        rate=1.0,
        concurrency=None,
        feedback=feedback or FeedbackFields(),
        paused_at=None,
        paused_by=None,
        paused_reason=None,
        created_at=0,
        updated_at=0,
        is_declared=False,
        disabled_at=None,
    )


@pytest.mark.parametrize(
    ("url", "push"),
    [
        ("https://relay.example", URL),
        ("https://relay.example/", URL),
        (URL, URL),
        ("https://relay.example/mail", "https://relay.example/mail/api/ses-notifications"),
    ],
)
def test_where_sns_posts(url: str, push: str) -> None:
    assert wanted_of(account(), [], "relay-1", Asked(push=url)).push == push


def test_sns_posts_by_https_alone() -> None:
    with pytest.raises(Problem, match="push: SNS posts to a public https"):
        wanted_of(account(), [], "relay-1", Asked(push="http://relay.example"))


@pytest.mark.parametrize(
    ("feedback", "topic_arn"),
    [
        (FeedbackFields(), TOPIC),
        (FeedbackFields(queue="mine"), TOPIC.replace("relay-events", "mine")),
        (FeedbackFields(topics=(OTHERS,)), OTHERS),
        (FeedbackFields(topics=(OTHERS.replace(NUMBER, "444455556666"),)), TOPIC),
    ],
)
def test_which_topic(feedback: FeedbackFields, topic_arn: str) -> None:
    assert wanted_of(account(feedback=feedback), [], "relay-1").topic(NUMBER) == topic_arn


def test_names_that_would_be_too_long_are_cut() -> None:
    wanted = wanted_of(account(feedback=FeedbackFields(queue="q" * 80)), [], "relay-1")
    assert (len(wanted.dead), wanted.dead[-5:], len(wanted.destination)) == (80, "-dead", 64)
