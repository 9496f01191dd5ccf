"""No key reads, changes or sends for another tenant: every route of management and both edges, tried with its names.

What is another's must be answered as what is nowhere, to the octet, and must be the same afterwards.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from relay.declared import Application, WebhookChange, WebhookFields
from relay.errors import Kind
from relay.http.emails.table import ROUTES as EMAILS
from relay.http.management import ROUTES
from relay.http.management.rules import Rule
from relay.store import Connection, suppressions
from relay.store.directory.installation import shown
from relay.store.directory.keys import ApiKey
from relay.store.directory.paging import cursor_of
from relay.store.suppressions import Entry
from relay.store.templates import Written
from relay.store.templates import create as create_template
from relay.store.webhooks import rows as webhooks
from relay.store.webhooks.replay import try_out
from tests.support import Answer, wait_for
from tests.tenancy.house import ACTOR, ROOT, STRANGER, TRUSTED, House, Letter, by_http, by_smtp, housing, rows_of

PROPERTY = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
APPLICATION = Application(use_case="receipts", company="Acme", website="https://acme.test", expected_volume=1000)


# -- who there is ----------------------------------------------------------------------------------------------------

Names = Mapping[str, tuple[str, ...]]  # by kind: how something of somebody is named


def nobody(names: Names) -> Names:
    """Names of the same form and length that stand for nothing."""
    return {kind: tuple(_nobody(kind, each) for each in several) for kind, several in names.items()}


def _nobody(kind: str, name: str) -> str:
    if kind == "key" and name.startswith("relay_"):
        return "relay_" + "z" * (len(name) - 6)
    if kind in {"key", "message", "webhook", "delivery"}:  # hex digits; the first of an id are those of an id
        return name[:12] + "".join("0123456789abcdef"[(int(each, 16) + 7) % 16] for each in name[12:])
    return re.sub("umbra|acme-more", lambda found: "nobody-at-all"[: len(found[0])], name)


@dataclass
class Two:
    """The tenants acme, which tries, and umbra, which has everything. `keys` are acme's, by name."""

    house: House
    umbra: Names
    acme: Names
    beyond: Names  # what acme has beyond the scope of its keys for acme-byoc.example alone
    keys: dict[str, str]
    umbra_id: int
    acme_id: int
    known: set[str] = field(default_factory=set)  # names of umbra that acme itself has put into what is its own
    _marks: frozenset[str] = frozenset()

    def rows(self, tenant_id: int) -> dict[str, list[dict[str, Any]]]:
        return self.house.read(lambda db: rows_of(db, tenant_id))

    @property
    def marks(self) -> frozenset[str]:
        """Whatever only umbra's rows hold: the least of it in an answer tells of umbra."""
        if not self._marks:
            self._marks = _texts(self.rows(self.umbra_id)) - _texts(self.rows(self.acme_id))
        return self._marks

    def told(self, answer: Answer, asked: str) -> set[str]:
        """What an answer says of umbra that the question did not."""
        text = answer.body.decode() + str(sorted(answer.headers.items()))
        for name in itertools.chain.from_iterable(self.umbra.values()):
            if name in asked or name in self.known:
                text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.@-])", "", text)
        return {mark for mark in self.marks if mark in text}


def _texts(rows: Mapping[str, list[dict[str, Any]]]) -> frozenset[str]:
    found = set()
    for value in itertools.chain.from_iterable(row.values() for several in rows.values() for row in several):
        if isinstance(value, str) and len(value) > 4:
            found.add(value)
        elif isinstance(value, int) and value > 1 << 50:  # an id; times are less
            found |= {str(value), shown(value)}
    return frozenset(found)


def settled_in(house: House, name: str) -> tuple[int, Names, dict[str, str]]:
    """A tenant with two of everything, and its keys by name."""
    tenant_id = house.tenant(name, contact=f"it@{name}.test").id
    house.account(f"{name}-ses", name)
    house.domain(f"{name}-byoc.example", name, account=f"{name}-ses", default_sender=f"hello@{name}-byoc.example")
    house.domain(f"{name}-more.example", name, "shared")
    house.domain(f"{name}-later.example", name, "shared", is_verified=False, is_vouched=False)
    scope = [f"{name}-byoc.example"]
    made: dict[str, tuple[ApiKey, str]] = {
        "send_only": house.whole_key(name, name=f"{name} sends"),
        "full": house.whole_key(name, "full", name=f"{name} does all"),
        "scoped": house.whole_key(name, "full", domains=scope, name=f"{name} does some"),
        "scoped admin": house.whole_key(name, "admin", domains=scope, name=f"{name} is no operator"),
        "spare": house.whole_key(name, name=f"{name} spare", domains=scope),
    }
    entry = Entry.parse(f"gone@{name}-customer.test", reason=f"{name} has reasons", note=f"{name} notes")
    house.change(lambda db: suppressions.suppress(db, ACTOR, tenant_id, entry))
    written = Written(f"{name} thanks you", f"{name} writes", None, "error")
    house.change(lambda db: create_template(db, ACTOR, tenant_id, f"{name}-receipt", written))
    hook = house.change(lambda db: _hook(house, db, name))
    house.settle()
    messages = []
    for domain in (f"{name}-more.example", f"{name}-byoc.example"):
        letter = Letter(made["full"][1], f"me@{domain}", to=[f"{name}-friend@one.test"])
        answer = by_http(house, letter)
        assert answer.status == 202, answer.body
        messages.append(answer.json["id"])
        wait_for(lambda: house.send_status(messages[-1], made["full"][1])["status"] == "sent")
    with house.session(made["full"][1]) as wire:
        assert wire.say(f"MAIL FROM:<{name}@nowhere.test>").startswith("550 ")
    wait_for(lambda: name in house.ask("GET", "/smtp-failures").body.decode())
    names = {
        "tenant": (name,),
        "account": (f"{name}-ses",),
        "domain": (f"{name}-more.example", f"{name}-byoc.example", f"{name}-later.example"),
        "key": (shown(made["full"][0].id), made["full"][0].prefix, shown(made["spare"][0].id)),
        "address": (f"gone@{name}-customer.test",),
        "message": tuple(messages),
        "template": (f"{name}-receipt",),
        "webhook": (hook[0],),
        "delivery": (hook[1],),
    }
    return tenant_id, names, {each: secret for each, (_, secret) in made.items()}


def _hook(house: House, db: Connection, name: str) -> tuple[str, str]:
    """A webhook that is disabled, or its row would change with each try; its id, and that of what waits for it."""
    said = WebhookFields.model_validate({"url": f"https://{name}.test/hook", "tenant": name, "name": f"{name} hook"})
    made, _ = webhooks.create(db, house.beside.sealer, ACTOR, said)
    post = try_out(db, house.beside.sealer, ACTOR, shown(made.id))
    webhooks.change(db, ACTOR, shown(made.id), WebhookChange(enabled=False))
    return shown(made.id), shown(post)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Two]:
    with housing(tmp_path_factory.mktemp("isolation"), database) as house:
        umbra_id, umbra, _ = settled_in(house, "umbra")
        acme_id, acme, keys = settled_in(house, "acme")
        own = {
            "tenant": acme["tenant"],
            "account": acme["account"],
            "domain": acme["domain"][1:2],
            "key": acme["key"][2:],
            "address": acme["address"],
            "message": acme["message"][1:],
            "template": acme["template"],
            "webhook": acme["webhook"],
            "delivery": acme["delivery"],
        }
        beyond = {"domain": acme["domain"][:1], "key": acme["key"][:2], "message": acme["message"][:1]}
        yield Two(house, umbra, own, beyond, keys, umbra_id, acme_id)


# -- requests with a name in them ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slot:
    """A place for a name: the `number`th of a kind, of whoever is asked about or, if `is_own`, of the asker."""

    kind: str
    number: int
    is_own: bool
    form: str = "{}"

    def filled(self, theirs: Names, own: Names) -> str:
        several = (own if self.is_own else theirs)[self.kind]
        name = several[self.number % len(several)]
        return cursor_of(name) if self.form == "cursor" else self.form.format(name)


@dataclass(frozen=True)
class Template:
    """A request whose names are still open."""

    method: str
    path: str
    parts: tuple[tuple[str, Slot], ...]  # by parameter of the path
    query: tuple[tuple[str, Any], ...]
    body: tuple[tuple[str, Any], ...]

    @property
    def names_another(self) -> bool:
        values = [value for _, value in (*self.parts, *self.query, *self.body)]
        flat = itertools.chain.from_iterable(each if isinstance(each, tuple) else (each,) for each in values)
        return any(isinstance(each, Slot) and not each.is_own for each in flat)

    def filled(self, theirs: Names, own: Names) -> tuple[str, Any]:
        def fill(value: Any) -> Any:
            if isinstance(value, Slot):
                return value.filled(theirs, own)
            return [fill(each) for each in value] if isinstance(value, tuple) else value

        path = ROOT + self.path
        for parameter, slot in self.parts:
            path = path.replace("{" + parameter + "}", slot.filled(theirs, own))
        if self.query:
            path += "?" + urlencode([(name, fill(value)) for name, value in self.query])
        return path, {name: fill(value) for name, value in self.body} if self.method not in {"GET", "DELETE"} else None


# The parameters of paths, by what comes before them.
PARAMETERS = {
    "/tenants/": "tenant",
    "/ses-accounts/": "account",
    "/domains/": "domain",
    "/keys/": "key",
    "/suppressions/": "address",
    "/emails/": "message",
    "/templates/": "template",
    "/webhooks/": "webhook",
}


def kind_of(path: str, parameter: str) -> str:
    """What a parameter of a path names."""
    [kind] = [kind for head, kind in PARAMETERS.items() if path.startswith(head)]
    return parameter if parameter == "delivery" else kind


# The fields of queries and bodies that can name something of somebody, with its kind and form.
NAMING: dict[str, tuple[str, str]] = {
    "tenant": ("tenant", "{}"),
    "account": ("account", "{}"),
    "domains": ("domain", "[]"),
    "default_sender": ("domain", "news@{}"),
    "cursor": ("domain", "cursor"),
}
# What else a route cannot do without. A new route with another such field fails here until this says how it looks.
PLAIN: dict[str, Any] = {
    "name": "a-name",
    "region": "eu-west-1",
    "mode": "byoc",
    "domain": "fresh.example",
    "address": "fresh@one.test",
    "reason": "because",
    "url": "https://127.0.0.1:9/hook",
    "note": "a note",
    "subject": "a subject",
    "scheduled_at": "2020-01-01T00:00:00Z",
    **APPLICATION.model_dump(),
}
# What stands beside a field because one of several has to.
BESIDE = {"subject": [("text", "a text")]}


def fields_of(model: Any) -> dict[str, bool]:
    """The fields of a query or body, and whether each is required."""
    return {each.alias or name: each.is_required() for name, each in model.model_fields.items()}


@st.composite
def templates(draw: st.DrawFn, rule: Rule, kinds: frozenset[str]) -> Template:
    """A request of a route that names at least one thing of somebody else's; a list of one's own may name nothing."""
    choices = st.sampled_from(["theirs", "own", "none"])

    def slot(kind: str, form: str, is_own: bool) -> Any:
        found = Slot(kind, draw(st.integers(0, 2)), is_own, "{}" if form == "[]" else form)
        return (found,) if form == "[]" else found

    parts: list[tuple[str, Slot]] = []
    for parameter in re.findall(r"\{(.*?)\}", rule.path):
        kind = kind_of(rule.path, parameter)
        is_own = kind not in kinds or (kind in {"domain", "key", "address"} and draw(st.booleans()))
        parts.append((parameter, slot(kind, "{}", is_own)))
    sections: dict[str, list[tuple[str, Any]]] = {"query": [], "body": []}
    for section, model in (("query", rule.query), ("body", rule.body)):
        for name, is_required in fields_of(model).items():
            kind, form = NAMING.get(name, ("", ""))
            if kind and (kind in kinds or form != "cursor"):
                choice = draw(choices)
                if choice != "none" or is_required:
                    sections[section].append((name, slot(kind, form, choice != "theirs" or kind not in kinds)))
            elif is_required:
                assert name in PLAIN, f"{rule.method} {rule.path} takes {name}: say in PLAIN or NAMING how it looks"
                sections[section].append((name, PLAIN[name]))
                sections[section].extend(BESIDE.get(name, ()))
    made = Template(rule.method, rule.path, tuple(parts), tuple(sections["query"]), tuple(sections["body"]))
    if made.names_another or (rule.method == "GET" and not parts):
        return made
    if parts and parts[0][1].kind in kinds:
        return replace(made, parts=((parts[0][0], replace(parts[0][1], is_own=False)), *parts[1:]))
    for section, model in (("query", rule.query), ("body", rule.body)):
        for name in fields_of(model):
            kind, form = NAMING.get(name, ("", ""))
            if kind in kinds:
                others = tuple(each for each in getattr(made, section) if each[0] != name)
                return replace(made, **{section: (*others, (name, slot(kind, form, False)))})
    return made


ALL = (*ROUTES, *EMAILS)  # sending has its own tests below
VOLATILE = re.compile(
    rb'"(id|prefix|key|created_at|updated_at|approval_at|status_at|requested_at|last_used_at)":("[^"]*"|null)'
)


def ask(two: Two, template: Template, key: str, theirs: Names) -> tuple[Answer, bytes]:
    """The answer, and the same with the names in it replaced by their kinds."""
    path, body = template.filled(theirs, two.acme)
    answer = two.house.world.call(template.method, path, body, key=two.keys[key], X_Request_Id="the-same")
    octets = answer.body if answer.status >= 400 else VOLATILE.sub(rb'"\1":0', answer.body)
    for kind, several in theirs.items():
        for number, name in enumerate(several):
            octets = octets.replace(name.encode(), f"<{kind} {number}>".encode())
    return answer, octets


STEADY = {"connection", "date", "x-ratelimit-remaining", "x-ratelimit-reset", "etag", "location", "content-length"}


def looks(answer: Answer) -> tuple[int, dict[str, str]]:
    """What of an answer must be the same to the octet, besides its body."""
    return answer.status, {name: value for name, value in answer.headers.items() if name not in STEADY}


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: f"{rule.method} {rule.path}")
def test_what_is_anothers_is_as_what_is_nowhere(two: Two, rule: Rule) -> None:
    ghost = nobody(two.umbra)
    before = two.rows(two.umbra_id)
    kinds = frozenset(two.umbra)

    @PROPERTY
    @given(template=templates(rule, kinds), key=st.sampled_from(["full", "scoped", "scoped admin", "send_only"]))
    def check(template: Template, key: str) -> None:
        answer, octets = ask(two, template, key, two.umbra)
        path, body = template.filled(two.umbra, two.acme)
        asked = path + json.dumps(body)
        assert not two.told(answer, asked), (asked, answer.body)
        event(f"{answer.status}")
        if template.names_another:
            none, nothing = ask(two, template, key, ghost)
            assert (looks(answer), octets) == (looks(none), nothing), asked
            is_named = any(not each.is_own for _, each in template.parts) or any(
                name == "tenant" and not each.is_own for name, each in (*template.query, *template.body)
            )
            if is_named:
                assert answer.status in {403, 404}, (asked, answer.body)
            if answer.status < 300 and template.method != "GET":
                two.known |= {name for name in two.umbra["domain"] if name in asked}
        assert two.rows(two.umbra_id) == before, asked

    check()


@pytest.mark.parametrize(
    "rule", [r for r in ALL if re.match("/(domains|keys|emails)/", r.path)], ids=lambda r: f"{r.method} {r.path}"
)
def test_what_is_beyond_a_keys_domains_is_as_what_is_nowhere(two: Two, rule: Rule) -> None:
    ghost = nobody(two.beyond)
    before = beyond_rows(two)

    @PROPERTY
    @given(template=templates(rule, frozenset(two.beyond)), key=st.sampled_from(["scoped", "scoped admin"]))
    def check(template: Template, key: str) -> None:
        if not any(not each.is_own for _, each in template.parts):
            return
        (answer, octets), (none, nothing) = (ask(two, template, key, names) for names in (two.beyond, ghost))
        assert answer.status in {400, 404}, answer.body
        assert (looks(answer), octets) == (looks(none), nothing)
        assert beyond_rows(two) == before

    check()


def beyond_rows(two: Two) -> list[dict[str, Any]]:
    rows = two.rows(two.acme_id)
    theirs = [row for row in rows["domains"] if row["name"] in two.beyond["domain"]]
    return theirs + [row for row in rows["keys"] if row["prefix"] in two.beyond["key"]]


# -- what exists once, for everyone ----------------------------------------------------------------------------------


def test_a_domain_that_another_has_is_refused_without_saying_whose(two: Two) -> None:
    before = two.rows(two.umbra_id)
    for name in two.umbra["domain"]:
        body = {"domain": name.upper(), "mode": "byoc", "account": "acme-ses"}
        answer = two.house.ask("POST", "/domains", body, key=two.keys["full"])
        assert (answer.status, answer.json["reason"]) == (409, "conflict")
        assert not two.told(answer, name)
    assert two.rows(two.umbra_id) == before


def test_a_key_for_anothers_domain_opens_nothing(two: Two) -> None:
    made = two.house.ask(
        "POST",
        "/keys",
        {"name": "greedy", "permission": "full", "domains": list(two.umbra["domain"])},
        key=two.keys["full"],
    )
    assert made.status == 201
    two.known |= set(two.umbra["domain"])
    key = made.json["key"]
    two.house.settle()
    for name in two.umbra["domain"]:
        assert two.house.ask("GET", f"/domains/{name}", key=key).status == 404
        answer = by_http(two.house, Letter(key, f"me@{name}"))
        assert answer.json["reason"] == "domain_not_registered"
    assert two.house.ask("GET", "/domains", key=key).json["data"] == []


@pytest.mark.parametrize("path", ["/domains", "/keys", "/suppressions", "/tenants", "/ses-accounts", "/templates"])
def test_lists_hold_ones_own(two: Two, path: str) -> None:
    for name, key in two.keys.items():
        answer = two.house.ask("GET", f"{path}?limit=100", key=key)
        assert not two.told(answer, ""), name
        if answer.status == 200:
            assert {item["tenant"] for item in answer.json["data"]} == {"acme"}
        else:
            assert answer.status == 403


@pytest.mark.parametrize("rule", [rule for rule in ALL if rule.method == "GET"], ids=lambda rule: rule.path)
def test_the_operator_may(two: Two, rule: Rule) -> None:
    """The other side: an admin key of the default tenant finds what is umbra's, by the same names."""
    path = rule.path
    for parameter in re.findall(r"\{(.*?)\}", path):
        kind = kind_of(rule.path, parameter)
        path = path.replace("{" + parameter + "}", two.umbra[kind][0])
    if "tenant" in fields_of(rule.query):
        path += "?tenant=umbra"
    answer = two.house.ask("GET", path)
    if rule.path.startswith("/emails"):  # mail is its tenant's; the operator has `relay queue show`
        assert answer.status == 404 or answer.json["data"] == []
        return
    assert answer.status == 200, answer.body
    assert any(mark in answer.body.decode() for mark in two.marks)


# -- sending ---------------------------------------------------------------------------------------------------------

KEYS = ("send_only", "full", "scoped", "scoped admin")


def same_at_both_edges(house: House, letter: Letter) -> str:
    """The words in which SMTP refuses a letter as from an unknown domain, as HTTP does where it can be said there."""
    _, reply = by_smtp(house, letter)
    kind = Kind.NOT_REGISTERED
    assert reply.startswith(f"{kind.smtp} {kind.enhanced} "), reply
    if not letter.sender:
        answer = by_http(house, letter)
        assert (answer.status, answer.json["reason"]) == (kind.http, kind.slug)
        assert reply.endswith(answer.json["message"])
    return reply


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("spelled", [str.lower, str.upper], ids=["lower", "upper"])
def test_nobody_sends_as_another(two: Two, key: str, spelled: Any) -> None:
    secret, own = two.keys[key], "me@acme-byoc.example"
    before = two.rows(two.umbra_id)
    for theirs, none in zip(two.umbra["domain"], nobody(two.umbra)["domain"], strict=True):
        for letter in (
            Letter(secret, f"me@{spelled(theirs)}"),  # both
            Letter(secret, own, sender=f"me@{spelled(theirs)}"),  # the envelope alone
            Letter(secret, f"me@{spelled(theirs)}", sender=own),  # the header alone
            Letter(secret, f"me@deep.{spelled(theirs)}"),
        ):
            ghost = replace(
                letter,
                author=letter.author.replace(spelled(theirs), spelled(none)),
                sender=letter.sender.replace(spelled(theirs), spelled(none)),
            )
            reply, nothing = same_at_both_edges(two.house, letter), same_at_both_edges(two.house, ghost)
            assert reply.replace(theirs, "x") == nothing.replace(none, "x")
    assert two.rows(two.umbra_id) == before


def test_anothers_name_in_a_sender_field_does_not_leave(two: Two) -> None:
    letter = Letter(two.keys["full"], "me@acme-byoc.example", to=["sender@one.test"])
    theirs = {"Sender": "boss@umbra-byoc.example", "Return-Path": "<boss@umbra-byoc.example>"}
    assert by_smtp(two.house, replace(letter, headers=theirs))[0] == ""
    [sent] = two.house.world.sent_to("sender@one.test")
    assert b"umbra" not in sent["raw"]


def test_trusted_networks_are_the_default_tenants(two: Two) -> None:
    house = two.house
    assert by_smtp(house, Letter(None, "me@shared.example", source=TRUSTED))[0] == ""
    for domain in (*two.umbra["domain"], *two.acme["domain"]):
        same_smtp = by_smtp(house, Letter(None, f"me@{domain}", source=TRUSTED))
        assert same_smtp[0] == "MAIL"
        assert same_smtp[1].startswith("550 5.7.1 ")
    # Who logs in there is who he says, and no longer the default tenant.
    with_key = Letter(two.keys["full"], "me@shared.example", source=TRUSTED)
    assert by_smtp(house, with_key)[1].startswith("550 5.7.1 shared.example is not registered")
    assert by_smtp(house, replace(with_key, author="me@acme-byoc.example"))[0] == ""
    # HTTP trusts no address.
    for source in (TRUSTED, STRANGER):
        assert by_http(house, Letter(None, "me@shared.example", source=source)).json["reason"] == "unauthorized"


# -- subdomains ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def families(two: Two) -> dict[str, str]:
    """acme has parent.example with all below it; some of that is umbra's. Keys that may send as any, by tenant."""
    house = two.house
    house.domain("parent.example", "acme", include_subdomains=True)
    house.domain("theirs.parent.example", "umbra")
    house.domain("wide.parent.example", "umbra", "shared", include_subdomains=True)
    house.domain(
        "claimed.parent.example", "umbra", "shared", is_verified=False, is_vouched=False, include_subdomains=True
    )
    house.domain("pending.parent.example", "umbra", is_verified=False)
    house.domain("own.theirs.parent.example", "acme")
    umbra = house.key("umbra")
    house.settle()
    return {"acme": two.keys["full"], "umbra": umbra}


TAKEN, UNKNOWN, UNREADY = "", Kind.NOT_REGISTERED.slug, Kind.NOT_VERIFIED.slug


@pytest.mark.parametrize(
    ("domain", "acme", "umbra"),
    [
        ("parent.example", TAKEN, UNKNOWN),
        ("any.parent.example", TAKEN, UNKNOWN),
        ("theirs.parent.example", UNKNOWN, TAKEN),
        ("own.theirs.parent.example", TAKEN, UNKNOWN),  # umbra has its parent without what is below
        ("wide.parent.example", UNKNOWN, TAKEN),
        ("any.wide.parent.example", UNKNOWN, TAKEN),
        ("any.below.wide.parent.example", UNKNOWN, TAKEN),
        ("claimed.parent.example", TAKEN, UNREADY),  # a mere claim cuts nobody off
        ("any.claimed.parent.example", TAKEN, UNREADY),
        ("pending.parent.example", TAKEN, UNREADY),
        ("notparent.example", UNKNOWN, UNKNOWN),
        ("example", UNKNOWN, UNKNOWN),
    ],
)
def test_subdomains_are_whose_they_are_known_to_be(
    two: Two, families: dict[str, str], domain: str, acme: str, umbra: str
) -> None:
    for tenant, expected in (("acme", acme), ("umbra", umbra)):
        letter = Letter(families[tenant], f"me@{domain}")
        answer = by_http(two.house, letter)
        assert answer.json.get("reason", TAKEN) == expected, (tenant, answer.body)
        step, reply = by_smtp(two.house, letter)
        assert bool(step) == bool(expected), reply
        assert not expected or reply.endswith(answer.json["message"][:400][-20:])
