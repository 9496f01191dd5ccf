"""For whom a proxy speaks."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from relay.http.proxies import Proxies

PROXIES = Proxies([ip_network("127.0.0.1"), ip_network("10.0.0.0/24"), ip_network("2001:db8:1::/64")])
NOBODY = Proxies(())


def scope_of(peer: str | None, *fields: tuple[str, str]) -> Scope:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
    return {"type": "http", "client": peer and (peer, 5), "scheme": "http", "headers": headers}


def settled(peer: str, *forwarded: str) -> str:
    scope = scope_of(peer, *(("X-Forwarded-For", each) for each in forwarded))
    PROXIES.settle(scope)
    host: str = scope["client"][0]
    return host


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", ["192.0.2.9"], "192.0.2.1"),  # nobody that we trust
        ("10.0.0.5", [], "10.0.0.5"),
        ("10.0.0.5", [""], "10.0.0.5"),
        ("10.0.0.5", ["192.0.2.9"], "192.0.2.9"),
        ("10.0.0.5", ["127.0.0.1, 192.0.2.9"], "192.0.2.9"),  # what a stranger made up stands before his own address
        ("10.0.0.5", ["8.8.8.8", "192.0.2.9"], "192.0.2.9"),
        ("10.0.0.5", ["192.0.2.9, 10.0.0.7"], "192.0.2.9"),
        ("10.0.0.5", ["10.0.0.8, 10.0.0.7"], "10.0.0.8"),
        ("10.0.0.5", ["192.0.2.9:443"], "192.0.2.9"),
        ("10.0.0.5", ["[2001:db8::9]:443"], "2001:db8::9"),
        ("10.0.0.5", ["2001:DB8::9"], "2001:db8::9"),
        ("10.0.0.5", ["::ffff:192.0.2.9"], "192.0.2.9"),
        ("::ffff:10.0.0.5", ["192.0.2.9"], "192.0.2.9"),
        ("2001:db8:1::5", ["192.0.2.9"], "192.0.2.9"),
        ("10.0.0.5", ["unknown"], "10.0.0.5"),
        ("10.0.0.5", ["192.0.2.9, unknown"], "10.0.0.5"),
        ("10.0.0.5", ["192.0.2.9, _hidden, 10.0.0.7"], "10.0.0.7"),
        ("10.0.0.5", ["\xff\xfe, 999.1.1.1"], "10.0.0.5"),
        ("10.0.0.5", ["1" * 5000], "10.0.0.5"),
    ],
)
def test_the_client_is_the_last_address_that_somebody_trusted_wrote(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert settled(peer, *forwarded) == client


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=40), max_size=5))
def test_whatever_is_forwarded_somebody_is_the_client(forwarded: list[str]) -> None:
    settled("10.0.0.5", *forwarded)


def test_the_scheme_is_the_proxys_to_say() -> None:
    for peer, said, scheme in (
        ("10.0.0.5", "https", "https"),
        ("10.0.0.5", "HTTPS ", "https"),
        ("10.0.0.5", "wss", "http"),
        ("192.0.2.1", "https", "http"),
    ):
        scope = scope_of(peer, ("X-Forwarded-Proto", said))
        PROXIES.settle(scope)
        assert scope["scheme"] == scheme


@pytest.mark.parametrize(
    ("peer", "fields", "is_local"),
    [
        ("127.0.0.1", [], True),
        ("::1", [], True),
        ("::ffff:127.0.0.1", [], True),
        ("127.9.9.9", [], True),
        ("192.0.2.1", [], False),
        ("", [], False),
        (None, [], False),
        ("127.0.0.1", [("X-Forwarded-For", "127.0.0.1")], False),  # a proxy that nobody named
        ("127.0.0.1", [("Forwarded", "for=127.0.0.1")], False),
        ("127.0.0.1", [("Via", "1.1 cache")], False),
        ("127.0.0.1", [("X-Real-IP", "127.0.0.1")], False),
    ],
)
def test_a_request_is_this_machines_if_no_proxy_was_between(
    peer: str | None, fields: list[tuple[str, str]], is_local: bool
) -> None:
    assert NOBODY.is_local(scope_of(peer, *fields)) is is_local


def test_a_trusted_proxy_on_this_machine_never_is_this_machine() -> None:
    assert not PROXIES.is_local(scope_of("127.0.0.1"))
    assert not PROXIES.is_local(scope_of("127.0.0.1", ("X-Forwarded-For", "127.0.0.1")))
    assert PROXIES.is_local(scope_of("127.0.0.2"))
