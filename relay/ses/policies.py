"""The least IAM policies that let the relay do its work, ready for JSON. Pure; actions and resources: SES facts 7.2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

Policy: TypeAlias = dict[str, Any]

_PARTITIONS = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("eusc-", "aws-eusc"))
SEND = ("ses:SendEmail", "ses:SendRawEmail")  # SES checks raw mail as SendRawEmail, whatever the operation
SETUP = ("ses:CreateEmailIdentity", "ses:GetEmailIdentity", "ses:PutEmailIdentityMailFromAttributes")
SUPPRESSION = ("ses:ListSuppressedDestinations", "ses:PutSuppressedDestination", "ses:DeleteSuppressedDestination")


def partition_of(region: str) -> str:
    """The partition that ARNs of a region name."""
    return next((partition for prefix, partition in _PARTITIONS if region.startswith(prefix)), "aws")


def trust_policy(principal_arn: str, external_id: str) -> Policy:
    """Of a role in a customer's account: only this principal may assume it, and only with this ExternalId."""
    return _policy(
        {
            "Sid": "RelayAssumesThisRole",
            "Effect": "Allow",
            "Principal": {"AWS": principal_arn},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
        }
    )


def send_policy(
    region: str, account_number: str, domains: Iterable[str] = (), configuration_sets: Iterable[str] = ()
) -> Policy:
    """Send as these domains with these configuration sets, and read the limits. No domain: all there are."""
    identities = [f"identity/{domain}" for domain in sorted(set(domains))]
    sets = [f"configuration-set/{name}" for name in sorted(set(configuration_sets))]
    if not identities:
        identities, sets = ["identity/*"], sets or ["configuration-set/*"]
    return _policy(
        _allow("RelaySends", SEND, [_arn(region, account_number, each) for each in identities + sets]),
        _allow("RelayReadsLimits", ("ses:GetAccount",), "*"),
    )


def setup_policy(region: str, account_number: str) -> Policy:
    """Register sender domains and see how their verification goes."""
    return _policy(
        _allow("RelayRegistersDomains", SETUP, _arn(region, account_number, "identity/*")),
        _allow("RelaySeesSets", ("ses:GetConfigurationSet",), _arn(region, account_number, "configuration-set/*")),
    )


def suppression_policy() -> Policy:
    """Mirror the account's suppression list, both ways. IAM knows no resource for it."""
    return _policy(_allow("RelayMirrorsSuppressions", SUPPRESSION, "*"))


def _policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, actions: Iterable[str], resource: str | list[str]) -> Policy:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}


def _arn(region: str, account_number: str, resource: str) -> str:
    return f"arn:{partition_of(region)}:ses:{region}:{account_number}:{resource}"
