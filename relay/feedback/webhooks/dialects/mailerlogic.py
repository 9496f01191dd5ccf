"""MailerLogic's form. Their contract (8) publishes the names alone: body and signature are our own choice."""

from __future__ import annotations

from relay.feedback.webhooks.told import Json, Told


def body(told: Told) -> Json:
    message = told.message
    return {
        "event": told.name,
        "timestamp": told.when("seconds"),
        "email_id": told.uuid,
        "message_id": message.get("message_id"),
        "recipient": told.recipient,
        "from": message.get("from"),
        "domain": told.domain,
        "tag": message.get("tag"),
        "metadata": message.get("metadata", {}),
        "headers": message.get("headers", {}),
        "data": {**told.details, "ses_message_id": told.ses_message_id, "recipients": told.recipients},
    }
