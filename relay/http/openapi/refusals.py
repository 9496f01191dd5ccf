"""Which refusals a route may answer, each as its dialect says it: asked of what really writes them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from relay.errors import Fault, Kind, Problem
from relay.http.dialects.dialect import Asked, Dialect
from relay.http.sending import NAMED
from relay.routing.standing import MODE

ASKED = Asked("req_5c70f161f0babe51", "https://relay.example.com")

# What the server itself may say of any request, whatever it is for.
ANY = (Kind.BAD_REQUEST, Kind.TOO_SLOW, Kind.HEADERS_TOO_LARGE, Kind.INTERNAL, Kind.OVERLOADED)
KEYED = (Kind.NO_CREDENTIAL, Kind.UNAUTHORIZED, Kind.FORBIDDEN, Kind.RATE_LIMITED, Kind.BLOCKED)
BODIED = (Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA)
CHANGING = (Kind.CONFLICT, Kind.STORAGE_FULL, Kind.STORAGE_DOWN)
SENDING = (
    *ANY,
    *KEYED,
    *BODIED,
    Kind.BAD_ADDRESS,
    Kind.NON_ASCII_ADDRESS,
    Kind.TOO_MANY_RECIPIENTS,
    Kind.NOT_REGISTERED,
    Kind.NOT_VERIFIED,
    Kind.NOT_APPROVED,
    Kind.SUSPENDED,
    Kind.SUPPRESSED,
    Kind.INVALID_RECIPIENT,
    Kind.NULL_MX,
    Kind.QUOTA_EXCEEDED,
    Kind.NO_CREDITS,
    Kind.IDEMPOTENCY_BUSY,
    Kind.IDEMPOTENCY_CLASH,
    Kind.STORAGE_FULL,
    Kind.STORAGE_DOWN,
    Kind.DNS_DOWN,
)
# Cases within a kind, where some dialect answers them otherwise.
CASES = {
    Kind.BAD_REQUEST: {
        "": Problem(Kind.BAD_REQUEST, "the body is not JSON at line 1, column 2"),
        "faults": Problem(Kind.BAD_REQUEST, faults=(Fault("to", "is required"),)),
    },
    Kind.NOT_REGISTERED: {name: Problem(Kind.NOT_REGISTERED, aspect=name) for name in ("", NAMED)},
    Kind.NOT_REGISTERED: {name: Problem(Kind.NOT_REGISTERED, aspect=name) for name in ("", NAMED)},
    Kind.NOT_VERIFIED: {name: Problem(Kind.NOT_VERIFIED, aspect=name) for name in ("", "dkim")},
    Kind.FORBIDDEN: {name: Problem(Kind.FORBIDDEN, aspect=name) for name in ("", MODE)},
}


def said(dialect: Dialect, kinds: tuple[Kind, ...]) -> dict[int, dict[str, Any]]:
    """By status, and by a name: the bodies of the refusals."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for kind in kinds:
        for case, problem in CASES.get(kind, {"": Problem(kind)}).items():
            status, body = dialect.refuse(problem, ASKED)
            found[status]["_".join(filter(None, (kind.name.lower(), case)))] = body
    return dict(sorted(found.items()))
