"""Every refusal that tenants, domains, keys and limits can cause, at both edges: one table, then what takes time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.declared import Application
from relay.errors import Kind, printable
from relay.http.management import ROUTES
from relay.sealing import api_key_prefix
from relay.store import blocks, suppressions
from relay.store.clock import now_ms
from relay.store.directory import accounts, domains, keys, tenants
from relay.store.directory.audit import FILE
from relay.store.suppressions import EVERYONE, Entry
from tests.support import Answer, wait_for
from tests.tenancy.house import (
    ACTOR,
    ANYTHING,
    NOTICED_WITHIN,
    ROOT,
    House,
    Letter,
    by_http,
    by_smtp,
    housing,
    login,
    rows_of,
)

PLANS: dict[str, Any] = {
    "two": {"monthly": 2},
    "nothing": {"monthly": 0},
    "own-account": {"modes": ["byoc"]},
    "slow": {"rate_per_minute": 2},
}
BULK = {"List-Unsubscribe": "<https://news.test/u>"}
APPLICATION = Application(use_case="receipts", company="Acme", website="https://acme.test", expected_volume=1000)
DAY = 86_400_000


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[House]:
    with housing(tmp_path_factory.mktemp("refusals"), database, plans=PLANS) as house:
        yield house


# -- the table -------------------------------------------------------------------------------------------------------


def sender(house: House, name: str, mode: str = "byoc", *, is_approved: bool = True, **fields: Any) -> Letter:
    """A tenant `name` with a verified domain NAME.example and a key, and a good letter from there."""
    of_tenant = {each: fields.pop(each) for each in ("plan",) if each in fields}
    of_key = {each: fields.pop(each) for each in ("expires_at", "domains") if each in fields}
    house.tenant(name, is_approved=is_approved, **of_tenant)
    house.domain(f"{name}.example", name, mode, **fields)
    return Letter(house.key(name, **of_key), f"me@{name}.example")


def no_key(house: House, name: str) -> Letter:
    return replace(sender(house, name), key=None)


def unknown_key(house: House, name: str) -> Letter:
    letter = sender(house, name)
    assert letter.key is not None
    return replace(letter, key=letter.key[:-1] + ("x" if letter.key[-1] != "x" else "y"))


def revoked_key(house: House, name: str) -> Letter:
    letter = sender(house, name)
    house.change(lambda db: keys.revoke(db, ACTOR, api_key_prefix(letter.key or "")))
    return letter


def expired_key(house: House, name: str) -> Letter:
    return sender(house, name, expires_at=datetime.now(UTC) - timedelta(seconds=1))


def beyond_scope(house: House, name: str) -> Letter:
    letter = sender(house, name, domains=[f"other-{name}.example"])
    house.domain(f"other-{name}.example", name)
    return letter


def stream(house: House, name: str) -> Letter:
    return replace(sender(house, name, streams=["transactional"]), headers=BULK)


def plan_without_mode(house: House, name: str) -> Letter:
    return sender(house, name, "shared", plan="own-account")


def nobodys_domain(house: House, name: str) -> Letter:
    return replace(sender(house, name), author="me@nobodys.example")


def nobodys_author(house: House, name: str) -> Letter:
    """A good envelope is not enough."""
    letter = sender(house, name)
    return replace(letter, author="me@nobodys.example", sender=letter.author)


def anothers_domain(house: House, name: str) -> Letter:
    theirs = sender(house, f"not-{name}")
    return replace(sender(house, name), author=theirs.author)


def defaults_domain(house: House, name: str) -> Letter:
    return replace(sender(house, name), author="me@shared.example")


def disabled_domain(house: House, name: str) -> Letter:
    letter = sender(house, name)
    house.change(lambda db: domains.let_go(db, FILE, domains.find(db, f"{name}.example")))
    return letter


def disabled_tenant(house: House, name: str) -> Letter:
    letter = sender(house, name)
    house.change(lambda db: tenants.let_go(db, FILE, tenants.find(db, name)))
    return letter


def unverified(house: House, name: str) -> Letter:
    """Registered with SES, and looked at: its DKIM records are not there yet."""
    house.tenant(name)
    body = {"domain": f"{name}.example", "mode": "byoc", "tenant": name, "account": "customer"}
    assert house.ask("POST", "/domains", body).status == 201
    return Letter(house.key(name), f"me@{name}.example")


def unproven(house: House, name: str) -> Letter:
    """A shared domain that nobody has shown to be this tenant's, though the operator's SES account has it."""
    house.tenant(name)
    body = {"domain": f"{name}.example", "mode": "shared", "tenant": name, "account": "operator"}
    assert house.ask("POST", "/domains", body).status == 201
    return Letter(house.key(name), f"me@{name}.example")


def never_asked(house: House, name: str) -> Letter:
    return sender(house, name, "shared", is_approved=False)


def asked(house: House, name: str) -> Letter:
    letter = never_asked(house, name)
    house.change(lambda db: tenants.apply_for_approval(db, ACTOR, name, APPLICATION))
    return letter


def declined(house: House, name: str) -> Letter:
    letter = asked(house, name)
    house.change(lambda db: tenants.decide(db, ACTOR, name, is_approved=False, note="tell us about consent"))
    return letter


def suspended(house: House, name: str) -> Letter:
    letter = sender(house, name)
    house.change(lambda db: tenants.suspend(db, ACTOR, name, "4 % bounces"))
    return letter


def listed(house: House, name: str, tenant_id: int, **fields: Any) -> str:
    entry = Entry.parse(f"{name}@Gone.test", **fields)
    assert house.change(lambda db: suppressions.suppress(db, ACTOR, tenant_id, entry))
    return f"{name.upper()}@gone.test"


def suppressed_here(house: House, name: str) -> Letter:
    letter = sender(house, name)
    tenant_id = house.read(lambda db: tenants.find(db, name).id)
    return replace(letter, to=[listed(house, name, tenant_id, reason="complained")])


def suppressed_everywhere(house: House, name: str) -> Letter:
    return replace(sender(house, name), to=[listed(house, name, EVERYONE, reason="legal")])


def quota_of_nothing(house: House, name: str) -> Letter:
    return sender(house, name, plan="nothing")


def quota_too_small(house: House, name: str) -> Letter:
    """Two are left, and three are asked for: known when all recipients are."""
    return replace(sender(house, name, plan="two"), to=[f"{n}@one.test" for n in "abc"])


TODAY = f"{datetime.now(UTC):%Y-%m-%d}"
MONTH = f"{datetime.now(UTC):%Y-%m}"


@dataclass(frozen=True)
class Row:
    """`step` is where SMTP refuses; `words` stand in the text at both edges."""

    arrange: Callable[[House, str], Letter]
    kind: Kind
    step: str
    words: str

    @property
    def name(self) -> str:
        return self.arrange.__name__.replace("_", "-")


# fmt: off
TABLE = [
    Row(no_key,                Kind.NO_CREDENTIAL,  "MAIL", "Authenticate first"),
    Row(unknown_key,           Kind.UNAUTHORIZED,   "AUTH", "unknown, revoked or expired"),
    Row(revoked_key,           Kind.UNAUTHORIZED,   "AUTH", "unknown, revoked or expired"),
    Row(expired_key,           Kind.UNAUTHORIZED,   "AUTH", "unknown, revoked or expired"),
    Row(beyond_scope,          Kind.FORBIDDEN,      "DATA", "this API key is not for beyond-scope.example"),
    Row(stream,                Kind.FORBIDDEN,      "DATA", "may send transactional mail only; this is broadcast"),
    Row(plan_without_mode,     Kind.FORBIDDEN,      "DATA", "the plan own-account has no shared sending"),
    Row(nobodys_domain,        Kind.NOT_REGISTERED, "MAIL", "nobodys.example is not registered here"),
    Row(nobodys_author,        Kind.NOT_REGISTERED, "DATA", "nobodys.example is not registered here"),
    Row(anothers_domain,       Kind.NOT_REGISTERED, "MAIL", "not-anothers-domain.example is not registered here"),
    Row(defaults_domain,       Kind.NOT_REGISTERED, "MAIL", "shared.example is not registered here"),
    Row(disabled_domain,       Kind.NOT_REGISTERED, "DATA", "no longer in the operator's configuration"),
    Row(disabled_tenant,       Kind.SUSPENDED,      "MAIL", "no longer in the operator's configuration"),
    Row(unverified,            Kind.NOT_VERIFIED,   "DATA", "._domainkey.unverified.example"),
    Row(unproven,              Kind.NOT_VERIFIED,   "DATA", "_relay-challenge.unproven.example"),
    Row(never_asked,           Kind.NOT_APPROVED,   "DATA", "ask for approval first"),
    Row(asked,                 Kind.NOT_APPROVED,   "DATA", "the request waits for an answer"),
    Row(declined,              Kind.NOT_APPROVED,   "DATA", "it was declined: tell us about consent"),
    Row(suspended,             Kind.SUSPENDED,      "MAIL", "4 % bounces"),
    Row(suppressed_here,       Kind.SUPPRESSED,     "RCPT", f"since {TODAY} (complained)"),
    Row(suppressed_everywhere, Kind.SUPPRESSED,     "RCPT", f"since {TODAY} (legal)"),
    Row(quota_of_nothing,      Kind.QUOTA_EXCEEDED, "MAIL", f"0 recipients a month: 0 are used in {MONTH}"),
    Row(quota_too_small,       Kind.QUOTA_EXCEEDED, "DATA", f"2 recipients a month: 0 are used in {MONTH}"),
]
# fmt: on


# -- what stories below begin with -----------------------------------------------------------------------------------


def good(house: House, name: str) -> Letter:
    """The other side of the table: each thing that a row lacks is there, or is over."""
    letter = sender(house, name, "shared", domains=[f"{name}.example"])
    house.domain(f"{name}-too.example", name, streams=["broadcast"])
    over = {"created_at": now_ms() - DAY, "expires_at": now_ms() - 1}
    here = house.read(lambda db: tenants.find(db, name).id)
    elsewhere = house.tenant(f"{name}-neighbour").id
    gone = [listed(house, "over-here", here, **over), listed(house, "over-everywhere", EVERYONE, **over)]
    return replace(letter, sender=f"me@{name}-too.example", to=[*gone, listed(house, "only-theirs", elsewhere)])


def good_bulk(house: House, name: str) -> Letter:
    return replace(sender(house, name, streams=["broadcast"]), headers=BULK)


def thrifty(house: House, name: str) -> Letter:
    return sender(house, name, plan="two")


def fast(house: House, name: str) -> Letter:
    return replace(sender(house, name), key=house.key(name, "full", rate_per_minute=3))


def paced_by_key(house: House, name: str) -> Letter:
    return replace(sender(house, name), key=house.key(name, "full", rate_per_minute=2))


def paced_by_plan(house: House, name: str) -> Letter:
    return replace(sender(house, name, plan="slow"), key=house.key(name, "full"))


def patient(house: House, name: str) -> Letter:
    """Its account, `patient-ses`, is paused."""
    house.tenant(name)
    house.account("patient-ses", name)
    house.domain(f"{name}.example", name, account="patient-ses")
    house.change(lambda db: accounts.pause(db, ACTOR, "patient-ses", "moving house"))
    return Letter(house.key(name, "full"), f"me@{name}.example", to=[f"{name}@one.test"])


STORIES = {
    "good": good,
    "good-bulk": good_bulk,
    "thrifty": thrifty,
    "fast": fast,
    "paced-by-key": paced_by_key,
    "paced-by-plan": paced_by_plan,
    "patient": patient,
    **dict.fromkeys(("http-neighbour", "smtp-neighbour", "sleeper", "leaver", "only-sends"), sender),
}


@pytest.fixture(scope="module")
def letters(house: House) -> dict[str, Letter]:
    """What each row and story sends, each from an address of its own: failed logins are counted by those."""
    arranged = {row.name: row.arrange for row in TABLE} | STORIES
    made = {
        name: replace(arrange(house, name), source=f"127.0.1.{number}")
        for number, (name, arrange) in enumerate(arranged.items(), 1)
    }
    house.settle()
    return made


def count_messages(house: House, name: str) -> int:
    return house.read(lambda db: len(rows_of(db, tenants.find(db, name).id)["messages"]))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_it_is_refused_at_both_edges_in_the_same_words(house: House, letters: dict[str, Letter], row: Row) -> None:
    letter, kind = letters[row.name], row.kind
    step, reply = by_smtp(house, letter)
    assert (step, reply[:10].split()[:2]) == (row.step, [str(kind.smtp), kind.enhanced]), reply
    answer = by_http(house, letter)
    assert_refused(answer, kind)
    text = reply.removeprefix(f"{kind.smtp} {kind.enhanced} ")
    assert row.words in text
    assert row.words in answer.json["message"]
    assert text == printable(answer.json["message"], 400)  # a reply is one short line
    assert count_messages(house, row.name) == 0


def assert_refused(answer: Answer, kind: Kind) -> None:
    """As the table of troubles has it, and with what every refusal carries."""
    assert (answer.status, answer.json["reason"], answer.json["error"]) == (kind.http, kind.slug, kind.error), (
        answer.body
    )
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert ("retry-after" in answer.headers) == (kind.http == Kind.RATE_LIMITED.http)
    assert int(answer.headers.get("retry-after", 1)) >= 1
    assert (answer.headers.get("www-authenticate") == "Bearer") == (kind.http == Kind.UNAUTHORIZED.http)
    assert_counted(answer)


def assert_counted(answer: Answer) -> None:
    limit, remaining, reset = (answer.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset"))
    assert 0 <= int(remaining) <= int(limit)
    assert abs(int(reset) - time.time()) < 120


def test_the_table_has_every_row_of_the_design_that_mail_can_meet_here() -> None:
    """The rest of them has a story of its own below."""
    others = {Kind.BLOCKED, Kind.RATE_LIMITED, Kind.NOT_FOUND, Kind.CONFLICT, Kind.BAD_REQUEST}
    causes = {"unauthorized", "rate_limited", "forbidden", "domain_not_registered", "domain_not_verified"}
    causes |= {"not_approved", "account_suspended", "recipient_suppressed", "quota_exceeded"}
    causes |= {"not_found", "conflict", "bad_request"}
    assert {row.kind.slug for row in TABLE} | {kind.slug for kind in others} == causes


def test_what_is_good_is_taken(house: House, letters: dict[str, Letter]) -> None:
    for name in ("good", "good-bulk"):
        step, reply = by_smtp(house, letters[name])
        assert (step, reply[:9]) == ("", "250 2.0.0"), reply
        answer = by_http(house, letters[name])
        assert answer.status == 202, answer.body
        assert_counted(answer)


def test_a_quota_is_used_up_by_both_edges_together(house: House, letters: dict[str, Letter]) -> None:
    letter = letters["thrifty"]
    assert by_smtp(house, letter)[0] == ""
    assert by_http(house, letter).status == 202
    step, reply = by_smtp(house, letter)
    assert (step, reply[:9]) == ("MAIL", "550 5.7.1")
    assert "2 are used" in reply
    answer = by_http(house, letter)
    assert_refused(answer, Kind.QUOTA_EXCEEDED)
    assert int(answer.headers["retry-after"]) <= 31 * 86_400
    assert count_messages(house, "thrifty") == 2


# -- failed logins ---------------------------------------------------------------------------------------------------


def wrong(number: int) -> str:
    """Another secret with the same head."""
    return f"relay_abcdefgh.{'x' * 40}{number}"


def failed_login(house: House, key: str, source: str) -> str:
    with house.session(None, source) as wire:
        return wire.say(f"AUTH PLAIN {login(key)}")


def lift(house: House, address: str) -> str:
    """The command, as an operator gives it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "relay", "block", "lift", address],
        cwd=house.world.folder,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("first", ["http", "smtp"])
def test_failed_logins_block_both_edges_until_they_are_lifted(
    house: House, letters: dict[str, Letter], first: str
) -> None:
    source, elsewhere = {"http": ("127.0.3.1", "127.0.3.2"), "smtp": ("127.0.3.3", "127.0.3.4")}[first]
    letter = letters[f"{first}-neighbour"]
    for number in range(10):
        if first == "http":
            assert_refused(house.send(wrong(number), source), Kind.UNAUTHORIZED)
        else:
            assert failed_login(house, wrong(number), source)[:9] == "535 5.7.8"

    assert_refused(blocked := house.send(wrong(10), source), Kind.BLOCKED)
    assert 590 <= int(blocked.headers["retry-after"]) <= 600
    assert "too many failed logins" in blocked.json["message"]
    with house.session(None, source) as wire:
        assert wire.say(f"AUTH PLAIN {login(wrong(11))}").startswith("421 4.7.0 too many failed logins")
        assert wire.line() == ""  # closed
    assert_refused(house.ask("GET", "/stats", key=wrong(12), source=source), Kind.BLOCKED)

    # Others are not meant: a valid key from there, other heads of keys from there, and the same from elsewhere.
    assert by_http(house, replace(letter, source=source)).status == 202
    assert by_smtp(house, replace(letter, source=source))[0] == ""
    assert_refused(house.send("relay_zzzzzzzz.xxxxxxxxxxxxxxx", source), Kind.UNAUTHORIZED)
    assert_refused(house.send(wrong(13), elsewhere), Kind.UNAUTHORIZED)

    standing = wait_for(
        lambda: [each for each in house.read(blocks.standing) if each.address == source], NOTICED_WITHIN
    )
    assert [(each.prefix, each.failures) for each in standing] == [("relay_abcdefgh", 10)]
    assert "may log in again" in lift(house, source)
    assert not [each for each in house.read(blocks.standing) if each.address == source]
    began = time.monotonic()
    wait_for(lambda: house.send(wrong(14), source).status == 401, NOTICED_WITHIN)
    print(f"lifted after {time.monotonic() - began:.2f} s")
    # Let in again means counted anew, not blocked by the next mistake.
    assert failed_login(house, wrong(15), source)[:9] == "535 5.7.8"
    assert_refused(house.send(wrong(16), source), Kind.UNAUTHORIZED)


def test_what_is_no_key_of_ours_is_kept_nowhere(house: House) -> None:
    """It may be somebody's password: blocks and the log have a dash for it."""
    source, password = "127.0.3.9", "correct-horse-battery"
    for _ in range(11):
        answer = house.send(password, source)
    assert_refused(answer, Kind.BLOCKED)
    [block] = wait_for(lambda: [each for each in house.read(blocks.standing) if each.address == source], NOTICED_WITHIN)
    assert block.prefix == "-"


# -- request rates ---------------------------------------------------------------------------------------------------


def test_a_key_that_is_too_fast_waits(house: House, letters: dict[str, Letter]) -> None:
    letter = letters["fast"]
    answers = [by_http(house, letter) for _ in range(4)]
    assert [answer.status for answer in answers] == [202, 202, 202, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"3"}
    assert_refused(answers[-1], Kind.RATE_LIMITED)
    assert 50 <= int(answers[-1].headers["retry-after"]) <= 60
    # Management is counted apart, and not by the key's own rate.
    managed = house.ask("GET", "/domains", key=letter.key)
    assert (managed.status, managed.headers["x-ratelimit-limit"]) == (200, str(ANYTHING))


@pytest.mark.parametrize("name", ["paced-by-key", "paced-by-plan"])
def test_by_smtp_it_is_the_queue_that_waits(house: House, letters: dict[str, Letter], name: str) -> None:
    letter = letters[name]
    ids = []
    for number in range(3):
        step, reply = by_smtp(house, replace(letter, to=[f"{name}-{number}@one.test"]))
        assert (step, reply[:9]) == ("", "250 2.0.0"), reply
        ids.append(re.findall(r"[0-9a-f]{24}", reply)[0])
    for number in range(2):
        house.world.sent_to(f"{name}-{number}@one.test")
    waiting = house.send_status(ids[2], letter.key or "")
    assert waiting["status"] == "queued"
    [delivery] = waiting["deliveries"]
    due = datetime.fromisoformat(delivery["next_attempt_at"]) - datetime.now(UTC)
    assert timedelta(seconds=15) < due <= timedelta(seconds=30)  # a minute's worth at once, then one each 30 s


# -- what comes while mail is under way ------------------------------------------------------------------------------


def test_a_suspension_reaches_sessions_that_were_there_before(house: House, letters: dict[str, Letter]) -> None:
    letter = letters["sleeper"]
    mail = f"MAIL FROM:<{letter.author}>"
    with house.session(letter.key) as wire, house.session(letter.key) as late:
        assert wire.say(mail).startswith("250 ")
        late.envelope(letter.author, *letter.to)
        house.change(lambda db: tenants.suspend(db, ACTOR, "sleeper", "too many complaints"))
        took = until(wire, mail, "550 5.7.1")
        assert "too many complaints" in wire.say(mail)
        assert late.say(letter.text)[:9] == "550 5.7.1"
        assert_refused(by_http(house, letter), Kind.SUSPENDED)
        assert count_messages(house, "sleeper") == 0
        house.change(lambda db: tenants.resume(db, ACTOR, "sleeper"))
        back = until(wire, mail, "250 2.1.0")
        late.envelope(letter.author, *letter.to)
        assert late.say(letter.text).startswith("250 ")
    assert by_http(house, letter).status == 202
    print(f"suspended after {took:.2f} s, resumed after {back:.2f} s")


def test_a_revocation_reaches_sessions_that_were_there_before(house: House, letters: dict[str, Letter]) -> None:
    letter, other = letters["leaver"], letters["good"]
    mail = f"MAIL FROM:<{letter.author}>"
    with house.session(letter.key) as wire, house.session(letter.key) as late, house.session(other.key) as untouched:
        assert wire.say(mail).startswith("250 ")
        late.envelope(letter.author, *letter.to)
        house.change(lambda db: keys.revoke(db, ACTOR, api_key_prefix(letter.key or "")))
        took = until(wire, mail, "535 5.7.8")
        assert late.say(letter.text)[:9] == "535 5.7.8"
        assert_refused(by_http(house, letter), Kind.UNAUTHORIZED)
        assert untouched.say(f"MAIL FROM:<{other.author}>").startswith("250 ")
    assert count_messages(house, "leaver") == 0
    print(f"revoked after {took:.2f} s")


def until(wire: Any, line: str, reply: str) -> float:
    """Say it in new transactions until it is answered so. Returns the seconds that took."""
    began = time.monotonic()
    wait_for(lambda: wire.say("RSET") and wire.say(line).startswith(reply), NOTICED_WITHIN)
    return time.monotonic() - began


def test_what_is_queued_is_held_and_goes_on(house: House, letters: dict[str, Letter]) -> None:
    """First the account is paused, then the tenant is suspended as well: each reason shows, and both must end."""
    key = letters["patient"].key or ""
    answer = by_http(house, letters["patient"])
    assert answer.status == 202  # a pause refuses nothing
    public_id = answer.json["id"]

    def status(*expected: str) -> dict[str, Any]:
        def shown() -> dict[str, Any]:
            found = house.send_status(public_id, key)
            held = found.get("held", {})
            return found if expected == (found["status"], *([held["reason"]] if held else [])) else {}

        return wait_for(shown, NOTICED_WITHIN)

    assert "moving house" in status("held", Kind.SES_PAUSED.slug)["held"]["detail"]
    house.change(lambda db: tenants.suspend(db, ACTOR, "patient", "being looked at"))
    house.change(lambda db: accounts.resume(db, ACTOR, "patient-ses"))
    assert "being looked at" in status("held", Kind.SUSPENDED.slug)["held"]["detail"]
    house.settle()
    assert not [each for each in house.world.messages() if "patient@one.test" in each["recipients"]]
    house.change(lambda db: tenants.resume(db, ACTOR, "patient"))
    house.world.sent_to("patient@one.test")
    assert status("sent")["deliveries"][0]["attempts"] == 1


# -- management ------------------------------------------------------------------------------------------------------

NAMED = {"{name}": "no-such", "{id}": f"{1:024x}", "{address:path}": "nobody@one.test"}
BODIES = {
    "/tenants/{name}/suspend": {"reason": "r"},
    "/tenants/{name}/decline": {"note": "n"},
    "/tenants/{name}/appeal": {"note": "n"},
    "/tenants/{name}/approval": APPLICATION.model_dump(),
}


@pytest.mark.parametrize(
    "rule", [rule for rule in ROUTES if "{" in rule.path], ids=lambda rule: f"{rule.method} {rule.path}"
)
def test_what_is_not_there_is_not_found(house: House, rule: Any) -> None:
    path = rule.path
    for parameter, value in NAMED.items():
        path = path.replace(parameter, value)
    assert_refused(house.ask(rule.method, path, BODIES.get(rule.path)), Kind.NOT_FOUND)


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/tenants", {"name": "default"}, "there is a tenant 'default' already"),
        ("POST", "/tenants/default/resume", None, "not suspended"),
        ("POST", "/tenants/default/decline", {"note": "no"}, "always approved"),
        ("POST", "/tenants/default/approve", None, "approved already"),
        ("POST", "/ses-accounts", {"name": "operator", "region": "eu-west-1"}, "already"),
        ("PATCH", "/ses-accounts/operator", {"rate": 5}, "configuration file"),
        ("DELETE", "/ses-accounts/operator", None, "configuration file"),
        ("POST", "/ses-accounts/operator/resume", None, "not paused"),
        (
            "POST",
            "/domains",
            {"domain": "shared.example", "mode": "shared", "account": "operator"},
            "registered already",
        ),
        ("PATCH", "/domains/shared.example", {"include_subdomains": True}, "configuration file"),
        ("PATCH", "/domains/conflicts.example", {"mode": "shared"}, "that stays"),
        ("DELETE", "/domains/shared.example", None, "configuration file"),
    ],
)
def test_what_is_not_in_a_state_for_it_is_a_conflict(
    house: House, method: str, path: str, body: Any, words: str
) -> None:
    if "conflicts" in path:
        house.domain("conflicts.example", "default")
    answer = house.ask(method, path, body)
    assert_refused(answer, Kind.CONFLICT)
    assert words in answer.json["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "faults"),
    [
        ("POST", "/tenants", {"name": "Not a name", "plan": 5, "x": 1}, {"name", "plan", "x"}),
        ("POST", "/tenants", {"name": "planned", "plan": "no-such"}, {"plan"}),
        ("GET", "/tenants?status=odd&limit=0&limit=1", None, {"limit", "status"}),
        ("POST", "/ses-accounts", {"credentials": {"access_key_id": "A"}}, {"name", "region", "credentials"}),
        ("POST", "/domains", {"domain": "a b", "mode": "other"}, {"domain", "mode"}),
        ("POST", "/keys", {"permission": "root", "expires_at": "1999-01-01T00:00:00Z"}, {"name", "permission", "expires_at"}),
        ("POST", "/suppressions", {"address": "nobody"}, {"address"}),
        ("POST", "/suppressions", b"{", set()),
        ("GET", "/stats?from=yesterday", None, {"from"}),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_bad_request(
    house: House, method: str, path: str, body: Any, faults: set[str]
) -> None:
    answer = house.ask(method, path, body)
    assert_refused(answer, Kind.BAD_REQUEST)
    assert {fault["param"] for fault in answer.json.get("errors", [])} == faults


def test_a_key_that_only_sends_does_nothing_else(house: House, letters: dict[str, Letter]) -> None:
    key = letters["only-sends"].key
    for rule in ROUTES:
        answer = house.ask(rule.method, re.sub(r"\{.*?\}", "x", rule.path), key=key)
        assert_refused(answer, Kind.FORBIDDEN)
    assert_refused(house.world.call("GET", f"{ROOT}/emails/{0:024x}", key=key), Kind.FORBIDDEN)


def test_every_answer_counts_requests(house: House) -> None:
    """Those of known keys and of strangers, the good and the bad; 600 a minute is what management has by default."""
    routes = [(rule.method, re.sub(r"\{.*?\}", "x", rule.path)) for rule in ROUTES]
    for method, path in [*routes, ("POST", "/emails"), ("GET", "/emails/x")]:
        for key in ("", "unknown", house.operator):
            answer = house.ask(method, path, b"{", key=key, source="127.0.4.1")
            assert_counted(answer)
            assert json.loads(answer.body) if answer.body else answer.status == 204
