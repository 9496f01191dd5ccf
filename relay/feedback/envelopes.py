"""Takes an event of SES out of what it came in: an SNS envelope, an EventBridge one, or nothing (SES fact 5). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]
# What SES publishes first to a new destination, as plain text (SES fact 4).
NOTICE = "Successfully validated SNS topic"
_MOST = 1 << 20  # octets of a queue's message (SES fact 5.3)


class NotAnEvent(ValueError):
    """It is no event, and never will be. The text says what it is instead, without quoting it."""


class Notice(Exception):
    """It is what AWS says to a new queue or topic: nothing to do."""


def unwrapped(body: str) -> Json:
    """The event in the body of a queue's message, or in the Message of what SNS posts. Raises NotAnEvent or Notice."""
    if len(body) > _MOST:
        raise NotAnEvent(f"it is over {_MOST} characters")
    found = _object(body)
    if found.get("Type") in ("SubscriptionConfirmation", "UnsubscribeConfirmation"):  # whatever JSON it is
        raise Notice
    if "Message" in found and "TopicArn" in found:  # SNS
        message = found["Message"]
        if not isinstance(message, str):
            raise NotAnEvent("the Message of its SNS envelope is no text")
        found = _object(message)
    if isinstance(detail := found.get("detail"), dict) and "detail-type" in found:  # EventBridge
        found = detail
    return found


def _object(text: str) -> dict[str, Any]:
    if text.startswith(NOTICE):
        raise Notice
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise NotAnEvent("it is not JSON") from None
    if not isinstance(found, dict):
        raise NotAnEvent("it is no JSON object")
    return found
