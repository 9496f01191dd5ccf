"""Sendmux's form (contract 9). Every member of its `data` is always there, null where it says nothing."""

from __future__ import annotations

from relay.feedback.webhooks.told import Json, Told
from relay.message import PREFIX

REFUSED = {"email.rejected", "email.failed", "email.suppressed"}


def body(told: Told) -> Json:
    return {
        "id": told.id,
        "type": told.name,
        "team_public_id": told.team,
        "occurred_at": told.when(),
        "data": _data(told),
    }


def _data(told: Told) -> Json:
    message, said = told.message, told.details
    provider, rfc5322 = told.ses_message_id, message.get("message_id")
    return {
        "message_id": provider or rfc5322,
        "message_id_kind": "provider" if provider else "rfc5322" if rfc5322 else None,
        "sendmux_message_id": f"{PREFIX}{message['id']}" if message else None,
        "sender": message.get("from"),
        "recipients": told.recipients,
        "mailbox_id": None,  # theirs; there are none here
        "bounce_type": said.get("bounce_type"),
        "bounce_subtype": said.get("bounce_subtype"),
        "complaint_type": said.get("complaint_type"),
        "complaint_subtype": said.get("complaint_subtype"),
        "reject_reason": (said.get("reason") or told.became) if told.type in REFUSED else None,
        "delay_type": said.get("delay_type"),
        "delay_expires_at": said.get("expires_at"),
        "is_spam": None,  # of mail that they receive
        "webhook_id": None if told.is_mail else told.webhook,
        "metadata": message.get("metadata", {}),
        "headers": message.get("headers", {}),
    }
