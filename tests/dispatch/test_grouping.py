"""How many recipients one SES call takes, and what it says of tracking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.declared import DEFAULT_TENANT, TenantFields
from relay.delivery import Tracking
from relay.sandbox.accounts import Account
from relay.store.beside import with_database
from relay.store.directory import tenants
from relay.store.directory.audit import Actor
from tests.support import World, wait_for

THREE = [f"{name}@dest.example" for name in ("ana", "bo", "cy")]
SAID = st.sampled_from([None, True, False])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    pairs = {"pairs.example": {"mode": "byoc", "account": "customer", "recipients_per_call": 2}}
    accounts = [
        Account("operator", ("shared.example",), daily_quota=-1),
        Account("customer", ("byoc.example", "pairs.example"), daily_quota=-1),
    ]
    with World(tmp_path_factory.mktemp("grouping"), accounts=accounts, domains=pairs) as world:
        yield world


def calls(world: World, sender: str = "app@shared.example", **said: Any) -> list[tuple[int, dict[str, str]]]:
    """The calls that a message to three becomes: how many recipients each has, and what it says of tracking."""
    world.forget_messages()
    body = {"from": sender, "to": THREE, "subject": "s", "text": "t", **said}
    assert world.call("POST", "/api/v1/emails", body).status == 202

    def arrived() -> list[dict[str, Any]]:
        found = world.messages()
        return found if sum(len(each["recipients"]) for each in found) == 3 else []

    found = wait_for(arrived)
    assert sorted(each for call in found for each in call["recipients"]) == THREE
    return sorted(((len(each["recipients"]), each["tracking"]) for each in found), key=lambda each: -each[0])


OPENS, NO_CLICKS = {"OpenTrackingEnabled": "ENABLED"}, {"ClickTrackingEnabled": "DISABLED"}


def test_a_message_goes_out_in_one_call_where_nothing_has_to_tell_its_recipients_apart(world: World) -> None:
    assert calls(world) == [(3, {})]
    assert calls(world, track_clicks=False) == [(3, NO_CLICKS)]


def test_what_is_tracked_goes_out_one_by_one(world: World) -> None:
    assert calls(world, track_opens=True) == [(1, OPENS)] * 3
    assert calls(world, track_opens=True, track_clicks=False) == [(1, OPENS | NO_CLICKS)] * 3


def test_broadcast_mail_goes_out_one_by_one(world: World) -> None:
    assert calls(world, stream_type="broadcast") == [(1, {})] * 3


def test_a_domain_may_say_how_many_go_out_together(world: World) -> None:
    assert calls(world, "app@pairs.example") == [(2, {}), (1, {})]
    assert calls(world, "app@pairs.example", track_opens=True) == [(1, OPENS)] * 3


def test_a_tenant_may_want_all_its_mail_tracked(world: World) -> None:
    def want(**settings: bool) -> None:
        change = TenantFields.model_validate({"settings": settings})
        with_database(world.settings, lambda db, _: tenants.change(db, Actor("test"), DEFAULT_TENANT, change))

    want(track_opens=True)
    wait_for(lambda: calls(world) == [(1, OPENS)] * 3)  # a running relay knows it within two seconds
    assert calls(world, track_opens=False) == [(3, {"OpenTrackingEnabled": "DISABLED"})]
    assert calls(world, "app@pairs.example") == [(1, OPENS)] * 3
    want(track_opens=False)
    wait_for(lambda: calls(world) == [(3, {})])


@given(SAID, SAID, SAID, SAID)
def test_what_a_message_says_of_tracking_goes_before_what_is_usual(
    opens: bool | None, clicks: bool | None, usual_opens: bool | None, usual_clicks: bool | None
) -> None:
    found = Tracking(opens, clicks).otherwise(Tracking(usual_opens, usual_clicks))
    assert found.opens is (usual_opens if opens is None else opens)
    assert found.clicks is (usual_clicks if clicks is None else clicks)
    assert found.is_on == (found.opens is True or found.clicks is True)
