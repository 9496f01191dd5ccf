"""Who may connect: counts by address and in all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.routing.admission import REMEMBERED, Admission, Crowded


def enter(admission: Admission, client: str) -> Crowded | None:
    return admission.enter(client, is_trusted=False)


def test_one_address_does_not_take_all() -> None:
    admission = Admission(10, 3)
    assert [enter(admission, "192.0.2.1") for _ in range(4)] == [None, None, None, Crowded.TOO_MANY_OF_YOURS]
    assert enter(admission, "192.0.2.2") is None
    admission.leave("192.0.2.1")
    admission.leave("192.0.2.1")
    assert enter(admission, "192.0.2.1") is None


def test_one_subscriber_of_ipv6_is_one_client() -> None:
    admission = Admission(10, 1)
    assert enter(admission, "2001:db8::1") is None
    assert enter(admission, "2001:db8::ffff:2") is Crowded.TOO_MANY_OF_YOURS
    assert enter(admission, "2001:db8:0:1::1") is None
    assert enter(admission, "::ffff:192.0.2.1") is None
    assert enter(admission, "192.0.2.1") is Crowded.TOO_MANY_OF_YOURS


def test_the_last_places_are_for_those_who_are_known() -> None:
    admission = Admission(5, 5)
    admission.remember("192.0.2.9")
    assert [enter(admission, f"192.0.2.{number}") for number in range(5)] == [None] * 4 + [Crowded.TOO_MANY]
    assert admission.is_nearly_full
    admission.leave("192.0.2.4")
    assert enter(admission, "192.0.2.9") is None
    assert admission.enter("192.0.2.8", is_trusted=True) is Crowded.TOO_MANY
    for number in range(3):
        admission.leave(f"192.0.2.{number}")
    assert not admission.is_nearly_full
    assert admission.enter("192.0.2.8", is_trusted=True) is None


def test_those_who_are_known_are_not_too_many() -> None:
    admission = Admission(2 * REMEMBERED, 5)
    for number in range(REMEMBERED + 1):
        admission.remember(f"10.1.{number >> 8}.{number & 255}")
    assert len(admission._known) == REMEMBERED
    assert "10.1.0.0" not in admission._known


@given(st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "", "fe80::1%eth0"])))
def test_who_left_leaves_nothing(clients: list[str]) -> None:
    admission = Admission(3, 2)
    for client in clients:
        enter(admission, client)
    for client in clients:
        admission.leave(client)
    assert admission.count == 0
    assert not admission._from
