"""The SES v2 REST operations that send: SendEmail and GetAccount."""

from __future__ import annotations

import binascii
import time
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox.accounts import Account
from relay.sandbox.cloud import Cloud
from relay.sandbox.events import events_of
from relay.sandbox.mailbox import Captured
from relay.sandbox.publishing import publish
from relay.sandbox.refusals import Refusal
from relay.sandbox.rules import Sending, admit
from relay.sandbox.simulator import is_simulator
from relay.sandbox.wire import Caller, Json, answer, member, read_object


async def send_email(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    """Accept one raw message, or raise Refusal. FromEmailAddress replaces the From check, not the captured header."""
    sending, region = _read_sending(read_object(body)), cloud.region(caller)
    _check_standing(caller.account)
    has_verified = partial(region.identities.has_verified, lost=caller.account.unverified)
    letter = admit(sending, caller.account, caller.region, has_verified)
    configuration_set = sending.configuration_set or region.identities.configuration_set(letter.sender)
    region.configuration_sets.check_use(configuration_set)
    if configuration_set in caller.account.paused_sets or region.configuration_sets.is_paused(configuration_set):
        text = f"Sending is paused for configuration set {configuration_set}"
        raise Refusal("SendingPausedException", text)
    counted = sum(1 for recipient in letter.recipients if not is_simulator(recipient))
    region.allowance.follow(caller.account)
    region.allowance.spend(len(letter.recipients), counted, time.monotonic())
    now = datetime.now(UTC)
    captured = Captured(
        id=f"0102{int(now.timestamp() * 1000):012x}-{uuid4()}-000000",
        account=caller.account.name,
        region=caller.region,
        recipients=letter.recipients,
        tags=dict(sending.tags),
        configuration_set=configuration_set,
        raw=sending.raw,
        received_at=now,
        tracking=dict(sending.tracking),
        sender=letter.sender,
    )
    cloud.mailbox.add(captured)
    if configuration_set is not None:  # event destinations belong to configuration sets
        events = list(events_of(captured, letter.headers, caller.account.number))
        publish(cloud, region, configuration_set, events)
    return answer({"MessageId": captured.id})


async def get_account(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    account = caller.account
    cloud.region(caller).allowance.follow(account)
    return answer(
        {
            "DedicatedIpAutoWarmupEnabled": False,
            "EnforcementStatus": account.enforcement,
            "ProductionAccessEnabled": account.production,
            "SendingEnabled": account.may_send,
            "SendQuota": {
                "Max24HourSend": account.daily_quota if account.daily_quota >= 0 else -1.0,
                "MaxSendRate": account.rate,
                "SentLast24Hours": float(cloud.region(caller).allowance.sent(time.monotonic())),
            },
            "Details": {
                "MailType": "TRANSACTIONAL",
                "WebsiteURL": "https://sandbox.example",
                "ContactLanguage": "EN",
                "UseCaseDescription": "Played by the sandbox.",
                "ReviewDetails": {"Status": "GRANTED" if account.production else "PENDING"},
            },
            "SuppressionAttributes": {"SuppressedReasons": ["BOUNCE", "COMPLAINT"]},
        }
    )


def _check_standing(account: Account) -> None:
    """Raise Refusal while the account may not send; in the words of SES, one for each of the two ways (SES facts 2)."""
    if account.is_paused:
        raise Refusal("SendingPausedException", "Account sending is disabled.")
    if not account.may_send:
        text = "For more information, please check the inbox of the email address associated with your AWS account."
        raise Refusal("MessageRejected", f"Sending paused for this account. {text}")


def _read_sending(request: Json) -> Sending:
    return Sending(
        raw=_read_raw(request),
        sender=member(request, "FromEmailAddress", str),
        feedback=member(request, "FeedbackForwardingEmailAddress", str),
        recipients=_read_destination(request),
        tags=_read_tags(request),
        configuration_set=member(request, "ConfigurationSetName", str),
        tracking=_read_tracking(request),
    )


def _read_raw(request: Json) -> bytes:
    content: Json = member(request, "Content", dict) or {}
    raw: Json | None = member(content, "Raw", dict)
    if raw is None or len(content) > 1:
        raise Refusal("BadRequestException", "The sandbox takes Content.Raw, alone.")
    try:
        return binascii.a2b_base64(member(raw, "Data", str) or "", strict_mode=True)
    except ValueError:
        raise Refusal("SerializationException", "Content.Raw.Data is not base64.") from None


def _read_destination(request: Json) -> tuple[str, ...] | None:
    destination: Json | None = member(request, "Destination", dict)
    if destination is None:
        return None
    recipients: list[str] = []
    for name in ("ToAddresses", "CcAddresses", "BccAddresses"):
        recipients += member(destination, name, list) or []
    if not all(isinstance(recipient, str) for recipient in recipients):
        raise Refusal("SerializationException", "Destination takes lists of strings.")
    return tuple(recipients) or None


def _read_tags(request: Json) -> tuple[tuple[str, str], ...]:
    tags = []
    for tag in member(request, "EmailTags", list) or []:
        if not isinstance(tag, dict):
            raise Refusal("SerializationException", "EmailTags takes a list of objects.")
        tags.append((member(tag, "Name", str) or "", member(tag, "Value", str) or ""))
    return tuple(tags)


def _read_tracking(request: Json) -> tuple[tuple[str, str], ...]:
    overrides: Json = member(request, "ConfigurationOverrides", dict) or {}
    tracking: Json = member(overrides, "Tracking", dict) or {}
    found = [(name, member(tracking, name, str)) for name in ("OpenTrackingEnabled", "ClickTrackingEnabled")]
    said = [(name, value) for name, value in found if value is not None]
    for name, value in said:
        if value not in {"ENABLED", "DISABLED"}:
            raise Refusal("BadRequestException", f"{name} must be ENABLED or DISABLED.")
    return tuple(said)


def ses_refusal(refusal: Refusal) -> Response:
    """A refusal in the form of the rest-json protocol."""
    return answer({"message": refusal.message}, refusal.status, **{"x-amzn-ErrorType": refusal.code})


async def unknown(request: Request) -> Response:
    return ses_refusal(Refusal("UnknownOperationException"))
