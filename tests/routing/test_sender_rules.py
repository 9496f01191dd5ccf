"""Sender rules as tables: which envelope senders and authors they replace; and patterns against regular expressions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.declared import Device, SenderRule
from relay.message import Address
from relay.routing import sender_rules
from relay.routing.sender_rules import Patterns, author, envelope

OURS = "scanner@acme.example"
OWN = Address.parse(OURS)
DEVICE = sender_rules.of_device(Device.model_validate({"networks": ["10.2.0.0/24"], "sender": OURS}))


def rule(*replaces: str) -> sender_rules.Rule:
    said = {"sender": OURS} | ({"replaces": replaces} if replaces else {})
    return sender_rules.of_rule(SenderRule.model_validate(said))


def address(text: str | None) -> Address | None:
    return None if text is None else Address.parse(text)


DEFAULT = rule()

# The rule, the envelope sender, whether it is replaced; where it is not, it stays.
ENVELOPES = [
    (DEFAULT, "root@localhost", True),
    (DEFAULT, "ROOT@LocalHost", True),
    (DEFAULT, "www-data@localhost.localdomain", True),
    (DEFAULT, "cron@web-3.local", True),
    (DEFAULT, "cron@web-3.corp.localdomain", True),
    (DEFAULT, "root@web-3.acme.example", True),
    (DEFAULT, "toor@web-3.acme.example", False),
    (DEFAULT, "app@acme.example", False),
    (DEFAULT, "app@localhost.example.com", True),
    (DEFAULT, "app@mylocalhost", False),
    (DEFAULT, None, False),
    (rule("<>"), None, True),
    (rule("<>"), "root@localhost", False),
    (rule("missing"), None, False),
    (rule("a*b@*.example"), "ab@x.example", True),
    (rule("a*b@*.example"), "a-b@y.x.example", True),
    (rule("a*b@*.example"), "aba@x.example", False),
    (rule("a*b@*.example"), "ab@example", False),
    (rule("*@acme.example"), '"x@evil.example"@acme.example', True),
    (rule("x@acme.example"), "x@acme.example", True),
    (DEVICE, "anyone@anywhere.example", True),
    (DEVICE, "root@localhost", True),
    (DEVICE, None, False),  # Amazon SES cannot send it, and no device has bounces to send
]


@pytest.mark.parametrize(("which", "sender", "is_replaced"), ENVELOPES)
def test_envelope_senders(which: sender_rules.Rule, sender: str | None, is_replaced: bool) -> None:
    assert envelope(which, address(sender)) == (OWN if is_replaced else address(sender))


# The rule, the From, what replaces it.
AUTHORS = [
    (DEFAULT, "root@localhost", OWN),
    (DEFAULT, "app@acme.example", None),
    (DEFAULT, None, OWN),
    (rule("root@*"), None, None),
    (rule("<>"), None, None),
    (DEVICE, None, OWN),
    (DEVICE, "anyone@anywhere.example", OWN),
]


@pytest.mark.parametrize(("which", "found", "replacement"), AUTHORS)
def test_authors(which: sender_rules.Rule, found: str | None, replacement: Address | None) -> None:
    assert author(which, address(found)) == replacement


def test_without_a_rule_everything_stays() -> None:
    assert (envelope(None, OWN), envelope(None, None), author(None, OWN), author(None, None)) == (OWN, None, None, None)


LOCALS = st.text("ab.*", min_size=1, max_size=6)
DOMAINS = st.text("ab.-*", min_size=1, max_size=6)


def as_expression(pattern: str) -> str:
    return ".*".join(map(re.escape, pattern.split("*")))


@given(LOCALS, DOMAINS, st.text("abAB.", min_size=1, max_size=8), st.text("ab.-", min_size=1, max_size=8))
def test_patterns_mean_what_regular_expressions_do(in_local: str, in_domain: str, local: str, domain: str) -> None:
    wanted = re.fullmatch(as_expression(in_local), local.lower()) and re.fullmatch(as_expression(in_domain), domain)
    assert Patterns.of([f"{in_local}@{in_domain}"]).match(Address(local, domain)) == bool(wanted)


def test_many_stars_do_no_harm() -> None:
    """As a regular expression any of these would keep the test from ever coming to its end."""
    stars = Patterns.of(["*a" * 32 + "b@" + "*a" * 100 + "b"] * 100)
    assert not stars.match(Address("a" * 64, "a" * 180))
