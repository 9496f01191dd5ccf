"""What webhooks say of a message though it is forgotten here: sealed when it comes, where somebody is to be told."""

from __future__ import annotations

from dataclasses import replace

from relay.routing.headers import CRLF, MAX_HEADER, split
from relay.store.announcing import echo_of
from relay.store.arriving import NewMessage
from relay.store.hooks import Hooks

MOST_FIELDS = 50
MOST_CHARACTERS = 10_000  # of the fields together, as in SES's own events (SES fact 1.2)
# What every mail has, or what says nothing to who sent it: all others are its author's own.
USUAL = frozenset(
    "from sender to cc bcc reply-to subject date message-id mime-version received return-path dkim-signature".split()  # noqa: SIM905
)


def echoed(new: NewMessage, hooks: Hooks, subject: str | None, head: bytes) -> NewMessage:
    """The same with its echo, if its tenant has webhooks. `head`: how the message begins, with its header."""
    if not hooks.has(new.tenant_id):
        return new
    return replace(new, echo=hooks.seal(echo_of(new, subject, own_fields(head))))


def own_fields(head: bytes) -> dict[str, str]:
    """The fields that the author of a message added, by their names as they were written; the first of each."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    left = MOST_CHARACTERS
    start = head[:MAX_HEADER]
    if CRLF + CRLF not in start:  # what the relay put before it pushed its end out of sight: whole lines can be read
        start = b"".join(start.rpartition(CRLF)[:2])
    fields, _ = split(start)
    for field in fields:
        if field.name in USUAL or field.name in seen or field.name.startswith("content-"):
            continue
        seen.add(field.name)
        name = field.raw[: len(field.name)].decode("ascii")
        value = field.value.decode("utf-8", "replace")
        left -= len(name) + len(value)
        if left < 0 or len(found) == MOST_FIELDS:
            break
        found[name] = value
    return found
