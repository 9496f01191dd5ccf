"""What an event of SES means (SES fact 4): about which mail it is, for whom, and what follows. Pure.

Every type that SES publishes, the older notifications of identities, and what SES may yet publish, which is kept as it
came. Types and subtypes are compared without regard to case; parts that are missing are normal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from relay.delivery import RecipientState
from relay.feedback.envelopes import Json, NotAnEvent
from relay.feedback.parts import (
    first_of,
    link_of,
    moment_of,
    number_of,
    part_of,
    people_of,
    said,
    text_of,
    whole_of,
)
from relay.store.heard import Heard, Listing, Person

_ID = re.compile(r"[!-~]{1,200}")  # of mail, as SES makes them
MOST_RAW = 64 << 10  # characters of an event that nobody understands

BOUNCED = Listing("bounce", "ses", 2)
COMPLAINED = Listing("complaint", "ses", 3)
ON_ACCOUNT_LIST = Listing("bounce", "ses-account", 2)
ON_TENANT_LIST = Listing("bounce", "ses-tenant", 2)
UNFIT = Listing("validation", "ses-validation", 1, timedelta(days=30))


@dataclass(frozen=True, slots=True)
class _Bounce:
    """What a sort of bounce means. `counts`: towards SES's own bounce rate, and so towards a standing here."""

    type: str
    state: RecipientState
    fate: str
    listing: Listing | None = None
    counts: bool = False


_HARD = _Bounce("email.bounced", RecipientState.BOUNCED, "bounced", BOUNCED, counts=True)
_SOFT = _Bounce("email.soft_bounced", RecipientState.SOFT_BOUNCED, "soft_bounced")
_OPTED_OUT = _Bounce("email.suppressed", RecipientState.SUPPRESSED, "suppressed")
# By subtype, where that says more than the type (SES fact 4, the table of bounces).
_PERMANENT = {
    "onaccountsuppressionlist": _Bounce("email.bounced", RecipientState.BOUNCED, "bounced", ON_ACCOUNT_LIST),
    "ontenantsuppressionlist": _Bounce("email.bounced", RecipientState.BOUNCED, "bounced", ON_TENANT_LIST),
    "emailvalidationsuppressed": _Bounce("email.bounced", RecipientState.BOUNCED, "bounced", UNFIT),
}
_UNSUBSCRIBED = "unsubscribedrecipient"


def read(event: Json) -> Heard:
    """Raises NotAnEvent for what is about no mail at all."""
    mail = event.get("mail")
    if not isinstance(mail, Mapping):
        raise NotAnEvent("it has no mail")
    ses_message_id = mail.get("messageId")
    if not isinstance(ses_message_id, str) or not _ID.fullmatch(ses_message_id):
        raise NotAnEvent("its mail has no messageId")
    kind = text_of(event.get("eventType")) or text_of(event.get("notificationType")) or ""
    name = re.sub(r"[^a-z]", "", kind.lower())
    reader = _READERS.get(name)
    found = reader(event, mail) if reader is not None else None
    if found is None:
        slug = re.sub(r"[^a-z0-9]+", "_", kind.lower()).strip("_")[:40] or "unknown"
        found = {"type": f"ses.{slug}", "raw": json.dumps(event)[:MOST_RAW], "stamp": json.dumps(event, sort_keys=True)}
    stamp = found.pop("stamp")
    tags = mail.get("tags")
    tags = tags if isinstance(tags, Mapping) else {}
    at = found.pop("at", None)
    to = mail.get("destination")
    # Of mail to one it is of that one. Whom a bounce names, its receiver wrote (Final-Recipient), and may be anybody.
    if found.get("is_of_all") or ("people" in found and isinstance(to, list) and len(to) == 1):
        found["people"] = people_of(to, None)
    return Heard(
        ses_message_id=ses_message_id,
        key=sha256(f"{name}\0{ses_message_id}\0{stamp}".encode("utf-8", "surrogatepass")).digest(),
        at=at if at is not None else moment_of(mail.get("timestamp")),
        delivery_id=number_of(tags.get("relay_id")),
        attempt=number_of(tags.get("attempt")),
        probe_id=number_of(tags.get("relay_probe")),
        **found,
    )


# -- one reader for each type. What they find are members of Heard, and `stamp`: what tells copies from others ---------

_Found = dict[str, Any]


def _send(event: Json, mail: Json) -> _Found:
    return {"type": "email.sent", "stamp": "", "is_of_all": True}


def _delivery(event: Json, mail: Json) -> _Found:
    part = part_of(event, "delivery")
    return {
        "type": "email.delivered",
        "stamp": part.get("timestamp"),
        "at": moment_of(part.get("timestamp")),
        "people": people_of(part.get("recipients"), None),
        "state": RecipientState.DELIVERED,
        "fate": "delivered",
        "data": {
            "smtp_response": said(part.get("smtpResponse")),
            "processing_ms": whole_of(part.get("processingTimeMillis")),
            "reporting_mta": said(part.get("reportingMTA")),
            "remote_mta_ip": said(part.get("remoteMtaIp")),
        },
    }


def _bounce(event: Json, mail: Json) -> _Found:
    part = part_of(event, "bounce")
    sort, subsort = text_of(part.get("bounceType")) or "Undetermined", text_of(part.get("bounceSubType"))
    means = _meaning(sort.lower(), (subsort or "").lower())
    people = part.get("bouncedRecipients")
    first = first_of(people)
    return {
        "type": means.type,
        "stamp": part.get("feedbackId") or part.get("timestamp"),
        "at": moment_of(part.get("timestamp")),
        "people": people_of(people, "emailAddress"),
        "state": means.state,
        "fate": means.fate,
        "listing": means.listing,
        "is_bounce": means.counts,
        "data": {
            "bounce_type": said(sort),
            "bounce_subtype": said(subsort),
            "action": said(first.get("action")),
            "status": said(first.get("status")),
            "diagnostic": said(first.get("diagnosticCode")),
            "reporting_mta": said(part.get("reportingMTA")),
            "feedback_id": said(part.get("feedbackId")),
        },
    }


def _meaning(sort: str, subsort: str) -> _Bounce:
    if subsort == _UNSUBSCRIBED:
        return _OPTED_OUT  # of a list of SES: the address itself is as good as any
    return _PERMANENT.get(subsort, _HARD) if sort == "permanent" else _SOFT


def _complaint(event: Json, mail: Json) -> _Found:
    part = part_of(event, "complaint")
    sort = text_of(part.get("complaintFeedbackType"))
    subsort = text_of(part.get("complaintSubType"))
    people = people_of(part.get("complainedRecipients"), "emailAddress")
    is_ambiguous = _is_ambiguous(people, mail)
    found: _Found = {
        "stamp": part.get("feedbackId") or part.get("timestamp"),
        "at": moment_of(part.get("timestamp")),
        "people": people,
        "data": {
            "complaint_type": said(sort),
            "complaint_subtype": said(subsort),
            "user_agent": said(part.get("userAgent")),
            "feedback_id": said(part.get("feedbackId")),
            "is_ambiguous": is_ambiguous,
        },
    }
    match (sort or "").lower():
        case "not-spam":  # somebody takes it back: the mail was wanted
            return found | {"type": "email.not_spam"}
        case "auth-failure":  # of the domain's owner, not of a reader
            return found | {"type": "email.auth_failure"}
    if (subsort or "").lower().endswith("suppressionlist"):  # SES sent nothing: an echo of an earlier complaint
        listing = Listing("complaint", "ses-account", COMPLAINED.rank)
        state = RecipientState.SUPPRESSED
        return found | {"type": "email.suppressed", "state": state, "fate": "suppressed", "listing": listing}
    return found | {
        "type": "email.complained",
        "state": RecipientState.COMPLAINED,
        "fate": "complained",
        "listing": COMPLAINED,
        "is_complaint": True,
        "is_ambiguous": is_ambiguous,
    }


def _is_ambiguous(people: Sequence[Person], mail: Json) -> bool:
    """Whether it may be of another reader. SES names everyone at the domain whom the mail went to (SES fact 4)."""
    if len(people) != 1:
        return True
    domain = people[0].address.rpartition("@")[2]
    to = mail.get("destination")
    theirs = [each for each in to if isinstance(each, str)] if isinstance(to, list) else []
    return sum(each.rstrip("> ").lower().endswith(f"@{domain}") for each in theirs) > 1


def _reject(event: Json, mail: Json) -> _Found:
    part = part_of(event, "reject")
    return {
        "type": "email.rejected",
        "stamp": "",
        "is_of_all": True,
        "state": RecipientState.REJECTED,
        "fate": "rejected",
        "data": {"reason": said(part.get("reason"))},
    }


def _failure(event: Json, mail: Json) -> _Found:
    part = part_of(event, "failure")
    return {
        "type": "email.failed",
        "stamp": "",
        "is_of_all": True,
        "state": RecipientState.FAILED,
        "fate": "failed",
        "data": {"reason": "ses_rendering", "detail": said(part.get("errorMessage"))},
    }


def _delay(event: Json, mail: Json) -> _Found:
    part = part_of(event, "deliveryDelay")
    people = part.get("delayedRecipients")
    first = first_of(people)
    return {
        "type": "email.delayed",
        "stamp": part.get("timestamp"),
        "at": moment_of(part.get("timestamp")),
        "people": people_of(people, "emailAddress"),
        "state": RecipientState.DELAYED,
        "fate": "delayed",
        "data": {
            "delay_type": said(part.get("delayType")),
            "expires_at": moment_of(part.get("expirationTime")),
            "status": said(first.get("status")),
            "diagnostic": said(first.get("diagnosticCode")),
        },
    }


def _open(event: Json, mail: Json) -> _Found:
    part = part_of(event, "open")
    return _seen("opened", part, {})


def _click(event: Json, mail: Json) -> _Found:
    part = part_of(event, "click")
    return _seen("clicked", part, {"link": link_of(part.get("link"))})


def _seen(fate: str, part: Json, data: Json) -> _Found:
    """Where a reader is (`ipAddress`) is nobody's business here."""
    return {
        "type": f"email.{fate}",
        "stamp": [part.get("timestamp"), part.get("userAgent"), part.get("ipAddress"), part.get("link")],
        "at": moment_of(part.get("timestamp")),
        "is_of_all": True,
        "fate": fate,
        "data": {"user_agent": said(part.get("userAgent")), **data},
    }


def _subscription(event: Json, mail: Json) -> _Found | None:
    """None where somebody subscribed: nobody here has to know."""
    part = part_of(event, "subscription")
    if not _has_left(part.get("newTopicPreferences")):
        return None
    return {
        "type": "email.unsubscribed",
        "stamp": part.get("timestamp"),
        "at": moment_of(part.get("timestamp")),
        "is_of_all": True,
        "fate": "unsubscribed",
        "data": {"contact_list": said(part.get("contactList"))},
    }


def _has_left(preferences: object) -> bool:
    if not isinstance(preferences, Mapping):
        return False
    if preferences.get("unsubscribeAll") is True:
        return True
    topics = preferences.get("topicSubscriptionStatus", preferences.get("topicPreferences"))
    return isinstance(topics, list) and any(
        isinstance(each, Mapping) and str(each.get("subscriptionStatus", "")).lower() in {"optout", "opt_out"}
        for each in topics
    )


_READERS: Mapping[str, Callable[[Json, Json], _Found | None]] = {
    "send": _send,
    "delivery": _delivery,
    "bounce": _bounce,
    "complaint": _complaint,
    "reject": _reject,
    "renderingfailure": _failure,
    "deliverydelay": _delay,
    "open": _open,
    "click": _click,
    "subscription": _subscription,
}
