"""Signs a post: always as Standard Webhooks has it, and as the dialect of the webhook does."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256

from relay import __version__
from relay.feedback.webhooks.dialects import sendfleet
from relay.feedback.webhooks.rendering import Rendered
from relay.telling import Dialect

PREFIX = "whsec_"
AGENT = f"Relay-Webhook/{__version__}"


def headers(
    dialect: Dialect, rendered: Rendered, secrets: Sequence[str], *, event_id: str, at: int, attempt: int
) -> dict[str, str]:
    """What a post of exactly `rendered.body` is sent with.

    `secrets`: that of the webhook, the newest first; while two are good, a receiver may know either. Dialects have room
    for one signature, which is the newest one's. `event_id` is the same however often it is posted; `at`: seconds since
    1970, of this attempt; `attempt`: from 1.
    """
    signature = _hexadecimal(secrets[0], rendered.body)
    return {
        "Content-Type": "application/json",
        "User-Agent": AGENT,
        **_standard(rendered.body, secrets, event_id, at),
        **_of_dialect(dialect, rendered, signature, event_id, attempt),
    }


def _standard(body: bytes, secrets: Sequence[str], event_id: str, at: int) -> dict[str, str]:
    """Standard Webhooks 1.0: HMAC-SHA256 over id, moment and body, by the octets that the secret stands for."""
    signed = b".".join((event_id.encode("ascii"), str(at).encode("ascii"), body))
    signatures = (b64encode(hmac.digest(_octets(secret), signed, sha256)).decode("ascii") for secret in secrets)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }


def _octets(secret: str) -> bytes:
    try:
        return b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as exc:
        raise ValueError("the secret of a webhook is whsec_ and base64") from exc  # never the secret itself


def _of_dialect(dialect: Dialect, rendered: Rendered, signature: str, event_id: str, attempt: int) -> dict[str, str]:
    match dialect:
        case Dialect.NATIVE:
            return {}
        case Dialect.SENDFLEET:
            return {
                "User-Agent": sendfleet.AGENT,
                "X-SendFleet-Signature": signature,
                "X-SendFleet-Event": rendered.type,
            }
        case Dialect.SENDEX:
            return {"X-Sendex-Signature": signature}
        case Dialect.MAILERLOGIC:
            return {"X-MailerLogic-Signature": signature}
        case Dialect.SENDMUX:
            return {
                "X-Sendmux-Signature": signature,
                "X-Sendmux-Event-Id": event_id,
                "X-Sendmux-Event-Type": rendered.type,
                "X-Sendmux-Delivery-Attempt": str(attempt),
            }


def _hexadecimal(secret: str, body: bytes) -> str:
    """What all dialects have: HMAC-SHA256 over the body, by the secret as it is written."""
    return f"sha256={hmac.digest(secret.encode('ascii'), body, sha256).hex()}"
