"""Whom the policies of a topic and of a queue let in, as IAM reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.ses.granting import (
    Visit,
    permits,
    publishing,
    queue_statement,
    read_policy,
    sending,
    topic_statement,
    with_statement,
)

NUMBER = "111122223333"
QUEUE = f"arn:aws:sqs:eu-west-1:{NUMBER}:q"
TOPIC = f"arn:aws:sns:eu-west-1:{NUMBER}:t"
SET = f"arn:aws:ses:eu-west-1:{NUMBER}:configuration-set/relay-shared"
VISIT = sending(QUEUE, TOPIC, NUMBER)
ALLOW = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}


def one(**changes: Any) -> dict[str, Any]:
    return {"Statement": [ALLOW | changes]}


def when(operator: str, key: str, value: Any) -> dict[str, Any]:
    return one(Condition={operator: {key: value}})


def test_what_relay_writes_lets_its_own_in_and_nobody_else() -> None:
    queue, topic = (
        {"Statement": [queue_statement(QUEUE, TOPIC)]},
        {"Statement": [topic_statement(TOPIC, [SET], NUMBER)]},
    )
    published = publishing(TOPIC, SET, NUMBER)
    assert (permits(queue, VISIT), permits(topic, published)) == (True, True)
    assert (permits(queue, VISIT.by_a_stranger), permits(topic, published.by_a_stranger)) == (False, False)
    assert not permits(queue, sending(QUEUE, f"{TOPIC}2", NUMBER))
    assert not permits(topic, publishing(TOPIC, f"{SET}2", NUMBER))
    assert not permits(queue, Visit("sns.amazonaws.com", "sqs:ReceiveMessage", QUEUE, TOPIC, NUMBER))


LETS_IN: list[dict[str, Any]] = [
    one(),
    {"Statement": ALLOW},  # one alone needs no list
    one(Principal="*"),
    one(Principal={"AWS": "*"}),
    one(Principal={"Service": ["ses.amazonaws.com", "sns.amazonaws.com"]}),
    one(Action="SQS:SendMessage"),
    one(Action=["sqs:GetQueueUrl", "sqs:Send*"]),
    one(Action="*"),
    one(Resource=QUEUE),
    one(Resource=["arn:aws:sqs:*:*:?"]),
    when("ArnEquals", "aws:SourceArn", TOPIC),
    when("ArnLike", "AWS:SourceArn", [f"{TOPIC}2", "arn:aws:sns:*:*:t"]),
    when("StringEquals", "aws:SourceAccount", NUMBER),
    when("StringEqualsIgnoreCase", "aws:SourceArn", TOPIC.upper()),
    when("StringLike", "aws:SourceArn", "*:t"),
    when("Bool", "aws:SecureTransport", True),
    when("StringEqualsIfExists", "aws:PrincipalOrgID", "o-1"),
    {"Statement": [ALLOW, {"Effect": "Deny", "Principal": "*", "Action": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]},
]  # fmt: skip
KEEPS_OUT: list[Any] = [
    None,
    {},
    {"Statement": []},
    {"Statement": "nonsense"},
    one(Effect="Deny"),
    one(Principal={"AWS": NUMBER}),
    one(Principal=None),
    one(Action="sqs:Receive*"),
    one(Action=None, NotAction="sqs:ReceiveMessage"),
    one(Resource=f"{QUEUE}2"),
    when("ArnEquals", "aws:SourceArn", f"{TOPIC}2"),
    when("StringEquals", "aws:SourceArn", "*"),
    when("StringEquals", "aws:PrincipalOrgID", "o-1"),
    one(Principal={"AWS": "*"}, Condition={"StringEquals": {"AWS:SourceOwner": NUMBER}}),  # a new topic's
    when("NumericLessThan", "aws:SourceAccount", "1"),
    one(Condition="nonsense"),
    one(Condition={"ArnEquals": "nonsense"}),
    {"Statement": [ALLOW, {"Effect": "Deny", "Principal": "*", "Action": "sqs:*"}]},
]


@pytest.mark.parametrize("policy", LETS_IN, ids=range(len(LETS_IN)))
def test_who_is_let_in(policy: dict[str, Any]) -> None:
    assert permits(policy, VISIT)


@pytest.mark.parametrize("policy", KEEPS_OUT, ids=range(len(KEEPS_OUT)))
def test_who_is_kept_out(policy: Any) -> None:
    assert not permits(policy, VISIT)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '"*"'])
def test_what_is_no_policy(text: str | None) -> None:
    assert read_policy(text) is None


def test_a_statement_takes_the_place_of_its_own_kind_alone() -> None:
    theirs = {"Sid": "Theirs", "Effect": "Deny"}
    before = {"Version": "2008-10-17", "Id": "mine", "Statement": [queue_statement(QUEUE, "old"), theirs]}
    after = json.loads(with_statement(before, queue_statement(QUEUE, TOPIC)))
    assert after == {"Version": "2008-10-17", "Id": "mine", "Statement": [theirs, queue_statement(QUEUE, TOPIC)]}
