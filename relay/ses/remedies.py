"""What to do about what SES answers, in words an operator can follow. Pure. See also `proof`, which asks AWS first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from relay.errors import Kind
from relay.ses.errors import Scope, SesProblem


@dataclass(frozen=True, slots=True)
class Place:
    """Where it happened. `domain` "" and `tenant` None: there is none."""

    account: str
    region: str
    domain: str = ""
    tenant: str | None = None


_QUOTED = r"[`'\"\u2018\u2019]?"
_DENIED = re.compile(
    rf"(?:User: (?P<who>\S+) )?is not authorized to perform:? {_QUOTED}(?P<action>[a-z0-9-]+:[A-Za-z*]+){_QUOTED}"
    rf"(?: on resource:? {_QUOTED}(?P<arn>[^\s`'\"\u2018\u2019]+))?"
)
_DENIED_BY = re.compile(r"with an explicit deny in an? ([a-z][a-z -]{0,60})")
_UNKNOWN_KEY = {"UnrecognizedClientException", "InvalidClientTokenId"}
_WRONG_SECRET = {"SignatureDoesNotMatch", "InvalidSignatureException"}
_DASHBOARD = "SES console, Account dashboard"


def remedy_of(problem: SesProblem, place: Place) -> str:
    """How to mend it; "" where that is nothing for an operator, as with one message that SES does not take."""
    if problem.remedy:
        return problem.remedy
    if problem.scope is Scope.HOST:
        return "set it: AWS takes requests that are at most five minutes off (run an NTP client)"
    match problem.kind:
        case Kind.SES_REJECTED if "identities failed the check" in problem.said:
            return _production(place)
        case Kind.SES_QUOTA:
            return (
                f"nothing: it goes on as the oldest sends of account {place.account} turn 24 hours old; or ask AWS for "
                f"a higher quota in {place.region} (Service Quotas, SES)"
            )
        case Kind.SES_PAUSED:
            return _paused(problem, place)
        case Kind.SES_UNVERIFIED:
            return _unverified(problem, place)
        case Kind.SES_CONFIG:
            return _missing(problem, place)
        case Kind.SES_DENIED:
            return _denied(problem, place)
        case Kind.SES_UNAVAILABLE:
            return _out_of_reach(problem, place)
    return ""


def _production(place: Place) -> str:
    return (
        f"account {place.account} is in the SES sandbox in {place.region}: ask for production access ({_DASHBOARD}); "
        "until then mail goes to verified addresses only"
    )


def _paused(problem: SesProblem, place: Place) -> str:
    if problem.configuration_set:
        name = problem.configuration_set
        return (
            f"let configuration set {name} of account {place.account} in {place.region} send again (SES console, "
            f"Configuration sets, {name}), after a look at why it was paused"
        )
    if problem.code == "AccountSuspendedException":
        return f"AWS has shut account {place.account} out of SES for good: open a case with AWS, or use another account"
    return (
        f"settle with AWS why it paused account {place.account} in {place.region}: see its mail to the account's "
        f"owner, and {_DASHBOARD}"
    )


def _unverified(problem: SesProblem, place: Place) -> str:
    if problem.code == "MailFromDomainNotVerifiedException":
        return (
            f"publish the MX record of {place.domain}'s custom MAIL FROM domain (`relay domain dns {place.domain}` has "
            "it), or let SES use its own where that is missing (BehaviorOnMxFailure: USE_DEFAULT_VALUE)"
        )
    return (
        f"verify {place.domain} in account {place.account} in {place.region}: `relay domain dns {place.domain}` lists "
        f"what to publish, `relay domain verify {place.domain}` looks at once"
    )


def _missing(problem: SesProblem, place: Place) -> str:
    if problem.configuration_set:
        name = problem.configuration_set
        return (
            f"make configuration set {name} in account {place.account} in {place.region}, or name another for "
            f"{place.domain}"
        )
    if "tenant" in problem.said.lower():
        tenant = f"SES tenant {place.tenant}" if place.tenant else "the SES tenant"
        return (
            f"associate the identity {place.domain} and its configuration sets with {tenant} in account "
            f"{place.account} in {place.region}, or name another tenant"
        )
    return f"make what is missing in account {place.account} in {place.region}, or let {place.domain} do without it"


def _denied(problem: SesProblem, place: Place) -> str:
    if denied := _DENIED.search(problem.said):
        who = denied["who"] or f"the credentials of account {place.account}"
        where = f" on {denied['arn']}" if denied["arn"] else ""
        if by := _DENIED_BY.search(problem.said):
            return f"an explicit deny in {by[1].strip()} forbids {denied['action']}{where} to {who}: take it away there"
        return f"allow {denied['action']}{where} in a policy of {who}"
    test = f"then `relay account test {place.account}` proves it"
    if problem.is_expired:
        return (
            f"the temporary credentials of account {place.account} have ended: give it others, or a role, which renews "
            f"itself; {test}"
        )
    if problem.code in _UNKNOWN_KEY:
        return (
            f"the access key of account {place.account} was deleted or deactivated, or {place.region} is not enabled "
            f"in its AWS account: give it another (`relay account set {place.account}`); {test}"
        )
    if problem.code in _WRONG_SECRET:
        return (
            f"the secret of account {place.account} does not belong to its access key id: give it again "
            f"(`relay account set {place.account}`); {test}"
        )
    if problem.code == str(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED.value):
        return f"give the proxy's user and password in the egress of account {place.account}; {test}"
    if problem.code == "OptInRequired":
        return f"sign the AWS account of {place.account} up for SES, or enable {place.region} there (AWS console)"
    return f"mend the credentials of account {place.account}: `relay account test {place.account}` says what lacks"


def _out_of_reach(problem: SesProblem, place: Place) -> str:
    if problem.code:
        return f"nothing, where AWS has trouble in {place.region} (health.aws.amazon.com); it is tried again by itself"
    if "SSL" in problem.said:
        return (
            f"see what ends TLS between this machine and SES in {place.region}: a proxy needs its authority in the "
            f"account's ca_bundle; `relay account test {place.account}` tries it"
        )
    return (
        f"let this machine reach SES in {place.region} by HTTPS: check firewall, name servers and the account's proxy; "
        f"`relay account test {place.account}` tries it"
    )
