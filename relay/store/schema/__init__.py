"""The tables. Times are BIGINT milliseconds since 1970; ids are 63-bit and sort by time; states are CHECKed."""

from relay.store.schema.base import metadata
from relay.store.schema.directory import (
    audit,
    domains,
    installation,
    keys,
    notices,
    ses_accounts,
    suppressions,
    template_versions,
    templates,
    tenants,
)
from relay.store.schema.feedback import FATES, feeds, heard, probes, standing_hours, standings, tallies
from relay.store.schema.mail import (
    DELAYS,
    ECHOES,
    REPORTS,
    SLIMS,
    UNSENT,
    WAITING,
    contents,
    deliveries,
    messages,
    recipients,
)
from relay.store.schema.records import (
    UNTOLD,
    blocks,
    device_usage,
    events,
    idempotency,
    possible_duplicates,
    smtp_failures,
    stops,
    usage,
)
from relay.store.schema.webhooks import WAITING_POSTS, webhook_attempts, webhook_posts, webhooks

__all__ = [
    "DELAYS",
    "ECHOES",
    "FATES",
    "REPORTS",
    "REVISIONS",
    "SLIMS",
    "UNSENT",
    "UNTOLD",
    "WAITING",
    "WAITING_POSTS",
    "audit",
    "blocks",
    "contents",
    "deliveries",
    "device_usage",
    "domains",
    "events",
    "feeds",
    "heard",
    "idempotency",
    "installation",
    "keys",
    "messages",
    "metadata",
    "notices",
    "possible_duplicates",
    "probes",
    "recipients",
    "ses_accounts",
    "smtp_failures",
    "standing_hours",
    "standings",
    "stops",
    "suppressions",
    "tallies",
    "template_versions",
    "templates",
    "tenants",
    "usage",
    "webhook_attempts",
    "webhook_posts",
    "webhooks",
]

# Every revision in store/migrations, oldest first. A database at another one was written by a newer Relay.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
