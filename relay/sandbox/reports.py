"""What POST /events takes: something that happened to a mail later on, and that SES tells of.

{"message": "0102...",            the id that SendEmail answered
 "type": "Bounce",                an eventType of SES: Open, Click, DeliveryDelay, Complaint ...
 "recipients": ["x@d.test"],      whom it is about; all of the mail when absent
 "detail": {"bounceType": ...}}   what the event's own member says otherwise; null takes a member away
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from relay.sandbox import details
from relay.sandbox.events import Event, event_of, mail_of
from relay.sandbox.faults import BadScript
from relay.sandbox.mailbox import Captured, Mailbox
from relay.sandbox.mime import read_headers

_MEMBERS = {"message", "type", "recipients", "detail"}
_MOST_CHARACTERS = 100_000
_TRACKING = {"Open": "OpenTrackingEnabled", "Click": "ClickTrackingEnabled"}


def read_report(body: bytes, mailbox: Mailbox, numbers: Mapping[str, str]) -> tuple[Captured, str, Event]:
    """The mail, its configuration set, and the event. `numbers`: of accounts, by name. Raises BadScript."""
    wanted = _object(body)
    wrong = [f"{name}: unknown" for name in wanted if name not in _MEMBERS]
    kind, detail, id = wanted.get("type"), wanted.get("detail", {}), wanted.get("message")
    captured = mailbox.find(id) if isinstance(id, str) else None
    recipients = wanted.get("recipients", list(captured.recipients) if captured else [])
    if captured is None:
        wrong.append("message: must be the id of a mail that was accepted")
    elif captured.configuration_set is None:
        wrong.append("message: the mail has no configuration set, so SES tells nothing of it")
    elif captured.tracking.get(_TRACKING.get(str(kind), "")) == "DISABLED":
        wrong.append(f"type: the mail was sent with {_TRACKING[str(kind)]} DISABLED")
    if kind not in list(details.KINDS):
        wrong.append(f"type: must be one of {', '.join(details.KINDS)}")
    if not isinstance(recipients, list) or not all(isinstance(each, str) for each in recipients):
        wrong.append("recipients: must be a list of addresses")
    if not isinstance(detail, dict):
        wrong.append("detail: must be an object")
    if wrong or captured is None or captured.configuration_set is None or not isinstance(kind, str):
        raise BadScript(wrong)
    own = details.KINDS[kind][1](recipients, datetime.now(UTC)) | detail
    own = {name: value for name, value in own.items() if not (name in detail and value is None)}
    mail = mail_of(captured, read_headers(captured.raw), numbers[captured.account])
    return captured, captured.configuration_set, event_of(kind, mail, own)


def _object(body: bytes) -> dict[str, Any]:
    try:
        wanted = json.loads(body) if len(body) <= _MOST_CHARACTERS else None
    except (ValueError, RecursionError):
        wanted = None
    if not isinstance(wanted, dict):
        raise BadScript([f"The body must be a JSON object of at most {_MOST_CHARACTERS} characters"])
    return wanted
