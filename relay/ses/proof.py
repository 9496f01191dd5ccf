"""Proves what an SES account can do, and says in words what is wrong and how to mend it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from relay.errors import Kind
from relay.ses.access import Access, Chain, Profile, Role
from relay.ses.clients import Accounts
from relay.ses.errors import Scope, SesProblem
from relay.ses.finding import Finding
from relay.ses.sts import Caller
from relay.ses.wire import Quota


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found, in the order of looking. `caller` and `quota` are None where AWS did not say."""

    account: str
    region: str
    findings: tuple[Finding, ...]
    caller: Caller | None
    quota: Quota | None

    @property
    def is_ok(self) -> bool:
        """Whether the account can carry mail to anyone now."""
        return all(finding.is_ok for finding in self.findings)


async def prove(accounts: Accounts, access: Access) -> Proof:
    """Ask AWS who the credentials are and what SES grants them. Sends nothing, and raises nothing.

    Whether they may send shows only in a message, for example to success@simulator.amazonses.com (SES fact 7.2).
    """
    caller = quota = None
    who: SesProblem | None = None
    limits: SesProblem | None = None
    try:
        caller = await accounts.caller(access)
    except SesProblem as problem:
        who = problem
    if who is None or who.kind not in {Kind.SES_DENIED, Kind.SES_CONFIG}:
        try:
            async with accounts.briefly(access) as account:
                quota = await account.quota()
        except SesProblem as problem:
            limits = problem
    findings = [_identity(access, caller or who, is_known=quota is not None)]
    if quota is not None:
        findings += read_quota(quota, access.region)
    elif limits is not None:
        findings.append(Finding("account", False, limits.said, remedy_of(limits, access)))
    return Proof(access.name, access.region, tuple(findings), caller, quota)


def _identity(access: Access, found: Caller | SesProblem | None, *, is_known: bool) -> Finding:
    if isinstance(found, Caller):
        return Finding("identity", True, f"AWS account {found.account_number}, as {found.arn}")
    assert found is not None
    if is_known:  # SES took the credentials: only STS is out of reach, and nothing but a role needs it
        return Finding(
            "identity", True, f"AWS STS cannot be asked who this is ({found.said}); SES takes the credentials"
        )
    return Finding("identity", False, found.said, remedy_of(found, access, "sts"))


def read_quota(quota: Quota, region: str) -> list[Finding]:
    """What GetAccount's answer means for sending."""
    account_dashboard = "see the SES console's Account dashboard and AWS's mail to the account"
    production = (
        f"ask AWS for production access in {region} (SES console, Account dashboard); until then mail goes to verified "
        "addresses only"
    )
    daily = "no daily limit" if quota.daily is None else f"{quota.daily:,.0f} in 24 hours, {quota.sent_today:,.0f} used"
    is_left = quota.daily is None or quota.sent_today < quota.daily
    used_up = "wait until the oldest sends are 24 hours old, or ask AWS for a higher quota (Service Quotas, SES)"
    other = Finding("enforcement", True, f"AWS calls the account's standing {quota.enforcement}")
    return [
        Finding("production", True, f"production access in {region}")
        if quota.is_production
        else Finding("production", False, f"the account is in the SES sandbox in {region}", production),
        Finding("sending", True, "sending is enabled")
        if quota.is_sending_enabled
        else Finding("sending", False, "sending is switched off for the account", account_dashboard),
        _ENFORCEMENT.get(quota.enforcement, other),
        Finding("quota", is_left, f"{quota.rate:,.4g} recipients a second; {daily}", "" if is_left else used_up),
    ]


_ENFORCEMENT = {
    "HEALTHY": Finding("enforcement", True, "the account's standing is healthy"),
    "PROBATION": Finding(
        "enforcement",
        False,
        "AWS has the account under review (PROBATION): it still sends",
        "lower bounces and complaints, and answer AWS's case before SES stops the account",
    ),
    "SHUTDOWN": Finding(
        "enforcement",
        False,
        "AWS has stopped the account's sending (SHUTDOWN)",
        "answer AWS's case (SES console, Reputation metrics) with what was changed, and ask for a new review",
    ),
}

_ACTION = re.compile(r"perform:?\s+[`'\"]?([a-z0-9-]+:[A-Za-z]+)")
_WRONG_SECRET = {"SignatureDoesNotMatch", "InvalidSignatureException"}
_UNKNOWN_KEY = {"UnrecognizedClientException", "InvalidClientTokenId"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException"}
_ACCESS_DENIED = {"AccessDenied", "AccessDeniedException"}


def remedy_of(problem: SesProblem, access: Access, service: Literal["email", "sts"] = "email") -> str:
    """How to mend what kept a service of AWS from answering."""
    if problem.remedy:
        return problem.remedy
    if problem.scope is Scope.HOST:
        return "set this machine's clock: AWS takes requests that are at most five minutes off (run an NTP client)"
    if problem.code in _WRONG_SECRET:
        return f"the secret access key does not belong to the access key id: mend {_source(access)}"
    if problem.code in _UNKNOWN_KEY:
        return (
            f"the access key was deleted or deactivated, is of another AWS partition than {access.region}, or the "
            f"region is not enabled in the account: mend {_source(access)}"
        )
    if problem.code in _EXPIRED:
        return f"temporary credentials have ended: renew {_source(access)}, or use a role, which renews itself"
    if problem.code in _ACCESS_DENIED:
        action = _ACTION.search(problem.said)
        return f"allow {action[1] if action else 'ses:GetAccount'} in a policy of {_holder(access)}"
    if problem.code == "OptInRequired":
        return f"sign the AWS account up for SES, or enable {access.region} for it (AWS console, Account)"
    if problem.kind is Kind.SES_DENIED:
        return f"mend {_source(access)}"
    if problem.kind is Kind.SES_THROTTLED:
        return "wait a minute, then test again: others call AWS with this account, too"
    if problem.kind is Kind.SES_PAUSED:
        return "see the SES console's Account dashboard and AWS's mail to the account"
    if problem.code:
        return "test again later; if it stays, ask AWS with the words above"
    own = access.endpoint_url if service == "email" else None
    where = own or f"{service}.{access.region}.amazonaws.com"
    way = "the egress proxy" if access.proxy else "the firewall and the name servers"
    return f"let this machine reach {where} by HTTPS: check {way}" + (", and the ca_bundle" if access.ca_bundle else "")


def _source(access: Access) -> str:
    match access.credentials:
        case Profile(name):
            return f"profile {name} in the AWS configuration files"
        case Chain():
            return "the credentials of the default chain (environment, files, instance role)"
        case Role(role_arn):
            return f"the role {role_arn}"
    return "the account's access key"


def _holder(access: Access) -> str:
    if isinstance(access.credentials, Role):
        return access.credentials.role_arn
    return "the user or role that the credentials are of"
