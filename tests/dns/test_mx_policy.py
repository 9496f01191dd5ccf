"""What follows from the DNS's answer, policy by policy."""

from __future__ import annotations

import asyncio

import pytest

from relay.config import OnTrouble
from relay.declared import MxPolicy
from relay.dns import MailExchange, Resolver
from relay.errors import Kind, Problem
from relay.routing.mx import MxCheck, decide
from tests.dns_server import NXDOMAIN, SERVFAIL, DnsServer, records

ACCEPTS, NULL_MX, NONE, TROUBLE = MailExchange.ACCEPTS, MailExchange.NULL_MX, MailExchange.NONE, MailExchange.TROUBLE
ENFORCE, WARN, OFF = MxPolicy.ENFORCE, MxPolicy.WARN, MxPolicy.OFF
ACCEPT, DEFER = OnTrouble.ACCEPT, OnTrouble.DEFER


@pytest.mark.parametrize(
    ("found", "policy", "on_trouble", "verdict"),
    [
        (ACCEPTS, ENFORCE, ACCEPT, None),
        (ACCEPTS, ENFORCE, DEFER, None),
        (ACCEPTS, WARN, ACCEPT, None),
        (ACCEPTS, WARN, DEFER, None),
        (NULL_MX, ENFORCE, ACCEPT, Kind.NULL_MX),
        (NULL_MX, ENFORCE, DEFER, Kind.NULL_MX),
        (NULL_MX, WARN, ACCEPT, "use another address"),
        (NULL_MX, WARN, DEFER, "use another address"),
        (NONE, ENFORCE, ACCEPT, Kind.INVALID_RECIPIENT),
        (NONE, ENFORCE, DEFER, Kind.INVALID_RECIPIENT),
        (NONE, WARN, ACCEPT, "check the spelling"),
        (NONE, WARN, DEFER, "check the spelling"),
        (TROUBLE, ENFORCE, ACCEPT, None),
        (TROUBLE, ENFORCE, DEFER, Kind.DNS_DOWN),
        (TROUBLE, WARN, ACCEPT, "could not be looked up"),
        (TROUBLE, WARN, DEFER, "could not be looked up"),
        *((found, OFF, on_trouble, None) for found in MailExchange for on_trouble in OnTrouble),
    ],
)
def test_what_follows(found: MailExchange, policy: MxPolicy, on_trouble: OnTrouble, verdict: Kind | str | None) -> None:
    said = decide(found, policy, on_trouble, "example.test")
    if isinstance(verdict, Kind):
        assert isinstance(said, Problem)
        assert said.kind is verdict
        assert said.detail.startswith("example.test ")
    elif verdict is None:
        assert said is None
    else:
        assert isinstance(said, str)
        assert said.startswith("example.test ")
        assert verdict in said


def test_only_trouble_may_pass_by_itself() -> None:
    down = decide(TROUBLE, ENFORCE, DEFER, "example.test")
    assert isinstance(down, Problem)
    assert down.kind.is_temporary
    assert down.retry_after is not None
    gone = decide(NONE, ENFORCE, DEFER, "example.test")
    assert isinstance(gone, Problem)
    assert not gone.kind.is_temporary
    assert gone.detail == "example.test has no MX, A or AAAA record; check the spelling of the address"


def check(server: DnsServer, policy: MxPolicy, domain: str) -> str | None:
    return asyncio.run(MxCheck(Resolver([server.nameserver]), policy, DEFER).check(domain))


ZONE = {"well.test": records("MX 10 mx.well.test."), "null.test": records("MX 0 ."), "broken.test": SERVFAIL}


def test_enforced_against_a_real_server() -> None:
    with DnsServer(ZONE, otherwise=NXDOMAIN) as server:
        assert check(server, ENFORCE, "well.test") is None
        for domain, kind in {
            "null.test": Kind.NULL_MX,
            "gone.test": Kind.INVALID_RECIPIENT,
            "broken.test": Kind.DNS_DOWN,
        }.items():
            with pytest.raises(Problem) as refused:
                check(server, ENFORCE, domain)
            assert refused.value.kind is kind


def test_a_warning_blocks_nothing() -> None:
    with DnsServer(ZONE) as server:
        assert check(server, WARN, "well.test") is None
        warning = check(server, WARN, "gone.test")
        assert warning is not None
        assert "check the spelling" in warning


def test_off_looks_nothing_up() -> None:
    with DnsServer(ZONE) as server:
        assert check(server, OFF, "gone.test") is None
        assert not server.asked


@pytest.mark.parametrize("policy", MxPolicy)
def test_the_ses_simulator_always_has_mail(policy: MxPolicy) -> None:
    with DnsServer() as server:
        assert check(server, policy, "simulator.amazonses.com") is None
        assert not server.asked
