"""Who may look at messages and move them: every route below /emails but those that send."""
# ruff: noqa: E501 - a table looks like a table

from __future__ import annotations

from dataclasses import replace

from relay.declared import Permission
from relay.errors import Kind
from relay.http.emails import content, events, listing, moving, showing, shown
from relay.http.management.rules import Rule, endpoints_of
from relay.http.management.shown import Listed

FULL = Permission.FULL

# fmt: off
ROUTES: tuple[Rule, ...] = (
    Rule("GET",  "/emails",                 FULL, listing.index,     "List messages, newest first", query=listing.Wanted, answer=Listed[shown.MessageBrief]),
    Rule("GET",  "/emails/{id}",            FULL, showing.retrieve,  "Show what became of a message", answer=shown.MessageShown),
    Rule("GET",  "/emails/{id}/events",     FULL, events.index,      "List what happened to a message", query=events.Wanted, answer=shown.EventsShown),
    Rule("GET",  "/emails/{id}/content",    FULL, content.show,      "Show what a message says, as long as it is kept", query=content.Form, answer=shown.ContentShown, or_as="message/rfc822", refuses=(Kind.GONE,)),
    Rule("POST", "/emails/{id}/cancel",     FULL, moving.cancel,     "Cancel what has not been sent of a message", answer=shown.MessageShown),
    Rule("POST", "/emails/{id}/retry",      FULL, moving.retry,      "Try a message now: one that waits, is held, or of which nobody knows whether it was sent", answer=shown.MessageShown),
    Rule("POST", "/emails/{id}/hold",       FULL, moving.hold,       "Hold a message that waits", body=moving.Why, answer=shown.MessageShown),
    Rule("POST", "/emails/{id}/release",    FULL, moving.release,    "Release a message that is held", body=moving.Why, answer=shown.MessageShown),
    Rule("POST", "/emails/{id}/reschedule", FULL, moving.reschedule, "Send a message that waits at another time", body=moving.Rescheduled, answer=shown.MessageShown),
)
# fmt: on

# MailerLogic's clients ask for events below its own base URL, too, and get them as it tells them.
_AS_MAILERLOGIC = [replace(each, answer=shown.MailerLogicEvents) for each in ROUTES if each.handler is events.index]

endpoints = [
    *endpoints_of(ROUTES, "/sendex"),
    *(each for each in endpoints_of(_AS_MAILERLOGIC, "/mailerlogic") if each.path.startswith("/mailerlogic")),
]
