"""SendFleet's form (contract 7). Of its body only `event_type` is published; the rest is what ours say of a message."""

from __future__ import annotations

from relay.feedback.webhooks.told import Json, Told

AGENT = "SendFleet-Webhook/1.0"


def body(told: Told) -> Json:
    message = told.message
    return {
        "event_type": told.name,
        "message_id": told.uuid,
        "to": told.recipient,
        "from_email": message.get("from"),
        "subject": message.get("subject"),
        "status": told.became,
        "timestamp": told.when("seconds"),
        "data": {
            **told.details,
            "ses_message_id": told.ses_message_id,
            "recipients": told.recipients,
            "metadata": message.get("metadata", {}),
            "headers": message.get("headers", {}),
        },
    }
