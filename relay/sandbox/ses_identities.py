"""The SES v2 REST operations on identities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox import verification
from relay.sandbox.accounts import Account
from relay.sandbox.cloud import Cloud
from relay.sandbox.identities import DEFAULT_BEHAVIOR, SIGNING_ZONE, Identity, Status
from relay.sandbox.paging import page, read_size, read_token
from relay.sandbox.refusals import Refusal
from relay.sandbox.wire import Caller, Json, answer, member, read_listing, read_object

_BEHAVIORS = (DEFAULT_BEHAVIOR, "REJECT_MESSAGE")
_MOST_TAGS = 50
_KEY_LENGTH = "RSA_2048_BIT"


async def create_email_identity(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    wanted = read_object(body)
    region = cloud.region(caller)
    configuration_set = member(wanted, "ConfigurationSetName", str) or None
    region.configuration_sets.check_default(configuration_set)
    if set(member(wanted, "DkimSigningAttributes", dict) or {}) - {"NextSigningKeyLength"}:
        raise Refusal("BadRequestException", "The sandbox has Easy DKIM only.")
    name, tags = member(wanted, "EmailIdentity", str) or "", _read_tags(wanted)
    identity = region.identities.create(name, datetime.now(UTC), configuration_set, tags)
    return answer(
        {
            "IdentityType": _kind(identity),
            "VerifiedForSendingStatus": identity.is_verified,
            "DkimAttributes": _dkim(identity),
        }
    )


async def get_email_identity(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    """Looks into the DNS first, where there is one: what it says holds for sending until it is asked again."""
    identities, name = cloud.region(caller).identities, request.path_params["name"]
    identity = identities.find(name)
    if cloud.lookups is not None:
        checked = await verification.check(identity, caller.region, cloud.lookups, datetime.now(UTC))
        identities.change(identity, checked)
        identity = identities.find(name)  # somebody may have been faster
    identity = _as_scripted(identity, caller.account)
    shown = {
        "IdentityType": _kind(identity),
        "FeedbackForwardingStatus": identity.forwards_feedback,
        "VerifiedForSendingStatus": identity.is_verified,
        "VerificationStatus": identity.status.value,
        "VerificationInfo": _verification(identity),
        "DkimAttributes": _dkim(identity, identity.name in caller.account.dkim_failed),
        "MailFromAttributes": _mail_from(identity),
        "Policies": {},
        "Tags": [{"Key": key, "Value": value} for key, value in identity.tags.items()],
    }
    if identity.configuration_set is not None:
        shown["ConfigurationSetName"] = identity.configuration_set
    return answer(shown)


async def delete_email_identity(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    cloud.region(caller).identities.delete(request.path_params["name"])
    return answer({})


async def list_email_identities(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    wanted = read_listing(request, body)
    wanted_filter: Json = member(wanted, "Filter", dict) or {}
    everything = (_as_scripted(each, caller.account) for each in cloud.region(caller).identities)
    held = {each.name: each for each in everything if _fits(each, wanted_filter)}
    after = read_token(member(wanted, "NextToken", str))
    names, more = page(held, read_size(wanted.get("PageSize")), after)
    shown = [
        {
            "IdentityType": _kind(held[name]),
            "IdentityName": name,
            "SendingEnabled": held[name].is_verified,
            "VerificationStatus": held[name].status.value,
        }
        for name in names
    ]
    return answer({"EmailIdentities": shown} | more)


async def put_mail_from(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    wanted, identities = read_object(body), cloud.region(caller).identities
    identity = identities.find(request.path_params["name"])
    behavior = member(wanted, "BehaviorOnMxFailure", str) or DEFAULT_BEHAVIOR
    if behavior not in _BEHAVIORS:
        raise Refusal("BadRequestException", f"BehaviorOnMxFailure must be one of {', '.join(_BEHAVIORS)}.")
    domain = member(wanted, "MailFromDomain", str) or ""
    identities.change(identity, identities.with_mail_from(identity, domain, behavior))
    return answer({})


async def put_configuration_set(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    """The default for mail that names none. Left out, there is none any more."""
    wanted, region = read_object(body), cloud.region(caller)
    identity = region.identities.find(request.path_params["name"])
    configuration_set = member(wanted, "ConfigurationSetName", str) or None
    region.configuration_sets.check_default(configuration_set)
    region.identities.change(identity, replace(identity, configuration_set=configuration_set))
    return answer({})


async def put_feedback(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    """Whether bounces and complaints come by mail, too; no mail comes of it here."""
    identities = cloud.region(caller).identities
    identity = identities.find(request.path_params["name"])
    forwards = read_object(body).get("EmailForwardingEnabled") is True
    identities.change(identity, replace(identity, forwards_feedback=forwards))
    return answer({})


def _fits(identity: Identity, wanted: Json) -> bool:
    facts = {"IDENTITY_TYPE": _kind(identity), "VERIFICATION_STATUS": identity.status.value}
    for name, value in wanted.items():
        if name not in {*facts, "IDENTITY_NAME_CONTAINS"} or not isinstance(value, str):
            raise Refusal("BadRequestException", "The filter is not one of SES.")
        if not (value.lower() in identity.name if name not in facts else value == facts[name]):
            return False
    return True


def _read_tags(wanted: Json) -> Mapping[str, str]:
    tags = member(wanted, "Tags", list) or []
    if len(tags) > _MOST_TAGS or not all(isinstance(tag, dict) for tag in tags):
        raise Refusal("BadRequestException", f"Tags takes a list of at most {_MOST_TAGS} objects.")
    read = {member(tag, "Key", str) or "": member(tag, "Value", str) or "" for tag in tags}
    if any(not 0 < len(key) <= 128 or len(value) > 256 for key, value in read.items()):
        raise Refusal("BadRequestException", "A tag's key has 1 to 128 characters, its value at most 256.")
    return read


def _kind(identity: Identity) -> str:
    return "DOMAIN" if identity.is_domain else "EMAIL_ADDRESS"


def _as_scripted(identity: Identity, account: Account) -> Identity:
    if identity.name in account.unverified:
        identity = replace(identity, status=Status.FAILED, error="HOST_NOT_FOUND")
    if identity.mail_from is not None and identity.name in account.mail_from_failed:
        identity = replace(identity, mail_from=replace(identity.mail_from, status=Status.FAILED))
    return identity


def _dkim(identity: Identity, has_failed: bool = False) -> Json:
    if not identity.is_domain:
        return {"SigningEnabled": False, "Status": "NOT_STARTED", "SigningAttributesOrigin": "AWS_SES"}
    return {
        "SigningEnabled": True,
        "Status": (Status.FAILED if has_failed else identity.status).value,
        "Tokens": list(identity.tokens),
        "SigningHostedZone": SIGNING_ZONE,
        "SigningAttributesOrigin": "AWS_SES",
        "NextSigningKeyLength": _KEY_LENGTH,
        "CurrentSigningKeyLength": _KEY_LENGTH,
        "LastKeyGenerationTimestamp": identity.created_at.timestamp(),
    }


def _mail_from(identity: Identity) -> Json:
    mail_from = identity.mail_from
    if mail_from is None:
        return {"BehaviorOnMxFailure": DEFAULT_BEHAVIOR}
    return {
        "MailFromDomain": mail_from.domain,
        "MailFromDomainStatus": mail_from.status.value,
        "BehaviorOnMxFailure": mail_from.behavior,
    }


def _verification(identity: Identity) -> Json:
    known = {
        "ErrorType": identity.error,
        "LastCheckedTimestamp": identity.checked_at and identity.checked_at.timestamp(),
        "LastSuccessTimestamp": identity.verified_at and identity.verified_at.timestamp(),
    }
    return {name: value for name, value in known.items() if value is not None}
