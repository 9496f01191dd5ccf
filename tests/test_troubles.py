"""The table of troubles against the design's, and that nobody writes a status anywhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from relay.errors import SENDEX_ERRORS, Kind, Problem
from relay.smtp import replies
from relay.smtp.replies import Reply

RELAY = Path(__file__).parent.parent / "relay"
ELSEWHERE = {RELAY / "errors.py", RELAY / "smtp" / "replies.py"}  # where the statuses stand
FILES = sorted(path for path in RELAY.rglob("*.py") if path not in ELSEWHERE and RELAY / "sandbox" not in path.parents)

# Copied from the design, section 5: slug, SMTP and enhanced status, HTTP.
DESIGN = """
bad_request           554 5.6.0   400
bad_address           553 5.1.3   400
non_ascii_address     553 5.6.7   400
unauthorized          535 5.7.8   401
unauthorized          530 5.7.0   401
forbidden             550 5.7.1   403
domain_not_registered 550 5.7.1   422
domain_not_verified   550 5.7.1   422
not_approved          550 5.7.1   403
account_suspended     550 5.7.1   403
recipient_suppressed  550 5.1.1   422
invalid_recipient     550 5.1.2   422
invalid_recipient     556 5.1.10  422
too_many_recipients   452 4.5.3   400
too_large             552 5.3.4   413
rate_limited          451 4.7.1   429
quota_exceeded        550 5.7.1   429
insufficient_credits  550 5.7.1   402
idempotency_busy      451 4.5.0   409
idempotency_conflict  550 5.5.0   409
not_found             -   -       404
conflict              -   -       409
loop                  554 5.4.6   400
overloaded            421 4.3.2   503
storage_full          452 4.3.1   503
dns_down              451 4.4.3   503
internal              451 4.3.0   500
"""
SES = {"rejected", "throttled", "quota", "paused", "unverified", "denied", "unavailable", "outcome_unknown", "config"}
SENDEX = {  # the contract's errors, section 6
    "bad_request": 400,
    "unauthorized": 401,
    "insufficient_credits": 402,
    "forbidden": 403,
    "account_suspended": 403,
    "not_found": 404,
    "unprocessable_entity": 422,
    "invalid_recipient": 422,
    "recipient_suppressed": 422,
    "too_many_requests": 429,
    "internal_server_error": 500,
    "bad_gateway": 502,
}


@pytest.mark.parametrize("row", DESIGN.strip().splitlines())
def test_the_design_s_rows_are_there(row: str) -> None:
    slug, smtp, enhanced, http = row.split()
    found = [
        kind
        for kind in Kind
        if (kind.slug, kind.http) == (slug, int(http))
        and (smtp == "-" or (kind.smtp, kind.enhanced) == (int(smtp), enhanced))
    ]
    assert len(found) == 1


def test_ses_has_its_rows() -> None:
    assert {kind.slug for kind in Kind if kind.slug.startswith("ses_")} == {f"ses_{each}" for each in SES}


@pytest.mark.parametrize("kind", Kind)
def test_every_row_is_sound(kind: Kind) -> None:
    assert kind.smtp in {421, 451, 452} or 500 <= kind.smtp <= 556
    assert re.fullmatch(r"[45]\.\d{1,2}\.\d{1,2}", kind.enhanced)
    assert kind.enhanced[0] == str(kind.smtp)[0]  # RFC 3463 section 2: the class is the reply's own
    assert kind.is_temporary == (kind.smtp < 500)
    assert 400 <= HTTPStatus(kind.http) <= 599
    assert re.fullmatch(r"[a-z_]+", kind.slug)
    assert re.fullmatch(r"[ -~]+", kind.title)
    assert Problem(kind).detail == kind.title
    if kind.error in SENDEX:
        assert SENDEX[kind.error] == kind.http
    assert kind.http not in SENDEX_ERRORS or kind.error in SENDEX


@pytest.mark.parametrize("reply", Reply)
def test_every_reply_is_sound(reply: Reply) -> None:
    assert reply.status.startswith(f"{reply.code // 100}.") == (reply is not Reply.SEND_DATA)  # RFC 2034 section 4
    assert re.fullmatch(rb"[2345]\d\d [ -~]+\r\n", reply.wire)
    assert re.fullmatch(rb"[2345]\d\d [ -~]+\r\n", reply.line("ü\r\n250 2.0.0 OK"))


def test_refusals_are_one_line_whatever_they_say() -> None:
    said = replies.refusal(Problem(Kind.BAD_REQUEST, "a\r\n250 2.0.0 OK\r\n" + "ü" * 5000, reference="0123"))
    assert re.fullmatch(rb"554 5\.6\.0 [ -~]+ \(reference 0123\)\r\n", said)
    assert said.count(b"\r\n") == 1


# -- nowhere else ----------------------------------------------------------------------------------------------------

SMTP_CODES = {kind.smtp for kind in Kind} | {reply.code for reply in Reply}
HTTP_CODES = {status.value for status in HTTPStatus}
ENHANCED = re.compile(r"\b[245]\.\d{1,2}\.\d{1,2}\b")
WORDED = re.compile(r"[2345]\d\d[ -]?")
SPEAKS = re.compile(r"status|code|Response|reply|push", re.IGNORECASE)


def statuses(path: Path) -> Iterator[str]:
    """Literals that could be an SMTP code, an HTTP status or an enhanced status. Docstrings may name them.

    A round number is mostly a size, so it counts only in a line that speaks of statuses.
    """
    text = path.read_text("utf-8")
    lines = text.splitlines()
    tree = ast.parse(text)
    spoken = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in spoken:
            continue
        value = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
        if isinstance(value, str):
            is_status = ENHANCED.search(value) or WORDED.fullmatch(value)
        else:
            is_status = type(value) is int and value in SMTP_CODES | HTTP_CODES
            is_status = is_status and (value % 100 or SPEAKS.search(lines[node.lineno - 1]))
        if is_status:
            yield f"line {node.lineno}: {lines[node.lineno - 1].strip()}"


def test_statuses_stand_in_the_two_tables_only() -> None:
    found = {str(path.relative_to(RELAY)): list(statuses(path)) for path in FILES}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "x = 404",
        "push('550 ')",
        "push(b'250')",
        "status >= 500",
        "JSONResponse({}, 200)",
        "f('554 5.6.0 no')",
        "a['5.7.1']",
    ],
)
def test_a_status_would_be_found(tmp_path: Path, line: str) -> None:
    file = tmp_path / "x.py"
    file.write_text(f'"""550 5.7.1 is fine here."""\n{line}\ny = 500\n')
    assert len(list(statuses(file))) == 1
