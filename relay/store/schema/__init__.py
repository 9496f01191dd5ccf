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
from relay.store.schema.mail import DELAYS, REPORTS, SLIMS, UNSENT, WAITING, contents, deliveries, messages, recipients
from relay.store.schema.records import (
    blocks,
    device_usage,
    events,
    idempotency,
    possible_duplicates,
    smtp_failures,
    stops,
    usage,
)

__all__ = [
    "DELAYS",
    "REPORTS",
    "REVISIONS",
    "SLIMS",
    "UNSENT",
    "WAITING",
    "audit",
    "blocks",
    "contents",
    "deliveries",
    "device_usage",
    "domains",
    "events",
    "idempotency",
    "installation",
    "keys",
    "messages",
    "metadata",
    "notices",
    "possible_duplicates",
    "recipients",
    "ses_accounts",
    "smtp_failures",
    "stops",
    "suppressions",
    "template_versions",
    "templates",
    "tenants",
    "usage",
]

# Every revision in store/migrations, oldest first. A database at another one was written by a newer Relay.
REVISIONS = ("0001", "0002", "0003", "0004", "0005")
