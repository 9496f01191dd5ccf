"""A tenant whose mail comes back: slowed down, suspended at both edges with the figures, heard, and resumed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from relay.errors import Kind
from relay.message import Mode
from relay.store.clock import now_ms
from relay.store.directory import tenants
from relay.store.standings import Counted, count
from tests.support import wait_for
from tests.tenancy.house import House, housing

FIGURES = "2 of 50 recipients in 7 days bounced (4 %; fewer than 4 % may)"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with housing(tmp_path_factory.mktemp("standing"), "relay.db") as house:
        yield house


def counted(house: House, name: str, sends: int, bounces: int) -> None:
    tenant_id = house.read(lambda db: tenants.find(db, name).id)
    house.change(lambda db: count(db, [Counted(tenant_id, Mode.SHARED, now_ms(), sends, bounces)]))


def standing(house: House, name: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = house.ask("GET", f"/tenants/{name}", key=key).json["standing"]
    return found


def send(house: House, key: str, sender: str, to: str = "ana@one.test") -> Any:
    return house.send(key, author=sender, to=to, subject="Hi", text="x")


def test_bounces_suspend_a_tenant_and_an_appeal_is_heard(house: House) -> None:
    house.tenant("acme", contact="ops@acme.example")
    house.domain("acme.example", "acme", "shared")
    key, sender = house.key("acme", "full"), "me@acme.example"
    house.settle()
    assert send(house, key, sender).status == 202

    good = standing(house, "acme", key)
    assert (good["shared"]["level"], good["shared"]["since"]) == ("good", None)
    assert good["limits"] == {
        "window_hours": 168,
        "min_sends": 50,
        "bounce_rate": 0.04,
        "complaint_rate": 0.0008,
        "complaints_are_bounces": False,
        "enforce": "suspend",
    }
    assert wait_for(lambda: standing(house, "acme", key)["shared"]["sends"] == 1)
    counted(house, "acme", 49, 2)
    house.settle()
    refused = send(house, key, sender)
    assert (refused.status, refused.json["reason"]) == (403, Kind.SUSPENDED.slug)
    assert FIGURES in refused.json["message"]
    with house.session(key) as wire:
        reply = wire.say(f"MAIL FROM:<{sender}>")
    assert reply.startswith("550 5.7.1 ")
    assert FIGURES in reply

    bad = standing(house, "acme", key)["shared"]
    assert bad | {"level": "suspended", "sends": 50, "bounces": 2, "bounce_rate": 0.04} == bad
    body = {"note": "the list was bought; it is deleted"}
    appealed = house.ask("POST", "/tenants/acme/appeal", body, key=key)
    assert (appealed.status, appealed.json["appeal"]["note"]) == (200, body["note"])
    assert house.ask("POST", "/tenants/acme/appeal", body, key=key).status == 409
    assert house.ask("POST", "/tenants/default/appeal", body, key=key).status == 404
    assert house.ask("POST", "/tenants/acme/resume", {}, key=key).status == 403
    [listed] = house.ask("GET", "/tenants?status=suspended").json["data"]
    assert (listed["name"], listed["appeal"]["note"]) == ("acme", body["note"])

    resumed = house.ask("POST", "/tenants/acme/resume", {"note": "thank you"}).json
    assert (resumed["appeal"], resumed["standing"]["shared"]["sends"]) == (None, 0)
    assert resumed["standing"]["shared"]["since"] is not None
    house.settle()
    assert send(house, key, sender).status == 202


def test_one_who_is_slowed_down_waits_and_its_byoc_mail_does_not(house: House) -> None:
    """Its lane does 810 a second, a tenth of which is plenty: what shows is the way, which is through the queue."""
    house.tenant("slow")
    house.domain("slow-shared.example", "slow", "shared")
    house.domain("slow-byoc.example", "slow")
    key = house.key("slow", "full")
    house.settle()
    counted(house, "slow", 100, 3)
    house.settle()
    assert standing(house, "slow", key)["shared"]["level"] == "slowed"
    for sender in ("me@slow-shared.example", "me@slow-byoc.example"):
        to = sender.replace("me@", "to@")
        assert send(house, key, sender, to).status == 202
        house.world.sent_to(to)
