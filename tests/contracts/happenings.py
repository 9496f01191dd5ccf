"""What happened to a mail, as it is kept for a webhook; and the recipe each product gives to whoever receives one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from standardwebhooks import Webhook

from relay.feedback.webhooks.rendering import Rendered, rendered
from relay.telling import Dialect

PUBLIC_ID = "0199a1b2c3d4e5f6a7b8c9d0"
UUID = "0199a1b2-c3d4-4e5f-8000-0006a7b8c9d0"
SES_ID = "0100019a-aaaa-bbbb-000000"
AT = 1_772_359_200_123  # 2026-03-01T10:00:00.123Z
SECRET = "whsec_c2VjcmV0LW9mLTI0LW9jdGV0cy0hIQ=="
OLDER = "whsec_YW5vdGhlci1vZi0yNC1vY3RldHMtIQ=="
MESSAGE: Mapping[str, Any] = {
    "id": PUBLIC_ID,
    "message_id": f"<{PUBLIC_ID}@mail.example>",
    "ses_message_id": SES_ID,
    "tag": "orders",
    "stream": "transactional",
    "mode": "byoc",
    "domain": "mail.example",
    "created_at": AT - 5000,
    "from": "shop@mail.example",
    "subject": "Grüße \u2028 <9>",
    "to": ["ana@one.test", "bo@one.test"],
    "cc": [],
    "bcc": [],
    "metadata": {"order": "9"},
    "headers": {"X-Campaign": "spring"},
}
DETAILS: Mapping[str, Mapping[str, Any]] = {
    "email.queued": {"scheduled_at": None},
    "email.sent": {"attempts": 1, "possible_duplicates": 0, "ses_message_id": SES_ID},
    "email.delivered": {"smtp_response": "250 ok", "processing_ms": 812, "remote_mta": "mx.one.test"},
    "email.delayed": {"delay_type": "MailboxFull", "expires_at": AT + 9000, "status": "4.2.2", "diagnostic": "full"},
    "email.bounced": {
        "bounce_type": "Permanent",
        "bounce_subtype": "General",
        "status": "5.1.1",
        "action": "failed",
        "diagnostic": "550 5.1.1 no such user",
        "feedback_id": "0100019a-f",
    },
    "email.soft_bounced": {"bounce_type": "Transient", "bounce_subtype": "MailboxFull", "status": "4.2.2"},
    "email.complained": {"complaint_type": "abuse", "complaint_subtype": None, "is_ambiguous": False},
    "email.rejected": {"reason": "Bad content"},
    "email.failed": {"reason": "ses_rejected", "detail": "no", "attempts": 3},
    "email.suppressed": {"reason": "recipient_suppressed", "detail": None, "attempts": 0},
    "email.opened": {"user_agent": "Mail/1", "ip_address": None},
    "email.clicked": {"link": "https://one.test/a?b=1&c=2", "user_agent": "Mail/1", "ip_address": None},
    "email.unsubscribed": {"contact_list": "news"},
}


def happened(type: str, **more: Any) -> dict[str, Any]:
    """Facts of an event of a mail to ana@one.test."""
    facts = {
        "id": 4_000_000_000_000_000_001,
        "type": type,
        "at": AT,
        "account": "acme",
        "domain": "mail.example",
        "data": {**DETAILS.get(type, {}), "recipients": [4_000_000_000_000_000_002]},
        "message": dict(MESSAGE),
        "recipients": ["ana@one.test"],
    }
    return facts | more


def of_no_mail(type: str, **data: Any) -> dict[str, Any]:
    return {"id": 1, "type": type, "at": AT, "account": "acme", "domain": None, "data": data}


def render(dialect: Dialect, facts: Mapping[str, Any]) -> Rendered | None:
    return rendered(dialect, facts, tenant="acme", tenant_id=77, webhook="0" * 22 + "2a")


# -- recipes ---------------------------------------------------------------------------------------------------------


def by_standard(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """The library that the authors of Standard Webhooks publish. It looks at the clock, too."""
    Webhook(secret).verify(body, dict(headers))  # raises WebhookVerificationError
    return True


def _by_digest(header: str) -> Callable[[Mapping[str, str], bytes, str], bool]:
    def verify(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
        expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        received = {name.lower(): value for name, value in headers.items()}
        return hmac.compare_digest(received[header.lower()], expected)

    return verify


RECIPES: Mapping[Dialect, Callable[[Mapping[str, str], bytes, str], bool]] = {
    Dialect.NATIVE: by_standard,
    Dialect.SENDFLEET: _by_digest("X-SendFleet-Signature"),  # SendFleet contract 7
    Dialect.SENDEX: _by_digest("X-Sendex-Signature"),  # Sendex contract 8
    Dialect.MAILERLOGIC: _by_digest("X-MailerLogic-Signature"),  # ours: MailerLogic contract 8 publishes none
    Dialect.SENDMUX: _by_digest("X-Sendmux-Signature"),  # Sendmux contract 9
}
