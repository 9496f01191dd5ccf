"""Our own form: one envelope for everything that happens. Its only signature is that of Standard Webhooks."""

from __future__ import annotations

from relay.feedback.webhooks.told import Json, Told

# Of a message, in this order; whatever was not known is null.
_MEMBERS = ("id", "message_id", "ses_message_id", "from", "to", "cc", "bcc", "subject", "tag", "stream", "mode")


def body(told: Told) -> Json:
    return {"id": told.id, "type": told.name, "created_at": told.when(), "data": _data(told)}


def _data(told: Told) -> Json:
    owners = {"tenant": told.tenant, "account": told.account, "domain": told.domain}
    if not told.is_mail:
        return owners | told.details
    message = told.message
    return {
        **{name: message.get(name) for name in _MEMBERS},
        "created_at": told.created_at,
        "metadata": message.get("metadata", {}),
        "headers": message.get("headers", {}),
        "recipients": told.recipients,
        **owners,
        **told.details,
    }
