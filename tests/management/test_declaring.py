"""The file against the directory, on SQLite and on PostgreSQL: what it would change, and what applying it leaves."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from relay import config
from relay.config import Settings
from relay.declared import AccountFields, Approval, DomainFields, DomainStatus, KeyFields, TenantFields
from relay.errors import Kind, Problem
from relay.management.declaring import Plan, apply, plan
from relay.message import Mode, Stream
from relay.sealing import Sealer
from relay.store import database
from relay.store.beside import with_database
from relay.store.database import StoreError
from relay.store.directory import accounts, audit, domains, installation, keys, tenants
from relay.store.directory.audit import Actor
from relay.store.directory.snapshot import Snapshot, read
from relay.store.files import master_key
from relay.store.peek import peek
from tests import databases

Answer = TypeVar("Answer")
Raw = dict[str, Any]

SOMEONE = Actor("command someone", is_operator=True)
SECRET, OTHER_SECRET = "wJalrXUtnFEMI-K7MDENG", "wJalrXUtnFEMI-OTHER"
APP, WEB, NEW = "sk_live_app_0123456789abcdef", "sk_live_web_0123456789abcdef", "sk_live_new_0123456789abcdef"
ROLE = "arn:aws:iam::123456789012:role/relay"

FILE: Raw = {
    "smtp": {"listeners": [{"address": "127.0.0.1:2525"}]},
    "plans": {"small": {"monthly": 1000}, "large": {"monthly": 100000}},
    "tenants": {"acme": {"plan": "small", "contact": "ops@acme.example", "approved": True}},
    "ses_accounts": {
        "main": {
            "region": "eu-west-1",
            "credentials": {"access_key_id": "AKIAMAIN", "secret_access_key": SECRET},
            "rate": 10,
        },
        "acme": {"region": "us-east-1", "tenant": "acme", "credentials": {"role_arn": ROLE}},
    },
    "domains": {
        "example.com": {"mode": "shared", "account": "main", "configuration_set": "relay"},
        "acme.example": {"mode": "byoc", "tenant": "acme", "account": "acme"},
    },
    "keys": [
        {"name": "app", "secret": APP},
        {"name": "web", "secret": WEB, "tenant": "acme", "permission": "full", "domains": ["acme.example"]},
    ],
}


def laid_over(raw: Raw, changes: Mapping[str, Any]) -> Raw:
    """`changes`: dotted paths, in which `/` stands for a dot of a name. The value ... takes the setting out."""
    changed = copy.deepcopy(raw)
    for path, value in changes.items():
        *way, last = (int(part) if part.isdecimal() else part.replace("/", ".") for part in path.split("."))
        at: Any = changed
        for part in way:
            at = at[part] if isinstance(part, int) else at.setdefault(part, {})
        if value is ...:
            del at[last]
        elif isinstance(at, list) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return changed


@dataclass(frozen=True)
class Place:
    """A database, and the file beside it."""

    folder: Path
    url: URL

    def settings(self, changes: Mapping[str, Any] | None = None, raw: Raw = FILE) -> Settings:
        url = self.url.set(drivername=self.url.get_backend_name())
        name = self.url.database if database.is_sqlite(self.url) else url.render_as_string(hide_password=False)
        return config.check(laid_over(raw, changes or {}) | {"database": name}, self.folder / "config.yaml", {})

    def run(self, work: Callable[[Connection, Sealer], Answer]) -> Answer:
        return with_database(self.settings(), work)

    def plan(self, changes: Mapping[str, Any] | None = None, raw: Raw = FILE) -> Plan:
        return self.run(lambda db, sealer: plan(db, sealer, self.settings(changes, raw)))

    def apply(self, changes: Mapping[str, Any] | None = None, raw: Raw = FILE) -> Plan:
        """Apply, and hold what was planned against what was done."""
        planned, settings = self.plan(changes, raw), self.settings(changes, raw)
        applied = self.run(lambda db, sealer: apply(db, sealer, settings))
        assert applied == planned
        assert self.plan(changes, raw) == Plan(())
        return applied

    def refused(self, changes: Mapping[str, Any]) -> list[str]:
        """The faults for which the file is refused, and that nothing was written."""
        before = self.traces()
        said = []
        for do in (plan, apply):
            with pytest.raises(Problem) as caught:
                self.run(lambda db, sealer, do=do: do(db, sealer, self.settings(changes)))
            assert caught.value.kind is Kind.CONFLICT
            said.append([str(fault) for fault in caught.value.faults])
        assert self.traces() == before
        assert said[0] == said[1]
        return said[0]

    def rows(self) -> Snapshot:
        return self.run(lambda db, _: read(db))

    def traces(self) -> tuple[int, int]:
        """What no change leaves as it was: the generation and the length of the audit."""
        return self.run(
            lambda db, _: (
                installation.generation(db),
                len(audit.entries(db, target=None, tenant_id=None, limit=1000)),
            )
        )

    def key(self, name: str) -> keys.ApiKey:
        """The newest of this name."""
        return self.run(lambda db, _: [key for key in keys.every(db) if key.name == name][-1])


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Without a schema on PostgreSQL, without a database on SQLite."""
    if request.param == "sqlite":
        return Place(tmp_path, databases.sqlite(tmp_path))
    return Place(tmp_path, databases.postgresql())


@pytest.fixture
def place(empty: Place) -> Place:
    if not database.is_sqlite(empty.url):
        asyncio.run(database.migrate_postgresql(empty.url))
    return empty


def lines(of: Plan) -> list[str]:
    return [f"{change}: {change.words}" if change.words else str(change) for change in of.changes]


# -- a file comes to a directory -------------------------------------------------------------------------------------


def test_everything_is_added_in_order(place: Place) -> None:
    assert lines(place.apply()) == [
        "add tenant acme: plan: small; contact: ops@acme.example; settings.store_content: yes; settings.byoc_log: minimal; approved: yes",
        "add account main: region: eu-west-1; credentials: access key AKIAMAIN; rate: 10",
        f"add account acme: tenant: acme; region: us-east-1; credentials: role {ROLE}; rate: 1",
        "add domain example.com: tenant: default; account: main; mode: shared; configuration_sets: transactional relay, "
        "shared relay, broadcast relay; streams: transactional, shared, broadcast; mail_from: send",
        "add domain acme.example: tenant: acme; account: acme; mode: byoc; streams: transactional, shared, broadcast; "
        "mail_from: send",
        "add key app: tenant: default; permission: send_only",
        "add key web: tenant: acme; permission: full; domains: acme.example",
    ]
    rows = place.rows()
    acme = next(tenant for tenant in rows.tenants.values() if tenant.name == "acme")
    assert (acme.approval, acme.plan, acme.is_declared) == (Approval.APPROVED, "small", True)
    assert place.run(lambda db, sealer: accounts.find(db, "main").secret(sealer)) == SECRET
    domain = rows.domains["acme.example"]
    assert (domain.status, domain.is_claimed, domain.challenge) == (DomainStatus.VERIFIED, True, None)
    assert all(row.is_declared for row in [*rows.accounts.values(), *rows.domains.values(), *rows.keys.values()])
    wanted = place.run(lambda _, sealer: {sealer.hash_api_key(APP), sealer.hash_api_key(WEB)})
    assert set(rows.keys) == wanted


def test_an_unchanged_file_writes_nothing(place: Place) -> None:
    place.apply()
    before = place.traces()
    assert place.apply() == Plan(())
    assert place.traces() == before


def test_a_domain_without_an_account_sends_through_the_only_one(place: Place) -> None:
    one: Raw = {
        "smtp": FILE["smtp"],
        "ses_accounts": {"main": {"region": "eu-west-1"}},
        "domains": {"example.com": {"mode": "shared"}},
    }
    # Another of the operator's, of which the file knows nothing.
    place.run(lambda db, sealer: accounts.add(db, sealer, SOMEONE, "other", AccountFields(region="eu-west-1")))
    place.apply(raw=one)
    assert place.rows().domains["example.com"].account == "main"


def test_two_servers_start_at_once(place: Place) -> None:
    place.run(lambda db, _: installation.generation(db))
    both = Barrier(2)

    def start() -> Plan:
        both.wait()
        return with_database(place.settings(), lambda db, sealer: apply(db, sealer, place.settings()))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(start), pool.submit(start)
    assert sorted(len(each.result().changes) for each in (first, second)) == [0, 7]


# -- the file changes ------------------------------------------------------------------------------------------------

# What is laid over the file -> the change, and its words.
CHANGES: list[tuple[Raw, str]] = [
    ({"tenants.acme.plan": "large"}, "change tenant acme: plan: small -> large"),
    ({"tenants.acme.contact": ...}, "change tenant acme: contact: ops@acme.example -> none"),
    ({"tenants.acme.settings.mx_policy": "off"}, "change tenant acme: settings.mx_policy: off"),
    ({"tenants.acme.settings.retention_content": "2h"}, "change tenant acme: settings.retention_content: 7200s"),
    ({"tenants.acme.approved": False}, "change tenant acme: approved: yes -> no"),
    ({"tenants.default": {"plan": "large"}}, "change tenant default: declared: no -> yes; plan: large"),
    ({"ses_accounts.main.rate": ...}, "change account main: rate: 10 -> 1"),
    ({"ses_accounts.main.concurrency": 5}, "change account main: concurrency: 5"),
    (
        {"ses_accounts.main.endpoint_url": "http://127.0.0.1:8025"},
        "change account main: endpoint_url: http://127.0.0.1:8025",
    ),
    (
        {"ses_accounts.main.egress": {"proxy": "http://proxy:3128", "ca_bundle": "/ca.pem"}},
        "change account main: egress.proxy: http://proxy:3128; egress.ca_bundle: /ca.pem",
    ),
    (
        {"ses_accounts.main.credentials.secret_access_key": OTHER_SECRET},
        "change account main: secret_access_key: changed",
    ),
    (
        {"ses_accounts.main.credentials": {"profile": "main"}},
        "change account main: credentials: access key AKIAMAIN -> profile main",
    ),
    ({"domains.example/com.configuration_set": ...}, "change domain example.com: configuration_sets: transactional "),
    (
        {"domains.example/com.configuration_sets.broadcast": "news"},
        "change domain example.com: configuration_sets: transactional relay, shared relay, broadcast relay -> "
        "transactional relay, shared relay, broadcast news",
    ),
    (
        {"domains.example/com.streams": ["transactional"]},
        "change domain example.com: streams: transactional, shared, broadcast -> transactional",
    ),
    (
        {"domains.example/com.default_sender": "hi@example.com", "domains.example/com.ses_tenant": "t1"},
        "change domain example.com: default_sender: hi@example.com; ses_tenant: t1",
    ),
    (
        {"domains.example/com.recipients_per_call": 5},
        "change domain example.com: recipients_per_call: 5",
    ),
    ({"domains.example/com.mail_from": "bounce"}, "change domain example.com: mail_from: send -> bounce"),
    ({"domains.example/com.include_subdomains": True}, "change domain example.com: include_subdomains: no -> yes"),
    ({"domains.acme/example.account": "main"}, "change domain acme.example: account: acme -> main"),
    ({"keys.0.name": "shop"}, "change key shop: name: app -> shop"),
    ({"keys.0.permission": "admin"}, "change key app: permission: send_only -> admin"),
    ({"keys.0.expires_at": "2031-02-03T04:05:06Z"}, "change key app: expires_at: 2031-02-03T04:05:06.000Z"),
    ({"keys.1.domains": ..., "keys.1.rate_per_minute": 60}, "change key web: domains: acme.example -> none; rate_per"),
    (
        {"keys.0.sender_rule": {"sender": "cron@example.com", "replaces": ["root@*", "missing"]}},
        "change key app: sender_rule: sender cron@example.com, replaces root@* missing",
    ),
    (
        {
            "keys.1.permission": "send_only",
            "keys.1.device": {"networks": ["10.2.0.0/24"], "sender": "scan@acme.example", "daily": 5, "min_tls": 1.2},
        },
        "change key web: permission: full -> send_only; device: networks 10.2.0.0/24, sender scan@acme.example, "
        "daily 5, min_tls 1.2",
    ),
    ({"keys.0.secret": NEW}, "change key app: secret: changed"),
    ({"keys.2": {"name": "new", "secret": NEW}}, "add key new: tenant: default; permission: send_only"),
]


@pytest.mark.parametrize(("changes", "said"), CHANGES, ids=lambda each: str(next(iter(each))) if each else "")
def test_one_change(sqlite: Place, changes: Raw, said: str) -> None:
    """And back again, which leaves all as it was; but a revoked key does not come back."""
    sqlite.apply()
    (line,) = lines(sqlite.apply(changes))
    assert line.startswith(said)
    if "keys.0.secret" in changes:
        assert sqlite.refused({}) == ["keys.0.secret: the key sk_live_a is revoked, for good: give app another secret"]
    else:
        assert len(sqlite.apply().changes) == 1


@pytest.fixture
def sqlite(tmp_path: Path) -> Place:
    return Place(tmp_path, databases.sqlite(tmp_path))


def test_many_changes_at_once(place: Place) -> None:
    place.apply()
    changes = {path: value for more, _ in CHANGES for path, value in more.items() if path != "tenants.acme.contact"}
    del changes["ses_accounts.main.credentials.secret_access_key"]  # under the profile
    del changes["keys.0.secret"]
    assert len(place.apply(changes).changes) == 8
    domain = place.rows().domains["example.com"]
    assert domain.streams == {Stream.TRANSACTIONAL}
    assert domain.configuration_sets == {Stream.BROADCAST: "news"}
    assert domain.status is DomainStatus.VERIFIED
    assert place.run(lambda db, sealer: accounts.find(db, "main").secret(sealer)) is None


def test_a_new_secret_takes_the_place_of_the_old_key(place: Place) -> None:
    place.apply()
    old = place.key("app")
    place.apply({"keys.0.secret": NEW})
    found = place.run(lambda db, _: {key.id: key for key in keys.every(db)})
    assert found[old.id].revoked_at is not None
    assert place.key("app").hash == place.run(lambda _, sealer: sealer.hash_api_key(NEW))


def test_a_role_keeps_its_external_id(place: Place) -> None:
    place.apply()
    before = place.rows().accounts["acme"].reach.external_id
    assert before is not None
    place.apply({"ses_accounts.acme.credentials.role_arn": f"{ROLE}-2", "ses_accounts.acme.rate": 5})
    after = place.rows().accounts["acme"].reach
    assert (after.external_id, after.role_arn) == (before, f"{ROLE}-2")


def test_approval_by_others_stands(place: Place) -> None:
    """The file takes back only what it gave; what it says it says again."""
    unapproved = {"tenants.acme.approved": False}
    place.apply(unapproved)
    place.run(lambda db, _: tenants.decide(db, SOMEONE, "acme", is_approved=True))
    assert place.apply(unapproved) == Plan(())
    place.run(lambda db, _: tenants.decide(db, SOMEONE, "acme", is_approved=False, note="no"))
    assert lines(place.apply()) == ["change tenant acme: approved: no -> yes"]
    assert lines(place.apply(unapproved)) == ["change tenant acme: approved: yes -> no"]
    assert place.run(lambda db, _: tenants.find(db, "acme").approval) is Approval.DECLINED


def test_suspension_and_pause_are_no_business_of_the_file(place: Place) -> None:
    place.apply()
    place.run(lambda db, _: tenants.suspend(db, SOMEONE, "acme", "complaints"))
    place.run(lambda db, _: accounts.pause(db, SOMEONE, "main", "an audit"))
    assert place.apply() == Plan(())
    assert place.run(lambda db, _: tenants.find(db, "acme").is_active) is False


# -- rows vanish and come back ---------------------------------------------------------------------------------------

WITHOUT_ACME = {"tenants": {}, "ses_accounts.acme": ..., "domains.acme/example": ..., "keys.1": ...}


def test_what_vanishes_is_disabled_and_a_key_revoked(place: Place) -> None:
    place.apply()
    external_id = place.rows().accounts["acme"].reach.external_id
    assert lines(place.apply(WITHOUT_ACME)) == [
        "disable tenant acme",
        "disable account acme",
        "disable domain acme.example",
        "disable key web",
    ]
    rows = place.rows()
    gone = [rows.accounts["acme"], rows.domains["acme.example"]]
    gone += [tenant for tenant in rows.tenants.values() if tenant.name == "acme"]
    assert all(row.disabled_at is not None for row in gone)
    assert place.key("web").revoked_at is not None

    back = {"keys.1.secret": NEW}
    assert lines(place.apply(back)) == [
        "enable tenant acme",
        "enable account acme",
        "enable domain acme.example",
        "add key web: tenant: acme; permission: full; domains: acme.example",
    ]
    rows = place.rows()
    assert rows.accounts["acme"].reach.external_id == external_id
    assert rows.domains["acme.example"].disabled_at is None
    assert next(tenant for tenant in rows.tenants.values() if tenant.name == "acme").is_active


def test_what_comes_back_may_have_changed(place: Place) -> None:
    place.apply()
    place.apply({"domains.example/com": ...})
    found = lines(place.apply({"domains.example/com.configuration_set": "other"}))
    assert [each.partition(":")[0] for each in found] == ["enable domain example.com"]
    assert place.rows().domains["example.com"].configuration_sets == dict.fromkeys(Stream, "other")


def test_a_revoked_key_does_not_come_back(place: Place) -> None:
    place.apply()
    place.apply({"keys.0": ...})
    assert place.refused({}) == ["keys.0.secret: the key sk_live_a is revoked, for good: give app another secret"]


def test_what_vanished_can_be_removed(place: Place) -> None:
    place.apply()
    with pytest.raises(Problem, match="declared in the configuration file"):
        place.run(lambda db, _: domains.remove(db, SOMEONE, "example.com"))
    place.apply({"domains.example/com": ...})
    place.run(lambda db, _: domains.remove(db, SOMEONE, "example.com"))
    assert lines(place.apply())[0].startswith("add domain example.com")


def test_the_default_tenant_is_always_there(place: Place) -> None:
    place.apply({"tenants.default": {"plan": "large"}})
    assert place.rows().default_tenant.is_declared
    assert lines(place.apply()) == ["change tenant default: declared: yes -> no"]
    default = place.rows().default_tenant
    assert (default.is_active, default.approval, default.plan) == (True, Approval.APPROVED, "large")


# -- rows that others made -------------------------------------------------------------------------------------------


def made_by_hand(db: Connection, sealer: Sealer) -> None:
    tenants.create(db, SOMEONE, "acme", TenantFields(plan="large"))
    accounts.add(db, sealer, SOMEONE, "main", AccountFields(region="eu-west-1"))
    fields = AccountFields.model_validate({"region": "us-east-1", "tenant": "acme", "credentials": {"role_arn": ROLE}})
    accounts.add(db, sealer, SOMEONE, "acme", fields)
    domains.add(db, SOMEONE, "example.com", DomainFields(mode=Mode.SHARED, account="main"))
    domains.add(db, SOMEONE, "acme.example", DomainFields(mode=Mode.BYOC, tenant="acme"))
    keys.create(db, sealer, SOMEONE, KeyFields.model_validate({"name": "an app", "secret": APP}))


def test_the_file_takes_over_what_agrees(place: Place) -> None:
    place.run(made_by_hand)
    before = place.rows()
    found = lines(place.apply())
    assert [each.partition("; ")[0] for each in found] == [
        "change tenant acme: declared: no -> yes",
        "change account main: declared: no -> yes",
        "change account acme: declared: no -> yes",
        "change domain example.com: declared: no -> yes",
        "change domain acme.example: declared: no -> yes",
        "change key app: declared: no -> yes",
        "add key web: tenant: acme",
    ]
    rows = place.rows()
    assert before.domains["example.com"].status is DomainStatus.PENDING
    assert rows.domains["example.com"].status is DomainStatus.VERIFIED
    assert rows.domains["example.com"].id == before.domains["example.com"].id
    assert rows.accounts["acme"].reach.external_id == before.accounts["acme"].reach.external_id
    assert place.key("app").is_declared


REFUSALS: list[tuple[Raw, list[str]]] = [
    (
        {"domains.example/com.mode": "byoc"},
        [
            "domains.example.com.mode: example.com is shared, and that stays: what was accepted under one mode was "
            "promised its privacy and its SES account; remove the domain and add it again to send it another way"
        ],
    ),
    (
        {"domains.example/com.tenant": "acme"},
        [
            "domains.example.com.tenant: example.com belongs to the tenant default, and that stays: remove it there "
            "before it moves"
        ],
    ),
    (
        {"ses_accounts.main.region": "eu-central-1"},
        [
            "ses_accounts.main.region: main is in eu-west-1, and that stays: declare the other one by another name",
        ],
    ),
    (
        {"ses_accounts.acme.tenant": ..., "ses_accounts.acme.region": "eu-west-1"},
        [
            "ses_accounts.acme.region: acme is in us-east-1, and that stays: declare the other one by another name",
            "ses_accounts.acme.tenant: acme belongs to the tenant acme, and that stays: declare the other one by "
            "another name",
        ],
    ),
    (
        {"keys.0.tenant": "acme"},
        ["keys.0.tenant: the key sk_live_a is one of the tenant default, and that stays"],
    ),
]


@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "by hand"])
def test_what_cannot_change_is_refused_with_every_fault(place: Place, is_declared: bool) -> None:
    place.apply() if is_declared else place.run(made_by_hand)
    for changes, faults in REFUSALS:
        # What could change does not, either.
        assert place.refused(changes | {"tenants.acme.plan": "large", "ses_accounts.main.rate": 99}) == faults
    together = {path: value for changes, _ in REFUSALS for path, value in changes.items()}
    found = [fault for _, faults in REFUSALS for fault in faults]
    assert sorted(place.refused(together)) == sorted(found)


def test_keys_send_as_domains_of_their_own(place: Place) -> None:
    place.apply()
    mine: Raw = {"sender": "x@example.com"}
    theirs: Raw = {"networks": ["10.2.0.0/24"], "sender": "x@acme.example"}
    not_mine = "acme.example is not registered for the tenant default: use an address of a domain that is"
    assert place.refused({"keys.0.sender_rule": {"sender": "x@acme.example"}}) == [
        f"keys.0.sender_rule.sender: {not_mine}"
    ]
    assert place.refused({"keys.0.device": theirs, "keys.0.sender_rule": mine, "keys.0.permission": "full"}) == [
        "keys.0.sender_rule: a device needs none: its sender replaces all others",
        "keys.0.permission: must be send_only: a device's key is for SMTP alone",
        f"keys.0.device.sender: {not_mine}",
    ]
    added = {"domains.beta/example": {"mode": "byoc", "tenant": "acme", "account": "acme", "include_subdomains": True}}
    beta = {"keys.1.sender_rule": {"sender": "x@sub.beta.example"}}
    assert place.refused(added | beta) == [
        "keys.1.sender_rule.sender: beta.example is not one of the domains that this key is for"
    ]
    beta |= {"keys.1.domains": ...}
    assert lines(place.apply(added | beta))[0].startswith("add domain beta.example")
    # The rule stays, though its domain goes: whoever sends by it is told so, and the file is good.
    assert lines(place.apply(beta | {"keys.1.rate_per_minute": 9})) == [
        "disable domain beta.example",
        "change key web: rate_per_minute: 9",
    ]


def test_a_claim_that_nobody_proved_gives_way(place: Place) -> None:
    place.run(lambda db, _: tenants.create(db, SOMEONE, "mallory", TenantFields(), is_approved=True))
    place.run(lambda db, sealer: accounts.add(db, sealer, SOMEONE, "main", AccountFields(region="eu-west-1")))
    place.run(
        lambda db, _: domains.add(
            db, Actor("key mallory"), "example.com", DomainFields(mode=Mode.SHARED, tenant="mallory")
        )
    )
    found = [each for each in lines(place.apply()) if "example.com" in each]
    assert found[0].startswith("change domain example.com: declared: no -> yes; tenant: mallory -> default")
    domain = place.rows().domains["example.com"]
    assert (domain.tenant, domain.is_claimed, domain.is_declared) == ("default", True, True)


def test_all_or_nothing(place: Place) -> None:
    """A trouble in the middle takes back what came before it."""
    before = place.traces()
    settings = place.settings()
    broken = settings.model_copy(update={"domains": {"example.com": DomainFields(mode=Mode.SHARED, account="none")}})
    with pytest.raises(Problem, match="there is no SES account 'none'"):
        place.run(lambda db, sealer: apply(db, sealer, broken))
    assert place.traces() == before
    assert not place.rows().accounts


# -- a look beforehand -----------------------------------------------------------------------------------------------


def test_a_look_makes_nothing(empty: Place) -> None:
    """Neither a database nor a schema nor a key; and where there are rows, it sees them."""

    def look() -> int:
        return len(peek(empty.settings(), lambda db, sealer: plan(db, sealer, empty.settings())).changes)

    files = set(empty.folder.iterdir())
    assert look() == 7
    assert set(empty.folder.iterdir()) == files
    in_transaction(empty.url, _is_empty)
    in_transaction(empty.url, database.upgrade)
    assert look() == 7
    empty.apply({"keys.1": ...})
    before = empty.traces()
    assert look() == 1
    assert empty.traces() == before


def _is_empty(db: Connection) -> None:
    assert database.revision_of(db) is None


def test_a_look_at_an_old_schema_says_what_to_do(empty: Place) -> None:
    in_transaction(empty.url, lambda db: as_of_0001(db, empty.settings(), is_upgraded=False))
    with pytest.raises(StoreError, match="schema is old"):
        peek(empty.settings(), lambda db, sealer: plan(db, sealer, empty.settings()))


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_no_secret_shows_in_a_plan_or_in_the_audit(place: Place) -> None:
    changes = {"ses_accounts.main.credentials.secret_access_key": OTHER_SECRET, "keys.0.secret": NEW}
    plans = [place.apply(), place.apply(changes)]
    entries = place.run(lambda db, _: audit.entries(db, target=None, tenant_id=None, limit=1000))
    assert {entry.actor for entry in entries} == {"file"}
    shown = repr(plans) + json.dumps([asdict(each) for each in plans], default=str) + repr(entries)
    shown += "".join(line for each in plans for line in lines(each))
    for secret in (SECRET, OTHER_SECRET, APP, WEB, NEW):
        assert secret not in shown


# -- an upgrade ------------------------------------------------------------------------------------------------------


def test_a_file_and_a_database_of_before_go_on(empty: Place) -> None:
    """Schema 0001, with a key; and a file that names only what could be named then."""
    old: Raw = {
        "smtp": FILE["smtp"],
        "domains": {
            "example.com": {
                "mode": "shared",
                "account": "main",
                "include_subdomains": True,
                "configuration_set": "relay",
            },
            "acme.example": {"mode": "byoc", "account": "acme"},
        },
        "ses_accounts": {
            "main": {
                "region": "eu-west-1",
                "credentials": {"access_key_id": "AKIAMAIN", "secret_access_key": SECRET},
                "rate": 10,
                "concurrency": 5,
                "endpoint_url": "http://127.0.0.1:8025",
            },
            "acme": {"region": "us-east-1", "credentials": {"profile": "acme"}},
        },
    }
    first = empty.settings(raw=old)
    in_transaction(empty.url, lambda db: as_of_0001(db, first))
    assert [str(change) for change in empty.apply(raw=old).changes] == [
        "add account main",
        "add account acme",
        "add domain example.com",
        "add domain acme.example",
    ]
    rows = empty.rows()
    assert {domain.status for domain in rows.domains.values()} == {DomainStatus.VERIFIED}
    assert {domain.tenant_id for domain in rows.domains.values()} == {rows.default_tenant.id}
    (key,) = rows.keys.values()
    assert (key.name, key.tenant_id, key.domains) == ("old", rows.default_tenant.id, None)


def as_of_0001(db: Connection, settings: Settings, *, is_upgraded: bool = True) -> None:
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    alembic.attributes["connection"] = db
    command.upgrade(alembic, "0001")
    wrapped = Sealer.new_installation_key(master_key(settings))
    for statement in (
        "INSERT INTO installation (id, wrapped_key, generation, created_at) VALUES (1, :wrapped, 0, 1)",
        "INSERT INTO tenants (id, name, created_at) VALUES (1, 'default', 1)",
        "INSERT INTO keys (id, tenant_id, name, prefix, hash, permission, created_at) "
        "VALUES (1, 1, 'old', 'relay_x', :wrapped, 'full', 1)",
    ):
        db.execute(text(statement), {"wrapped": wrapped} if ":wrapped" in statement else {})
    if is_upgraded:
        command.upgrade(alembic, "head")


def in_transaction(url: URL, work: Callable[[Connection], None]) -> None:
    if database.is_sqlite(url):
        engine = database.writing_engine(url)
        with engine.begin() as db:
            work(db)
        engine.dispose()
        return

    async def over_asyncpg() -> None:
        engine = database.listing_engine(url)
        async with engine.begin() as db:
            await db.run_sync(work)
        await engine.dispose()

    asyncio.run(over_asyncpg())
