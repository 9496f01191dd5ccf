"""What to do about each reason that a refusal can give: one text for every slug of the table of troubles."""

from __future__ import annotations

from relay.errors import Kind

REMEDIES = {
    "bad_request": "Correct what `message` names; `errors` lists every fault, each with the member it is about.",
    "bad_address": "Correct the address: `local@domain`, without a comment or a name, 254 characters at most.",
    "non_ascii_address": "Use an address whose part before the @ is ASCII. The domain may be in any script.",
    "unauthorized": "Send a key that is known here, in `Authorization: Bearer KEY` or `X-API-Key: KEY`. "
    "After many failed attempts the address that they came from is blocked for a while.",
    "forbidden": "Use a key with the permission, and for the domain, that the request needs. "
    "Where the plan is what lacks something, ask the operator.",
    "domain_not_registered": "Register the domain of `from` (`POST /api/v1/domains`), or send from one that is.",
    "domain_not_verified": "Publish the DNS records that `GET /api/v1/domains/{name}` lists, then "
    "`POST /api/v1/domains/{name}/verify`.",
    "not_approved": "Ask for approval with `POST /api/v1/tenants/{name}/approval`, and wait for the operator.",
    "account_suspended": "Read why in `GET /api/v1/tenants/{name}`, mend it, and ask the operator.",
    "recipient_suppressed": "Do not send to this address: it bounced, complained or asked not to be written to. If "
    "that is over, `DELETE /api/v1/suppressions/{address}`.",
    "invalid_recipient": "Correct the address: its domain has no server that takes mail.",
    "too_many_recipients": "Split the message: 50 recipients in to, cc and bcc together are the most.",
    "too_large": "Send less: smaller or fewer attachments, or a link in their place.",
    "rate_limited": "Wait as long as `Retry-After` says. `X-RateLimit-Remaining` tells how many requests are left.",
    "quota_exceeded": "Wait for the next month (UTC), or ask the operator for another plan.",
    "insufficient_credits": "Ask the operator.",
    "idempotency_busy": "Wait, then send the same request again: it gets the answer of the first.",
    "idempotency_conflict": "Use a new key for a new message. A key may be used again only with the same body.",
    "not_found": "Check the path and the name. What belongs to another tenant looks as if it did not exist.",
    "method_not_allowed": "Use one of the methods in `Allow`.",
    "gone": "Nothing can bring it back: content is destroyed once it is sent, or after the time that it is kept.",
    "conflict": "Look at the thing as it is now; `message` says what stands in the way.",
    "unsupported_media": "Send JSON in UTF-8, uncompressed, with `Content-Type: application/json`.",
    "headers_too_large": "Send fewer or shorter header fields.",
    "too_slow": "Send the request again; a whole one is expected within about a minute.",
    "loop": "Find what sends the message back here: it came by too often.",
    "overloaded": "Try again after `Retry-After`. Nothing was queued.",
    "storage_full": "Try again later; the operator has to make room.",
    "storage_down": "Try again later; the operator is told what is wrong with the database.",
    "dns_down": "Try again later: whether the recipient's domain takes mail cannot be told now. Nothing was queued.",
    "internal": "Try again. If it stays, tell the operator the `request_id`.",
    "expired": "The message waited too long and was given up. Send it anew if it still matters.",
    "held": "`POST /api/v1/emails/{id}/release` lets it go.",
    "held_by_operator": "Ask the operator, who alone can let it go.",
    "restored": "Ask the operator, who has to find out first whether it was sent after the backup was made.",
    "ses_rejected": "Amazon SES refused the message; `message` has its words.",
    "ses_throttled": "Try again later. Queued mail is retried by itself.",
    "ses_quota": "Queued mail goes on when the quota allows; the operator may ask AWS for more.",
    "ses_paused": "The operator has to settle it with AWS. The mail waits.",
    "ses_unverified": "Verify the domain in the SES account. The mail waits.",
    "ses_denied": "The operator has to mend the credentials or the policy: `relay account test` says what lacks.",
    "ses_config": "The operator has to make, or rename, the configuration set. The mail waits.",
    "ses_unavailable": "Try again later. Queued mail is retried by itself.",
    "ses_outcome_unknown": "Look at the message before sending it again: it may have left.",
}

# Sendmux's codes, where they are no reasons of ours.
SENDMUX = {
    "invalid_parameter": "Correct the request: it cannot be parsed.",
    "validation_error": "Correct what `errors` lists, each with its `field`; or, of a recipient, use another address.",
    "authentication_required": "Send a key that is known here, in `Authorization: Bearer KEY`.",
    "insufficient_permissions": "Use a key that may send from the domain, and a domain that is verified.",
    "billing_restricted": "The account is suspended: ask the operator.",
    "payload_too_large": "Send less: smaller or fewer attachments.",
    "rate_limit_exceeded": "Wait as long as `Retry-After` says.",
    "service_unavailable": "Try again after `Retry-After`. Nothing was queued.",
    "no_active_providers": "The operator has to mend the SES account.",
    "internal_error": "Try again. If it stays, tell the operator the `request_id`.",
    "invalid_delivery_group": "Leave `delivery_group` out: there are no groups here.",
    "delivery_group_not_found": "Leave `delivery_group` out: there are no groups here.",
}


def titles() -> dict[str, tuple[Kind, ...]]:
    """The rows of the table of troubles by their slug."""
    return {slug: tuple(kind for kind in Kind if kind.slug == slug) for slug in dict.fromkeys(k.slug for k in Kind)}
