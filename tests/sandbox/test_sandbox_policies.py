"""Which resource policies let a service of AWS do what it asks."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.sandbox import queue_attributes, topic_attributes
from relay.sandbox.policies import Asking, Policy
from relay.sandbox.refusals import Refusal

NUMBERS = st.integers() | st.floats() | st.booleans()
SCALARS = st.none() | NUMBERS | st.text() | st.sampled_from(["*", "Allow", "Deny", "sns.amazonaws.com"])
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
QUEUE = "arn:aws:sqs:eu-west-1:000000000001:events"
TOPIC = "arn:aws:sns:eu-west-1:000000000001:events"
ASKING = Asking("sns.amazonaws.com", "sqs:SendMessage", QUEUE, TOPIC, "000000000001")
RIGHT: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": {"Service": "sns.amazonaws.com"},
    "Action": "sqs:SendMessage",
    "Resource": QUEUE,
    "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
}


@pytest.mark.parametrize(
    ("change", "is_allowed"),
    [
        ({}, True),
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"Service": ["ses.amazonaws.com", "sns.amazonaws.com"]}}, True),
        ({"Principal": {"Service": "ses.amazonaws.com"}}, False),
        ({"Principal": None}, False),
        ({"Action": ["SQS:sendmessage", "sqs:x"]}, True),
        ({"Action": "sqs:*"}, True),
        ({"Action": "sqs:ReceiveMessage"}, False),
        ({"Resource": "*"}, True),
        ({"Resource": QUEUE + "x"}, False),
        ({"Condition": None}, True),
        ({"Condition": {"ArnLike": {"AWS:sourceARN": "arn:aws:sns:*:000000000001:*"}}}, True),
        ({"Condition": {"StringLike": {"aws:SourceArn": [TOPIC + "x", TOPIC]}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceArn": "arn:aws:sns:*:000000000001:*"}}}, False),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "000000000001"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "000000000002"}}}, False),
        ({"Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}, "StringEquals": {"aws:SourceAccount": "2"}}}, False),
        ({"Condition": {"StringEquals": {"aws:SourceOwner": "000000000001"}}}, False),  # what new topics have
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, False),
        ({"Condition": "x"}, False),
        ({"Condition": {"ArnEquals": "x"}}, False),
        ({"Effect": "Deny"}, False),
    ],
)
def test_one_statement(change: dict[str, Any], is_allowed: bool) -> None:
    assert Policy(json.dumps({"Statement": [RIGHT | change]})).allows(ASKING) is is_allowed
    assert Policy(json.dumps({"Statement": RIGHT | change})).allows(ASKING) is is_allowed


def test_a_denial_outweighs_what_allows() -> None:
    denial = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
    assert not Policy(json.dumps({"Statement": [RIGHT, denial]})).allows(ASKING)


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"Statement": [1]}', "[" * 100_000, " " * 40_000 + "{}"])
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(Refusal, match="InvalidAttributeValue"):
        Policy(text)


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_what_makes_no_sense_is_refused_or_grants_nothing(
    effect: object, principal: object, action: object, condition: object
) -> None:
    changes = [{"Effect": effect}, {"Principal": principal}, {"Action": action}, {"Condition": condition}]
    for change in changes:
        text = json.dumps({"Statement": [RIGHT | change]})
        assert Policy(text).allows(ASKING) in (True, False)
    assert not Policy(json.dumps({"Statement": [RIGHT | {"Effect": [effect]}]})).allows(ASKING)


@given(ANYTHING, ANYTHING)
def test_no_attribute_makes_the_sandbox_stumble(first: object, second: object) -> None:
    texts = json.dumps(first), json.dumps({"healthyRetryPolicy": {"numRetries": first, "minDelayTarget": second}})
    redrive = json.dumps({"deadLetterTargetArn": first, "maxReceiveCount": second})
    for text in (*texts, redrive):
        for name in ("RawMessageDelivery", "DeliveryPolicy", "RedrivePolicy"):
            with contextlib.suppress(Refusal):
                topic_attributes.check_subscription(name, text)
        for name in ("Policy", "DeliveryPolicy", "SignatureVersion"):
            with contextlib.suppress(Refusal):
                topic_attributes.check_topic(name, text)
        for name in queue_attributes.SETTABLE:
            with contextlib.suppress(Refusal):
                queue_attributes.check({name: text, "DelaySeconds": first})
