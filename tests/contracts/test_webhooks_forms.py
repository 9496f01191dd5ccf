"""The same event in five forms: names, bodies and headers as the contracts have them (conflicts.md, 7 and 9.10)."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from relay import __version__
from relay.feedback.webhooks.signing import headers
from relay.store.journal import event_id
from relay.telling import EVENTS, NAMES, TELLS, Dialect
from tests.contracts.happenings import (
    AT,
    DETAILS,
    MESSAGE,
    OLDER,
    PUBLIC_ID,
    RECIPES,
    SECRET,
    SES_ID,
    UUID,
    by_standard,
    happened,
    of_no_mail,
    render,
)

EVENT = event_id(happened("email.sent")["id"])
DIALECTS = tuple(Dialect)
by_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=[each.value for each in DIALECTS])
OF_MAIL = [each for each in EVENTS if each.startswith("email.")]
by_event = pytest.mark.parametrize("type", OF_MAIL)


def said(dialect: Dialect, facts: dict[str, Any]) -> Any:
    told = render(dialect, facts)
    assert told is not None
    return json.loads(told.body)


# -- names -----------------------------------------------------------------------------------------------------------

# conflicts.md, section 7. None: the product has no such event.
# fmt: off
TABLE = {
    #                      SendFleet           Sendex              MailerLogic          Sendmux
    "email.queued":       (None,               None,               None,                None),
    "email.sent":         ("email.sent",       "email.sent",       "email.sent",        None),
    "email.delivered":    ("email.delivered",  "email.delivered",  "email.delivered",   "message.delivered"),
    "email.delayed":      (None,               None,               None,                "message.delivery_delayed"),
    "email.bounced":      ("email.bounced",    "email.bounced",    "email.bounced",     "message.bounced"),
    "email.soft_bounced": (None,               None,               None,                "message.bounced"),
    "email.complained":   ("email.complained", "email.complained", "email.complained",  "message.complained"),
    "email.not_spam":     (None,               None,               None,                None),
    "email.auth_failure": (None,               None,               None,                None),
    "email.rejected":     ("email.failed",     "email.failed",     "email.failed",      "message.rejected"),
    "email.failed":       ("email.failed",     "email.failed",     "email.failed",      "message.rejected"),
    "email.suppressed":   ("email.failed",     "email.failed",     "email.failed",      "message.rejected"),
    "email.opened":       (None,               "email.opened",     "email.opened",      None),
    "email.clicked":      (None,               "email.clicked",    "email.clicked",     None),
    "email.unsubscribed": (None,               None,               "email.unsubscribed", None),
}
# fmt: on
NAMED_IN = {
    Dialect.NATIVE: "type",
    Dialect.SENDFLEET: "event_type",
    Dialect.SENDEX: "event",
    Dialect.MAILERLOGIC: "event",
    Dialect.SENDMUX: "type",
}


@by_event
def test_every_event_has_the_name_of_the_dialect(type: str) -> None:
    assert said(Dialect.NATIVE, happened(type))["type"] == type
    products = (Dialect.SENDFLEET, Dialect.SENDEX, Dialect.MAILERLOGIC, Dialect.SENDMUX)
    for dialect, name in zip(products, TABLE[type], strict=True):
        told = render(dialect, happened(type))
        if name is None:
            assert told is None
        else:
            assert told is not None
            assert told.type == name == json.loads(told.body)[NAMED_IN[dialect]]


@by_dialect
def test_what_can_be_told_is_what_is_rendered(dialect: Dialect) -> None:
    tells = TELLS[dialect]
    for type in EVENTS:
        is_told = render(dialect, happened(type) if type.startswith("email.") else of_no_mail(type)) is not None
        assert is_told == (tells is None or type in tells), type
    assert tells is None or tells == NAMES[dialect].keys()


def test_the_page_has_every_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8")
    table = page[page.index("| event | when |") :]
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", table))
    assert {each for each in EVENTS if each not in named and f"`.{each.partition('.')[2]}`" not in table} == set()
    theirs = {name for names in NAMES.values() for name in names.values()}
    assert theirs <= named


@by_dialect
def test_every_dialect_can_be_tried(dialect: Dialect) -> None:
    body = said(dialect, of_no_mail("webhook.test"))
    assert body[NAMED_IN[dialect]] == ("sendmux.test" if dialect is Dialect.SENDMUX else "webhook.test")


# -- bodies ----------------------------------------------------------------------------------------------------------


def test_native_says_all_that_is_known() -> None:
    assert said(Dialect.NATIVE, happened("email.bounced")) == {
        "id": EVENT,
        "type": "email.bounced",
        "created_at": "2026-03-01T10:00:00.123Z",
        "data": {
            "id": PUBLIC_ID,
            "message_id": f"<{PUBLIC_ID}@mail.example>",
            "ses_message_id": SES_ID,
            "from": "shop@mail.example",
            "to": ["ana@one.test", "bo@one.test"],
            "cc": [],
            "bcc": [],
            "subject": MESSAGE["subject"],
            "tag": "orders",
            "stream": "transactional",
            "mode": "byoc",
            "created_at": "2026-03-01T09:59:55.123Z",
            "metadata": {"order": "9"},
            "headers": {"X-Campaign": "spring"},
            "recipients": ["ana@one.test"],
            "tenant": "acme",
            "account": "acme",
            "domain": "mail.example",
            "bounce_type": "Permanent",
            "bounce_subtype": "General",
            "status": "5.1.1",
            "action": "failed",
            "diagnostic": "550 5.1.1 no such user",
            "feedback_id": "0100019a-f",
        },
    }


@pytest.mark.parametrize(
    ("type", "data", "expected"),
    [
        ("account.held", {"reason": "ses_paused", "since": AT}, {"since": "2026-03-01T10:00:00.123Z"}),
        ("tenant.suspended", {"reason": "2 of 50", "window": "7 d"}, {"reason": "2 of 50", "window": "7 d"}),
        ("feedback.silent", {"since": AT}, {"since": "2026-03-01T10:00:00.123Z"}),
        ("webhook.disabled", {"webhook": "2a", "disabled_at": AT}, {"disabled_at": "2026-03-01T10:00:00.123Z"}),
    ],
    ids=["account", "tenant", "feedback", "webhook"],
)
def test_native_says_what_is_about_no_mail(type: str, data: dict[str, Any], expected: dict[str, Any]) -> None:
    found = said(Dialect.NATIVE, of_no_mail(type, **data))["data"]
    assert found == {"tenant": "acme", "account": "acme", "domain": None} | data | expected


def test_sendfleet() -> None:
    assert said(Dialect.SENDFLEET, happened("email.bounced")) == {
        "event_type": "email.bounced",
        "message_id": UUID,
        "to": "ana@one.test",
        "from_email": "shop@mail.example",
        "subject": MESSAGE["subject"],
        "status": "bounced",
        "timestamp": "2026-03-01T10:00:00Z",
        "data": {
            **DETAILS["email.bounced"],
            "ses_message_id": SES_ID,
            "recipients": ["ana@one.test"],
            "metadata": {"order": "9"},
            "headers": {"X-Campaign": "spring"},
        },
    }


def test_sendex() -> None:
    details = dict(DETAILS["email.bounced"])
    assert said(Dialect.SENDEX, happened("email.bounced")) == {
        "event": "email.bounced",
        "created_at": "2026-03-01T10:00:00.123Z",
        "data": {
            "id": PUBLIC_ID,
            "from": "shop@mail.example",
            "to": ["ana@one.test", "bo@one.test"],
            "cc": [],
            "bcc": [],
            "subject": MESSAGE["subject"],
            "created_at": "2026-03-01T09:59:55.123Z",
            "message_id": f"<{PUBLIC_ID}@mail.example>",
            "metadata": {"order": "9"},
            "headers": {"X-Campaign": "spring"},
            "smtp_status": details.pop("status"),
            **details,
            "status": "bounced",
            "ses_message_id": SES_ID,
            "recipients": ["ana@one.test"],
        },
    }


def test_mailerlogic() -> None:
    assert said(Dialect.MAILERLOGIC, happened("email.clicked")) == {
        "event": "email.clicked",
        "timestamp": "2026-03-01T10:00:00Z",
        "email_id": UUID,
        "message_id": f"<{PUBLIC_ID}@mail.example>",
        "recipient": "ana@one.test",
        "from": "shop@mail.example",
        "domain": "mail.example",
        "tag": "orders",
        "metadata": {"order": "9"},
        "headers": {"X-Campaign": "spring"},
        "data": {**DETAILS["email.clicked"], "ses_message_id": SES_ID, "recipients": ["ana@one.test"]},
    }


def sendmux(**data: Any) -> dict[str, Any]:
    """All members of Sendmux's `data`, which are always there."""
    return {
        "message_id": SES_ID,
        "message_id_kind": "provider",
        "sendmux_message_id": f"eml_{PUBLIC_ID}",
        "sender": "shop@mail.example",
        "recipients": ["ana@one.test"],
        "mailbox_id": None,
        "bounce_type": None,
        "bounce_subtype": None,
        "complaint_type": None,
        "complaint_subtype": None,
        "reject_reason": None,
        "delay_type": None,
        "delay_expires_at": None,
        "is_spam": None,
        "webhook_id": None,
        "metadata": {"order": "9"},
        "headers": {"X-Campaign": "spring"},
    } | data


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("email.delivered", {}),
        ("email.bounced", {"bounce_type": "Permanent", "bounce_subtype": "General"}),
        ("email.soft_bounced", {"bounce_type": "Transient", "bounce_subtype": "MailboxFull"}),
        ("email.complained", {"complaint_type": "abuse"}),
        ("email.rejected", {"reject_reason": "Bad content"}),
        ("email.failed", {"reject_reason": "ses_rejected"}),
        ("email.suppressed", {"reject_reason": "recipient_suppressed"}),
        ("email.delayed", {"delay_type": "MailboxFull", "delay_expires_at": "2026-03-01T10:00:09.123Z"}),
    ],
)
def test_sendmux(type: str, data: dict[str, Any]) -> None:
    assert said(Dialect.SENDMUX, happened(type)) == {
        "id": EVENT,
        "type": TABLE[type][3],
        "team_public_id": f"{77:024x}",
        "occurred_at": "2026-03-01T10:00:00.123Z",
        "data": sendmux(**data),
    }


def test_sendmux_says_which_id_it_gives() -> None:
    before = happened("email.failed", message={**MESSAGE, "ses_message_id": None})
    found = said(Dialect.SENDMUX, before)["data"]
    assert (found["message_id"], found["message_id_kind"]) == (MESSAGE["message_id"], "rfc5322")
    nothing = dict.fromkeys(("message_id", "message_id_kind", "sendmux_message_id", "sender"))
    trial = sendmux(**nothing, recipients=[], metadata={}, headers={}, webhook_id="0" * 22 + "2a")
    assert said(Dialect.SENDMUX, of_no_mail("webhook.test"))["data"] == trial


@by_dialect
@pytest.mark.parametrize("message", [None, {**MESSAGE, "to": [], "from": None, "subject": None}], ids=["gone", "bare"])
def test_what_was_forgotten_is_null(dialect: Dialect, message: dict[str, Any] | None) -> None:
    body = said(dialect, happened("email.bounced", message=message, recipients=[]))
    assert '"recipients":[]' in json.dumps(body, separators=(",", ":"))
    assert "ana@one.test" not in json.dumps(body)


# -- signatures ------------------------------------------------------------------------------------------------------


@by_dialect
@pytest.mark.parametrize("type", ["email.bounced", "email.delivered", "webhook.test"])
def test_receivers_find_the_signature_good(dialect: Dialect, type: str) -> None:
    told = render(dialect, happened(type))
    assert told is not None
    sent = headers(dialect, told, [SECRET], event_id=EVENT, at=int(time.time()), attempt=1)
    assert RECIPES[dialect](sent, told.body, SECRET)
    assert by_standard(sent, told.body, SECRET)
    with pytest.raises(WebhookVerificationError):
        by_standard(sent, told.body + b" ", SECRET)
    with pytest.raises(WebhookVerificationError):
        by_standard(sent, told.body, OLDER)
    if dialect is not Dialect.NATIVE:
        assert not RECIPES[dialect](sent, told.body + b" ", SECRET)
        assert not RECIPES[dialect](sent, told.body, OLDER)


@by_dialect
def test_while_a_secret_is_replaced_both_are_good(dialect: Dialect) -> None:
    told = render(dialect, happened("email.bounced"))
    assert told is not None
    sent = headers(dialect, told, [SECRET, OLDER], event_id=EVENT, at=int(time.time()), attempt=1)
    assert by_standard(sent, told.body, SECRET)
    assert by_standard(sent, told.body, OLDER)
    assert RECIPES[dialect](sent, told.body, SECRET), "a dialect has room for one: the newest"


@pytest.mark.parametrize("late", [-301, 301])
def test_the_moment_is_signed(late: int) -> None:
    told = render(Dialect.NATIVE, happened("email.bounced"))
    assert told is not None
    sent = headers(Dialect.NATIVE, told, [SECRET], event_id=EVENT, at=int(time.time()) + late, attempt=1)
    with pytest.raises(WebhookVerificationError, match="too"):
        Webhook(SECRET).verify(told.body, sent)
    with pytest.raises(WebhookVerificationError, match="No matching"):
        Webhook(SECRET).verify(told.body, sent | {"webhook-timestamp": str(int(time.time()))})


@pytest.mark.parametrize(
    ("dialect", "own"),
    [
        (Dialect.NATIVE, {}),
        (Dialect.SENDFLEET, {"X-SendFleet-Event": "email.bounced", "User-Agent": "SendFleet-Webhook/1.0"}),
        (Dialect.SENDEX, {}),
        (Dialect.MAILERLOGIC, {}),
        (
            Dialect.SENDMUX,
            {
                "X-Sendmux-Event-Id": EVENT,
                "X-Sendmux-Event-Type": "message.bounced",
                "X-Sendmux-Delivery-Attempt": "3",
            },
        ),
    ],
    ids=[each.value for each in DIALECTS],
)
def test_the_headers_of_each_dialect(dialect: Dialect, own: dict[str, str]) -> None:
    told = render(dialect, happened("email.bounced"))
    assert told is not None
    sent = headers(dialect, told, [SECRET], event_id=EVENT, at=1_772_359_200, attempt=3)
    expected = {
        "Content-Type": "application/json",
        "User-Agent": f"Relay-Webhook/{__version__}",
        "webhook-id": EVENT,
        "webhook-timestamp": "1772359200",
    } | own
    assert {name: value for name, value in sent.items() if not name.lower().endswith("-signature")} == expected
    assert all(value.isascii() and value.isprintable() for value in sent.values())


def test_a_broken_secret_is_not_repeated() -> None:
    told = render(Dialect.NATIVE, happened("email.bounced"))
    assert told is not None
    with pytest.raises(ValueError, match="whsec_ and base64") as raised:
        headers(Dialect.NATIVE, told, ["whsec_not base64!"], event_id=EVENT, at=0, attempt=1)
    assert "not base64!" not in str(raised.value)


# -- any facts -------------------------------------------------------------------------------------------------------

_values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec=None), max_size=20)


@given(
    dialect=st.sampled_from(DIALECTS),
    type=st.sampled_from(OF_MAIL),
    data=st.dictionaries(st.text(max_size=10), _values, max_size=5),
    subject=st.text(st.characters(codec=None), max_size=30),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_whatever_is_told_is_json_that_stays_as_it_was_signed(
    dialect: Dialect, type: str, data: dict[str, Any], subject: str, metadata: dict[str, str]
) -> None:
    facts = happened(type, data=data, message={**MESSAGE, "subject": subject, "metadata": metadata})
    told = render(dialect, facts)
    if told is None:
        return
    again = json.dumps(json.loads(told.body), ensure_ascii=False, separators=(",", ":")).encode()
    assert again == told.body == getattr(render(dialect, facts), "body", None)
