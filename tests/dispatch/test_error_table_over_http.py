"""The error table once more, through the sandbox over HTTP: what becomes of the mail, what stops, and what is said.

Each row has an SES account and a domain of its own, so that none stops another's mail, and all run at once.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from relay.delivery import State
from relay.errors import After, Kind
from relay.sandbox.accounts import Account
from relay.ses.errors import EXPIRED, Scope
from relay.store import events, stops
from relay.store.beside import with_database
from tests.ses.test_error_table import TABLE
from tests.support import ACCOUNTS, World, wait_for

Row = tuple[str, int, str, Kind, Scope, State, int, str]
NAMES = [f"row{number}" for number in range(len(TABLE))]


def ours(text: str, name: str) -> str:
    """A row's words, of its own account and domain."""
    return (
        text.replace("byoc.example", f"{name}.example").replace("acme", name).replace(f"{name}-tenant", "acme-tenant")
    )


def account(region: str = "eu-west-1") -> dict[str, Any]:
    def of(name: str) -> dict[str, Any]:
        return {
            "region": region,
            "endpoint_url": "SANDBOX_URL",
            "rate": 900,
            "feedback": {"via": "none"},
            "credentials": {"access_key_id": name, "secret_access_key": "any"},
        }

    return {name: of(name) for name in [*NAMES, *EXTRA]} | LOCAL


EXTRA = ["renewed", "beginner", "shared-set", "closing"]
KEYS = {"access_key_id": "operator", "secret_access_key": "any"}
LOCAL = {  # accounts from which no call gets to SES
    "refused": {"region": "eu-west-1", "endpoint_url": "http://127.0.0.1:9", "rate": 900, "credentials": KEYS},
    "proxied": {
        "region": "eu-west-1",
        "endpoint_url": "SANDBOX_URL",
        "rate": 900,
        "credentials": KEYS,
        "egress": {"proxy": "http://127.0.0.1:9"},
    },
    "nobody": {"region": "eu-west-1", "endpoint_url": "SANDBOX_URL", "rate": 900, "credentials": {"profile": "nobody"}},
}
DOMAINS = {
    **{f"{name}.example": {"mode": "byoc", "account": name, "ses_tenant": "acme-tenant"} for name in NAMES},
    **{f"{name}.example": {"mode": "byoc", "account": name} for name in [*LOCAL, "closing"]},
    "renewed.example": {"mode": "byoc", "account": "renewed"},
    "beginner.example": {"mode": "byoc", "account": "beginner"},
    "one.example": {"mode": "byoc", "account": "shared-set", "configuration_set": "both"},
    "two.example": {"mode": "byoc", "account": "shared-set", "configuration_set": "both"},
    "three.example": {"mode": "byoc", "account": "shared-set", "configuration_set": "other"},
}


def script(world: World, account: str, fault: Any, times: int | None) -> None:
    body = json.dumps({"account": account, "times": times, "fault": fault}).encode()
    request = urllib.request.Request(f"{world.sandbox_url}/faults", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request):
        pass


def send(world: World, domain: str, *to: str) -> str:
    body = {"from": f"app@{domain}", "to": [*to] or "ana@dest.example", "subject": "s", "text": "t"}
    answer = world.call("POST", "/api/v1/emails", body)
    assert answer.status == 202, answer.body
    public_id: str = answer.json["id"]
    return public_id


def look(world: World, public_id: str) -> dict[str, Any]:
    found: dict[str, Any] = world.call("GET", f"/api/v1/emails/{public_id}").json
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    theirs = [Account(name, (f"{name}.example",), daily_quota=-1) for name in [*NAMES, "renewed"]]
    theirs.append(Account("beginner", ("beginner.example", "good.example"), daily_quota=-1, production=False))
    theirs.append(Account("closing", ("closing.example",), daily_quota=-1))
    theirs.append(Account("shared-set", ("one.example", "two.example", "three.example"), daily_quota=-1))
    folder = tmp_path_factory.mktemp("table")
    with World(folder, accounts=[*ACCOUNTS, *theirs], ses_accounts=account(), domains=DOMAINS) as world:
        yield world


@pytest.fixture(scope="module")
def sent(world: World) -> dict[str, str]:
    """The message of each row, handed over after its script was."""
    found = {}
    for name, (code, status, text, kind, *_) in zip(NAMES, TABLE, strict=True):
        # Too old credentials are renewed once, so it takes two such answers; others need as many as there may be calls.
        times = 2 if code in EXPIRED else 1 if kind.after is After.THROTTLE else None
        script(world, name, {"error": code, "status": status, "message": ours(text, name) or None}, times)
        found[name] = send(world, f"{name}.example")
    return found


@pytest.mark.parametrize(("name", "row"), list(zip(NAMES, TABLE, strict=True)), ids=NAMES)
def test_a_row_over_http(world: World, sent: dict[str, str], name: str, row: Row) -> None:
    _, _, _, kind, scope, mail, burns, remedy = row
    if kind.after is After.THROTTLE:  # once more in place, and SES takes it
        view = wait_for(lambda: (found := look(world, sent[name]))["status"] == "sent" and found)
        assert [(each["attempts"], each["failures"]) for each in view["deliveries"]] == [(1, 0)]
        return

    def decided() -> dict[str, Any] | None:
        found = look(world, sent[name])
        return found if found["deliveries"][0]["detail"] else None

    view = wait_for(decided)
    (delivery,) = view["deliveries"]
    assert (delivery["status"], delivery["failures"], delivery["reason"]) == (mail.value, burns, kind.slug)
    is_held = kind.after is After.HOLD
    assert view["status"] == ("held" if is_held else mail.value)
    assert ours(remedy, name) in delivery["detail"]
    faults: dict[str, str] = world.call("GET", "/readyz").json["faults"]
    theirs = {place: said for place, said in faults.items() if place.split(",")[0] == f"account {name}"}
    if not is_held:
        assert theirs == {}
        return
    place = f"account {name}" + (f", domain {name}.example" if scope is Scope.DOMAIN else "")
    assert list(theirs) == [place]
    assert theirs[place].startswith(f"{kind.title}: ")
    assert ours(remedy, name) in theirs[place]
    assert ours(remedy, name) in view["held"]["detail"]
    (stop,) = with_database(world.settings, lambda db, _: stops.of_account(db, name))
    assert (stop.kind, stop.domain) == (kind.slug, f"{name}.example" if scope is Scope.DOMAIN else "")
    assert ours(remedy, name) in stop.remedy
    (held,) = with_database(world.settings, lambda db, _: events.of_account(db, name))
    assert held.event.type == ("domain.held" if scope is Scope.DOMAIN else "account.held")
    assert (held.event.data["reason"], held.event.data["remedy"]) == (kind.slug, stop.remedy)
    assert (held.event.tenant_id is not None) == (scope is Scope.DOMAIN)
    metrics = world.call("GET", "/metrics").body.decode()
    if scope is Scope.DOMAIN:
        wait_for(
            lambda: f'domain="{name}.example",reason="{kind.slug}"}} 1.0' in world.call("GET", "/metrics").body.decode()
        )
    else:
        assert f'relay_lane_held{{account="{name}"}} 1.0' in metrics


def test_credentials_that_were_too_old_are_renewed_and_the_call_made_again_at_once(world: World) -> None:
    script(world, "renewed", {"error": "ExpiredTokenException"}, 1)
    public_id = send(world, "renewed.example")
    view = wait_for(lambda: (found := look(world, public_id))["status"] == "sent" and found)
    assert [(each["attempts"], each["failures"]) for each in view["deliveries"]] == [(1, 0)]


def test_a_bad_recipient_costs_the_others_nothing(world: World) -> None:
    """An account in the SES sandbox may send to verified addresses only: here, those of good.example."""
    people = [f"p{number}@{'bad' if number in {3, 4, 9} else 'good'}.example" for number in range(12)]
    public_id = send(world, "beginner.example", *people)

    def decided() -> dict[str, Any] | None:
        found = look(world, public_id)
        return found if {each["status"] for each in found["deliveries"]} <= {"sent", "failed"} else None

    view = wait_for(decided)
    failed = [each for each in view["deliveries"] if each["status"] == "failed"]
    assert {each["failures"] for each in view["deliveries"]} == {0}
    assert len(failed) == 3
    said = "account beginner is in the SES sandbox in eu-west-1: ask for production access"
    assert all(said in each["detail"] for each in failed)
    taken = [to for each in world.messages() if each["account"] == "beginner" for to in each["recipients"]]
    assert sorted(taken) == sorted(each for each in people if "good" in each)
    assert "account beginner" not in world.call("GET", "/readyz").json["faults"]


def test_a_paused_configuration_set_stops_the_domains_that_use_it_and_no_other(world: World) -> None:
    text = "Sending is paused for configuration set both"
    script(world, "shared-set", {"error": "SendingPausedException", "message": text}, 1)
    held = send(world, "one.example")
    wait_for(lambda: look(world, held)["status"] == "held")
    faults = world.call("GET", "/readyz").json["faults"]
    assert {f"account shared-set, domain {name}.example" for name in ("one", "two")} <= faults.keys()
    other = send(world, "three.example")
    wait_for(lambda: look(world, other)["deliveries"][0]["attempts"] == 1)
    assert look(world, send(world, "two.example"))["status"] == "held"
    found = with_database(world.settings, lambda db, _: stops.of_account(db, "shared-set"))
    assert [each.domain for each in found] == ["one.example", "two.example"]


# fmt: off
ENDS = [
    # account    mail      reason                 burns  what is said
    ("refused",  "queued", "ses_unavailable",     1, "let this machine reach SES in eu-west-1 by HTTPS: check firewall"),
    ("proxied",  "queued", "ses_unavailable",     1, "and the account's proxy"),
    ("nobody",   "held",   "ses_denied",          0, "the AWS configuration has no profile nobody: add it to the files"),
    ("closing",  "queued", "ses_outcome_unknown", 1, "no answer"),
]
# fmt: on


@pytest.mark.parametrize(("name", "mail", "reason", "burns", "words"), ENDS)
def test_what_does_not_get_to_ses(world: World, name: str, mail: str, reason: str, burns: int, words: str) -> None:
    if name == "closing":
        script(world, name, "close", 1)
    public_id = send(world, f"{name}.example")

    def decided() -> dict[str, Any] | None:
        found = look(world, public_id)
        return found if found["status"] == mail and found["deliveries"][0]["detail"] else None

    (delivery,) = wait_for(decided)["deliveries"]
    assert (delivery["status"], delivery["reason"], delivery["failures"]) == ("queued", reason, burns)
    assert delivery["possible_duplicates"] == int(name == "closing")
    assert words in delivery["detail"]
    assert (f"account {name}" in world.call("GET", "/readyz").json["faults"]) == (mail == "held")


def test_an_account_that_cannot_be_reached_says_how_to_reach_it(world: World) -> None:
    for _ in range(6):
        send(world, "refused.example")
    said = wait_for(lambda: world.call("GET", "/readyz").json["faults"].get("account refused"))
    assert "let this machine reach SES in eu-west-1 by HTTPS" in said
