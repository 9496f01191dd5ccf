"""`relay erase` beside a running server: asked first, told in counts, and without the address in what is written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.management import erasing
from tests.cli.program import configure, found, refused, relay, run
from tests.support import World, wait_for

ANA = "ana@erased.test"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("erase")) as world:
        yield world


def send(world: World, *to: str, **members: Any) -> str:
    body = {"from": "me@shared.example", "to": list(to), "subject": "Hi", "text": "Hi"} | members
    answer = world.call("POST", "/api/v1/emails", body)
    assert answer.status == 202, answer.body
    return str(answer.json["id"])


def status(world: World, public_id: str) -> Any:
    return world.call("GET", f"/api/v1/emails/{public_id}").json


def tomorrow() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))


def test_a_person_is_removed_beside_a_server(world: World) -> None:
    sent, both = send(world, ANA, subject="To Ana"), send(world, ANA, "bo@kept.test")
    wait_for(lambda: status(world, sent)["status"] == status(world, both)["status"] == "sent")
    later, shared = send(world, ANA, scheduled_at=tomorrow()), send(world, ANA, "bo@kept.test", scheduled_at=tomorrow())
    relay(world.folder, "suppression", "add", ANA)

    planned = json.loads(relay(world.folder, "erase", "ANA@Erased.test", "--dry-run", "--json"))
    assert (planned["recipients"], planned["cancelled"], planned["is_done"]) == (4, 1, False)
    assert status(world, later)["status"] == "queued"

    asked = run(world.folder, "erase", ANA, stdin="n\n")
    assert asked.returncode != 0
    assert "4  recipients of mail, to remove" in asked.stdout
    assert status(world, later)["status"] == "queued"

    done = relay(world.folder, "erase", ANA, "--yes")
    for words in (
        "4  recipients of mail, removed",
        "1  deliveries that wait for nobody else, cancelled",
        "2  contents, destroyed",
        "2  contents that others got, too, and that may name the address, kept, the last until 20",
        "1  entries of suppression lists, kept",
        "beyond reach:",
        "backups of the database",
        "SQLite's log",
    ):
        assert words in done
    assert ANA not in done
    assert status(world, later)["status"] == "cancelled"
    assert status(world, shared)["status"] == "queued"
    assert world.call("GET", f"/api/v1/emails/{sent}/content").status == 410
    assert found(world.folder, "queue", "list", "--recipient", ANA) == []
    relay(world.folder, "queue", "retry", shared)
    wait_for(lambda: status(world, shared)["status"] == "sent")
    assert all(ANA not in each["recipients"] for each in world.messages()[2:])

    trail = found(world.folder, "audit", "--limit", "4")[1:]
    assert [each["action"] for each in trail] == ["person.erased", "person.erase", "suppression.add"]
    assert trail[0]["changes"]["recipients"] == [4, 0]
    assert trail[0]["changes"]["shared"] == [2, 2]  # what is left did not become nothing
    assert trail[0]["target"].startswith("person erased-")
    assert ANA not in json.dumps(trail)

    again = relay(world.folder, "erase", ANA, "--yes", "--suppressions")
    assert "1  entries of suppression lists, removed" in again
    assert "there was nothing to remove" in relay(world.folder, "erase", ANA, "--yes")


def test_what_is_no_address_and_nobodys_tenant_are_refused(world: World) -> None:
    assert "not an address" in refused(world.folder, "erase", "nobody", "--yes")
    assert "there is no tenant" in refused(world.folder, "erase", ANA, "--yes", "--tenant", "nobody")


def test_a_call_that_does_not_end_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = configure(
        tmp_path,
        domains={"a.example": {"mode": "byoc", "account": "main"}},
        ses_accounts={"main": {"region": "eu-west-1"}},
    )
    assert "there was nothing to remove" in relay(folder, "erase", ANA, "--yes")
    monkeypatch.setattr(erasing, "CALLS_END", timedelta(0))
    monkeypatch.setattr("relay.store.erasing.under_way", lambda db, person: 1)
    done = run(folder, "erase", ANA, "--yes")
    assert done.returncode == os.EX_TEMPFAIL
    assert "run this again in a minute" in done.stderr


def test_on_postgresql_it_says_what_postgresql_keeps(tmp_path: Path, database: str) -> None:
    folder = configure(tmp_path, database=database)
    relay(folder, "migrate")
    told = found(folder, "erase", ANA, "--yes")
    assert told["recipients"] == 0
    assert ("vacuum" in told["beyond_reach"][0]) is not database.endswith(".db")
