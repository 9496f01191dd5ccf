"""Sendex's form (contract 8): in `data` what it answers to a send, and what became of it."""

from __future__ import annotations

from relay.feedback.webhooks.told import Json, Told

_MEMBERS = ("id", "from", "to", "cc", "bcc", "subject")


def body(told: Told) -> Json:
    return {"event": told.name, "created_at": told.when(), "data": _data(told)}


def _data(told: Told) -> Json:
    if not told.is_mail:
        return told.details
    message = told.message
    # SES's status of a bounce, such as 5.1.1, makes room for theirs of the message.
    said = {("smtp_status" if name == "status" else name): value for name, value in told.details.items()}
    return {
        **{name: message.get(name) for name in _MEMBERS},
        "created_at": told.created_at,
        "message_id": message.get("message_id"),
        "metadata": message.get("metadata", {}),
        "headers": message.get("headers", {}),
        **said,
        "status": told.became,
        "ses_message_id": told.ses_message_id,
        "recipients": told.recipients,
    }
