"""What people paste into IAM."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.ses.policies import partition_of, send_policy, setup_policy, suppression_policy, trust_policy

NUMBER = "111122223333"
ALL = [
    trust_policy("arn:aws:iam::111122223333:role/relay", "ab" * 24),
    send_policy("eu-west-1", NUMBER, ["a.example"], ["main"]),
    setup_policy("eu-west-1", NUMBER),
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
    domains, sets = setup_policy("us-gov-west-1", NUMBER)["Statement"]
    assert domains["Action"] == [
        "ses:CreateEmailIdentity",
        "ses:GetEmailIdentity",
        "ses:PutEmailIdentityMailFromAttributes",
    ]
    assert domains["Resource"] == f"arn:aws-us-gov:ses:us-gov-west-1:{NUMBER}:identity/*"
    assert sets["Action"] == ["ses:GetConfigurationSet"]


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
