"""`relay events`, `relay stats` and the timeline of `relay queue show`: what happened, beside a server or without one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from relay import config
from relay.store.beside import with_database
from relay.store.clock import now_ms
from relay.store.directory import installation
from relay.store.events import Event, note
from relay.store.tallies import Tallied, tally
from relay.store.usage import DAY, date_of, day_of
from tests.cli.program import configure, found, refused, relay, run


@pytest.fixture
def folder(tmp_path: Path, database: str) -> Path:
    configure(tmp_path, database=database)
    relay(tmp_path, "migrate")
    return tmp_path


def change(folder: Path, work: Any) -> None:
    with_database(config.load(folder / "config.yaml"), lambda db, _: work(db, installation.default_tenant(db)))


def test_events_are_listed_newest_first(folder: Path) -> None:
    assert relay(folder, "events") == "There are no such events.\n"

    def fill(db: Any, tenant: int) -> None:
        note(db, [Event("account.held", account="operator", data={"said": "paus\u00e9", "since": now_ms()})])
        note(
            db,
            [Event("email.bounced", domain="a.example", tenant_id=tenant, data={"recipients": [1], "status": "5.1.1"})],
        )

    change(folder, fill)
    table = relay(folder, "events")
    assert table.index("email.bounced") < table.index("account.held")
    assert "status: 5.1.1" in table
    assert "said: paus\\u00e9" in table
    bounced, held = found(folder, "events")
    assert bounced == {
        "id": bounced["id"],
        "at": bounced["at"],
        "event": "email.bounced",
        "tenant": "default",
        "account": None,
        "domain": "a.example",
        "message": None,
        "data": {"status": "5.1.1"},
        "recipients": [None],
    }
    assert held["data"]["since"].endswith("Z")
    for options, expected in (
        (("--type", "account.*"), [held]),
        (("--account", "operator", "--since", "1h"), [held]),
        (("--domain", "A.example", "--tenant", "default"), [bounced]),
        (("--message", "5c70f161f0babe515c70f161"), []),
        (("--limit", "1"), [bounced]),
    ):
        assert found(folder, "events", *options) == expected
    assert refused(folder, "events", "--message", "nothing")
    assert run(folder, "events", "--type", "bounced").returncode == os.EX_DATAERR


def test_figures_by_day_and_in_groups(folder: Path) -> None:
    assert relay(folder, "stats") == "Nothing was sent.\n"
    now = now_ms()

    def fill(db: Any, tenant: int) -> None:
        rows = [("a.example", "", "sent", 8, now), ("a.example", "", "delivered", 6, now)]
        rows += [("b.example", "news", "sent", 2, now - DAY), ("b.example", "news", "bounced", 1, now - DAY)]
        rows += [("c.example", "", "sent", 5, now - 40 * DAY)]
        tally(db, [Tallied(tenant, at, domain, "shared", tag, fate, many) for domain, tag, fate, many, at in rows])

    change(folder, fill)
    days = found(folder, "stats")
    assert [each["day"] for each in days] == [str(date_of(day_of(at))) for at in (now - DAY, now)]
    assert days[1]["rates"] == {"delivery": 0.75, "bounce": 0.0, "complaint": 0.0}
    assert [(each["tag"], each["sent"]) for each in found(folder, "stats", "--by", "tag")] == [(None, 8), ("news", 2)]
    assert len(found(folder, "stats", "--by", "domain", "--days", "50")) == 3
    table = relay(folder, "stats", "--by", "domain")
    assert "75.00%" in table
    assert "all" in table
    assert refused(folder, "stats", "--tenant", "nobody")
