"""Gathers the IAM policies that an SES account takes, from the directory and from what AWS says of both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relay.declared import Via
from relay.management.setting_up.seen import ANY_NUMBER, account_number
from relay.management.setting_up.wanted import wanted_of
from relay.ses.access import Access, Role
from relay.ses.clients import Accounts
from relay.ses.errors import SesProblem
from relay.ses.policies import (
    Policy,
    push_policy,
    queue_policy,
    send_policy,
    setup_policy,
    suppression_policy,
    trust_policy,
)
from relay.store.directory.accounts import SesAccount
from relay.store.directory.domains import SenderDomain


@dataclass(frozen=True, slots=True)
class Policies:
    """What to paste into AWS, ready for JSON.

    `trust` is for the role, None where the account is reached by other credentials. `principal` is the relay itself
    as AWS sees it; where STS cannot say, it is None, as is `trust`, and `said` is why. `events` None: none come here.
    """

    principal: str | None
    external_id: str | None
    trust: Policy | None
    send: Policy
    setup: Policy
    events: Policy | None
    suppression: Policy
    said: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "principal": self.principal,
            "external_id": self.external_id,
            "trust": self.trust,
            "send": self.send,
            "setup": self.setup,
            "events": self.events,
            "suppression": self.suppression,
            "said": self.said or None,
        }


async def gather(accounts: Accounts, access: Access, account: SesAccount, domains: Sequence[SenderDomain]) -> Policies:
    """The least that lets the relay work with an account; `domains` are those that send through it. Raises nothing."""
    principal, external_id, said = None, None, ""
    if isinstance(access.credentials, Role):
        external_id = access.credentials.external_id
        try:
            principal = (await accounts.base_caller()).principal
        except SesProblem as problem:
            said = problem.detail
    number = await account_number(accounts, access) or ANY_NUMBER
    names = [each.name for each in domains]
    wanted = wanted_of(account, domains, "")
    sets = [name for each in domains for name in each.configuration_sets.values()]
    if wanted.via is not Via.NONE:
        sets += [name for each in wanted.bare for name in each.lacking.values()]
    topic = wanted.topic(number)
    queues = (wanted.queue, wanted.dead)
    events = {
        Via.SQS: queue_policy(access.region, number, *queues),
        Via.SNS: push_policy(account.feedback.topics or [topic]),
    }
    return Policies(
        principal=principal,
        external_id=external_id,
        trust=trust_policy(principal, external_id) if principal and external_id else None,
        send=send_policy(access.region, number, names, sets),
        setup=setup_policy(access.region, number, topic.rpartition(":")[2], queues if wanted.via is Via.SQS else ()),
        events=events.get(wanted.via),
        suppression=suppression_policy(),
        said=said,
    )
