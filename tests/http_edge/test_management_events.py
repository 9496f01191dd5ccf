"""Events and figures over the management API: whose they are, by what they are found, and as MailerLogic tells them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.http.dialects.mailerlogic_events import MailerLogicEvents
from relay.http.management.shown import Listed
from relay.http.management.shown_events import EntryShown
from relay.http.management.shown_stats import StatsShown
from relay.message import uuid_of
from relay.store import listing
from relay.store.beside import with_database
from relay.store.clock import now_ms
from relay.store.directory import tenants
from relay.store.events import Event, note
from relay.store.tallies import Tallied, tally
from relay.store.usage import DAY
from tests.http_edge.managed import ROOT, Managed, managing
from tests.support import Answer, wait_for


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("events")) as managed:
        with_database(managed.world.settings, lambda db, _: fill(db))
        yield managed


def fill(db: Any) -> None:
    acme, umbra = (tenants.find(db, name).id for name in ("acme", "umbra"))
    note(
        db,
        [
            Event("tenant.approved", tenant_id=acme),
            Event("domain.verified", domain="acme.example", tenant_id=acme),
            Event("email.opened", domain="scoped.example", tenant_id=acme, message_id=5, data={"recipients": [1]}),
            Event("tenant.warned", tenant_id=umbra, data={"window": {"since": now_ms()}}),
            Event("account.held", account="operator", data={"said": "no"}),
        ],
    )
    now = now_ms()
    rows = [
        ("acme.example", "orders", "sent", 200, now),
        ("acme.example", "orders", "delivered", 190, now),
        ("acme.example", "", "bounced", 3, now - DAY),
        ("scoped.example", "news", "sent", 50, now - DAY),
        ("scoped.example", "news", "delivered", 60, now - DAY),  # some of them sent the day before
        ("scoped.example", "news", "complained", 1, now - 2 * DAY),
    ]
    tally(db, [Tallied(acme, at, domain, "shared", tag, fate, many) for domain, tag, fate, many, at in rows])
    tally(db, [Tallied(umbra, now, "umbra.example", "shared", "", "sent", 7)])


# -- events ----------------------------------------------------------------------------------------------------------


def types(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    Listed[EntryShown].model_validate(answer.json)
    return [each["type"] for each in answer.json["data"]]


def test_a_tenant_sees_its_own(managed: Managed) -> None:
    own = ["email.opened", "domain.verified", "tenant.approved"]
    assert types(managed.ask("GET", "/journal", key=managed.full)) == own
    assert types(managed.ask("GET", "/journal?limit=2", key=managed.full)) == own[:2]
    assert types(managed.ask("GET", "/journal", key=managed.scoped)) == own[:1]
    assert types(managed.ask("GET", "/journal", key=managed.other)) == ["tenant.warned"]
    assert types(managed.ask("GET", "/journal?tenant=acme")) == own
    everything = types(managed.ask("GET", "/journal?limit=100"))
    assert {*own, "tenant.warned", "account.held"} <= set(everything)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("type=email.*", ["email.opened"]),
        ("type=tenant.approved", ["tenant.approved"]),
        ("domain=ACME.example", ["domain.verified"]),
        ("account=operator", []),
        ("since=2031-01-01T00:00:00Z", []),
        ("until=2020-01-01T00:00:00%2B01:00", []),
        ("message=5c70f161f0babe515c70f161", []),
    ],
)
def test_filters(managed: Managed, query: str, expected: list[str]) -> None:
    assert types(managed.ask("GET", f"/journal?{query}", key=managed.full)) == expected


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("type=opened", {"type"}),
        ("type=Email.opened", {"type"}),
        ("message=5", {"message"}),
        ("page=1&from=a@b.example", {"page", "from"}),
        ("since=2026-02-02T00:00:00Z&until=2026-02-01T00:00:00Z", {""}),
        ("cursor=!", {"cursor"}),
    ],
)
def test_what_cannot_be_asked_is_said(managed: Managed, query: str, fields: set[str]) -> None:
    answer = managed.ask("GET", f"/journal?{query}")
    assert (answer.status, {each["param"] for each in answer.json["errors"]}) == (400, fields)


def sent(managed: Managed, to: str) -> tuple[str, int]:
    """A message of the operator's own tenant, sent and delivered, and its recipient's row."""
    mail = {"from": "news@shared.example", "to": to, "subject": "Hi", "text": "Hi"}
    public_id: str = managed.ask("POST", "/emails", mail).json["id"]
    wait_for(lambda: managed.ask("GET", f"/emails/{public_id}").json["status"] == "sent")

    def delivered(db: Any) -> int:
        message = listing.message(db, public_id)
        assert message is not None
        (person,) = message.deliveries[0].recipients
        own, data = tenants.find(db, "default").id, {"smtp_response": "ok", "recipients": [person.id]}
        note(db, [Event("email.delivered", domain=message.domain, tenant_id=own, message_id=message.id, data=data)])
        return person.id

    return public_id, with_database(managed.world.settings, lambda db, _: delivered(db))


def test_an_operator_is_not_told_who_got_anothers_mail(managed: Managed) -> None:
    public_id, row_id = sent(managed, "ana@one.test")
    (entry,) = managed.ask("GET", f"/journal?message=eml_{public_id}").json["data"]
    assert (entry["recipients"], entry["message"], entry["data"]) == (
        ["ana@one.test"],
        public_id,
        {"smtp_response": "ok"},
    )

    def clicked(db: Any) -> None:
        note(db, [Event("email.clicked", tenant_id=tenants.find(db, "umbra").id, data={"recipients": [row_id]})])

    with_database(managed.world.settings, lambda db, _: clicked(db))
    for key, address in ((managed.other, "ana@one.test"), (None, None)):
        answer = managed.ask("GET", "/journal?type=email.clicked", key=key)
        assert [each["recipients"] for each in answer.json["data"]] == [[address]]


# -- as MailerLogic tells them ---------------------------------------------------------------------------------------


def test_below_its_mount_events_are_told_as_mailerlogic_does(managed: Managed) -> None:
    public_id, _ = sent(managed, "bo@one.test")

    def ask(query: str = "", key: str = managed.operator) -> Any:
        answer = managed.world.call("GET", f"/mailerlogic{ROOT}/events{query}", key=key)
        assert answer.status == 200, answer.body
        MailerLogicEvents.model_validate(answer.json)
        return answer.json

    mine = ask("?recipient=BO@one")["events"]
    assert [each["event_type"] for each in mine] == ["delivered", "sent", "queued"]
    assert {each["email_id"] for each in mine} == {uuid_of(public_id)}
    assert ask(f"?email_id={uuid_of(public_id)}")["events"] == mine
    assert ask("?recipient=bo@one&type=delivered")["events"] == mine[:1]
    assert ask("?recipient=bo@one&limit=2&page=2")["events"] == mine[2:]
    assert ask("?recipient=bo@one&limit=2")["pagination"] == {"page": 1, "limit": 2, "total": 3, "pages": 2}
    assert ask("?from=nobody@")["events"] == ask("?from_timestamp=2031-01-01T00:00:00Z")["events"] == []
    assert ask("?to_timestamp=2020-01-01T00:00:00Z")["events"] == ask(key=managed.full)["events"] == []
    for wrong in ("cursor=OQ", "tenant=acme", "type=email.sent", "email_id=1"):
        answer = managed.world.call("GET", f"/mailerlogic{ROOT}/events?{wrong}", key=managed.operator)
        assert (answer.status, answer.json.keys()) == (400, {"error", "message"})


def test_mailerlogic_s_own_path_needs_no_mount(managed: Managed) -> None:
    answer = managed.ask("GET", "/events", key=managed.operator)
    assert MailerLogicEvents.model_validate(answer.json).pagination.page == 1
    answer = managed.ask("GET", "/events", key="nobody")
    assert (answer.status, answer.json) == (401, {"error": "unauthorized"})


# -- figures ---------------------------------------------------------------------------------------------------------


def test_figures_say_what_became_of_mail(managed: Managed) -> None:
    found = managed.ask("GET", "/stats", key=managed.full).json
    StatsShown.model_validate(found)
    days = {each["date"]: each for each in found["days"]}
    today = datetime.now(UTC).date()
    assert (days[str(today)]["sent"], days[str(today)]["delivered"]) == (200, 190)
    assert (days[str(today - timedelta(days=1))]["bounced"], days[str(today - timedelta(days=3))]["sent"]) == (3, 0)
    totals = found["totals"]
    assert (totals["sent"], totals["delivered"], totals["bounced"], totals["complained"]) == (250, 250, 3, 1)
    assert totals["rates"] == {"delivery": 1.0, "bounce": 0.012, "complaint": 0.004}
    assert (found["by"], found["groups"]) == (None, None)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("domain", [("acme.example", 200, 0.95), ("scoped.example", 50, 1.0)]),
        ("stream", [("shared", 250, 1.0)]),
        ("tag", [("orders", 200, 0.95), ("news", 50, 1.0), (None, 0, None)]),
    ],
)
def test_figures_in_groups(managed: Managed, by: str, expected: list[tuple[str | None, int, float | None]]) -> None:
    found = managed.ask("GET", f"/stats?by={by}", key=managed.full).json
    StatsShown.model_validate(found)
    assert [(each["name"], each["sent"], each["rates"]["delivery"]) for each in found["groups"]] == expected


def test_figures_of_a_key_for_some_domains_are_of_these(managed: Managed) -> None:
    found = managed.ask("GET", "/stats?by=domain", key=managed.scoped).json
    assert (found["totals"]["sent"], [each["name"] for each in found["groups"]]) == (50, ["scoped.example"])
    assert managed.ask("GET", "/stats?by=day").status == 400
    nothing = managed.ask("GET", "/stats?from=2020-01-01&to=2020-01-02", key=managed.full).json
    assert nothing["totals"]["rates"] == {"delivery": None, "bounce": None, "complaint": None}
