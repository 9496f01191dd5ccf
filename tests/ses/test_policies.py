"""What people paste into IAM."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.ses.policies import (
    partition_of,
    push_policy,
    queue_policy,
    send_policy,
    setup_policy,
    suppression_policy,
    trust_policy,
)

NUMBER = "111122223333"
ALL = [
    trust_policy("arn:aws:iam::111122223333:role/relay", "ab" * 24),
    send_policy("eu-west-1", NUMBER, ["a.example"], ["main"]),
    setup_policy("eu-west-1", NUMBER),
    setup_policy("eu-west-1", NUMBER, "events", ()),
    queue_policy("eu-west-1", NUMBER, "events", "events-dead"),
    push_policy([f"arn:aws:sns:eu-west-1:{NUMBER}:events"]),
    suppression_policy(),
]


@pytest.mark.parametrize("policy", ALL)
def test_policies_are_json_and_allow_no_wildcard_of_actions(policy: dict[str, Any]) -> None:
    assert json.loads(json.dumps(policy)) == policy
    assert policy["Version"] == "2012-10-17"
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(set(sids)) == len(sids)
    assert all(sid.isalnum() for sid in sids)  # IAM takes no other characters
    assert '"*"' not in json.dumps([statement["Action"] for statement in policy["Statement"]])
    assert "ses:*" not in json.dumps(policy)


def test_trust() -> None:
    [statement] = trust_policy("arn:aws:iam::111122223333:role/relay", "ab" * 24)["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::111122223333:role/relay"}
    assert statement["Action"] == "sts:AssumeRole"
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "ab" * 24}}


# fmt: off
SENDING = [
    ("eu-west-1",     ["b.example", "a.example"], ["main"], ["aws:ses:eu-west-1:N:identity/a.example", "aws:ses:eu-west-1:N:identity/b.example", "aws:ses:eu-west-1:N:configuration-set/main"]),
    ("eu-west-1",     ["a.example"],              [],       ["aws:ses:eu-west-1:N:identity/a.example"]),
    ("eu-west-1",     [],                         [],       ["aws:ses:eu-west-1:N:identity/*", "aws:ses:eu-west-1:N:configuration-set/*"]),
    ("eu-west-1",     [],                         ["main"], ["aws:ses:eu-west-1:N:identity/*", "aws:ses:eu-west-1:N:configuration-set/main"]),
    ("us-gov-west-1", ["a.example"],              [],       ["aws-us-gov:ses:us-gov-west-1:N:identity/a.example"]),
    ("cn-north-1",    ["a.example"],              [],       ["aws-cn:ses:cn-north-1:N:identity/a.example"]),
]
# fmt: on


@pytest.mark.parametrize(("region", "domains", "sets", "resources"), SENDING)
def test_sending(region: str, domains: list[str], sets: list[str], resources: list[str]) -> None:
    send, limits = send_policy(region, NUMBER, domains, sets)["Statement"]
    assert send["Action"] == ["ses:SendEmail", "ses:SendRawEmail"]
    assert send["Resource"] == [f"arn:{resource.replace('N', NUMBER)}" for resource in resources]
    assert (limits["Action"], limits["Resource"]) == (["ses:GetAccount"], "*")


def test_setting_up() -> None:
    region = "us-gov-west-1"
    domains, sets, topic, queues = setup_policy(region, NUMBER, "told", ["events", "events-dead"])["Statement"]
    assert domains["Action"] == [
        "ses:CreateEmailIdentity",
        "ses:GetEmailIdentity",
        "ses:PutEmailIdentityMailFromAttributes",
        "ses:PutEmailIdentityFeedbackAttributes",
    ]
    assert domains["Resource"] == f"arn:aws-us-gov:ses:{region}:{NUMBER}:identity/*"
    assert sets["Resource"] == f"arn:aws-us-gov:ses:{region}:{NUMBER}:configuration-set/*"
    assert "ses:CreateConfigurationSetEventDestination" in sets["Action"]
    arn = f"arn:aws-us-gov:sns:{region}:{NUMBER}:told"
    assert topic["Resource"] == [arn, f"{arn}:*"]  # the topic, and its subscriptions
    assert queues["Resource"] == [f"arn:aws-us-gov:sqs:{region}:{NUMBER}:events{end}" for end in ("", "-dead")]


def test_without_queues_there_is_nothing_to_allow_of_them() -> None:
    assert "sqs:" not in json.dumps(setup_policy("eu-west-1", NUMBER, queues=()))


def test_taking_events() -> None:
    taken, dead = queue_policy("eu-west-1", NUMBER, "events", "laid-aside")["Statement"]
    assert {"sqs:ReceiveMessage", "sqs:DeleteMessage"} <= {*taken["Action"]}
    assert taken["Resource"] == f"arn:aws:sqs:eu-west-1:{NUMBER}:events"
    assert (dead["Action"], dead["Resource"]) == (
        ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"],
        f"arn:aws:sqs:eu-west-1:{NUMBER}:laid-aside",
    )


def test_being_posted_to() -> None:
    arns = [f"arn:aws:sns:eu-west-1:{NUMBER}:{name}" for name in ("a", "b")]
    [statement] = push_policy(reversed(arns))["Statement"]
    assert (statement["Action"], statement["Resource"]) == (["sns:ConfirmSubscription"], arns)


def test_suppressions() -> None:
    [statement] = suppression_policy()["Statement"]
    assert statement["Resource"] == "*"
    assert len(statement["Action"]) == 3


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-east-1", "aws"),
        ("cn-northwest-1", "aws-cn"),
        ("us-gov-east-1", "aws-us-gov"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_partitions(region: str, partition: str) -> None:
    assert partition_of(region) == partition
