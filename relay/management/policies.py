"""Gathers the IAM policies that an SES account takes, from the directory and from what AWS says of both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relay.ses.access import Access, Role
from relay.ses.clients import Accounts
from relay.ses.errors import SesProblem
from relay.ses.policies import Policy, send_policy, setup_policy, suppression_policy, trust_policy
from relay.store.directory.domains import SenderDomain

ANY_ACCOUNT = "*"  # in an ARN, where the account's number is not known


@dataclass(frozen=True, slots=True)
class Policies:
    """What to paste into AWS, ready for JSON.

    `trust` is for the role, None where the account is reached by other credentials. `principal` is the relay itself
    as AWS sees it; where STS cannot say, it is None, as is `trust`, and `said` is why.
    """

    principal: str | None
    external_id: str | None
    trust: Policy | None
    send: Policy
    setup: Policy
    suppression: Policy
    said: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "principal": self.principal,
            "external_id": self.external_id,
            "trust": self.trust,
            "send": self.send,
            "setup": self.setup,
            "suppression": self.suppression,
            "said": self.said or None,
        }


async def gather(accounts: Accounts, access: Access, domains: Sequence[SenderDomain]) -> Policies:
    """The least that lets the relay work with an account; `domains` are those that send through it. Raises nothing."""
    principal, external_id, said = None, None, ""
    if isinstance(access.credentials, Role):
        external_id = access.credentials.external_id
        try:
            principal = (await accounts.base_caller()).principal
        except SesProblem as problem:
            said = problem.detail
    number = await _number(accounts, access)
    names = [each.name for each in domains]
    sets = [name for each in domains for name in each.configuration_sets.values()]
    return Policies(
        principal=principal,
        external_id=external_id,
        trust=trust_policy(principal, external_id) if principal and external_id else None,
        send=send_policy(access.region, number, names, sets),
        setup=setup_policy(access.region, number),
        suppression=suppression_policy(),
        said=said,
    )


async def _number(accounts: Accounts, access: Access) -> str:
    """The AWS account's number: the role's ARN says it, of other credentials only STS knows."""
    if isinstance(access.credentials, Role):
        return access.credentials.role_arn.split(":")[4]
    try:
        return (await accounts.caller(access)).account_number or ANY_ACCOUNT
    except SesProblem:
        return ANY_ACCOUNT
