"""Templates over HTTP: made, tried out, changed and sent, by those who may; and by authors who mean harm."""

from __future__ import annotations

import email
import email.policy
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from relay.http.management import shown_templates
from relay.http.management.shown import Listed
from relay.templates.limits import LONGEST_BODY, LONGEST_SUBJECT
from tests.http_edge.managed import DATABASES, Managed, managing
from tests.support import Answer, World, wait_for

SLOW = "{% for i in (1..10000) %}{% for j in (1..10000) %}{{ i }}{% endfor %}{% endfor %}"


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("templates"), request.param) as managed:
        yield managed


@pytest.fixture
def name(managed: Managed) -> str:
    return managed.template(
        subject="Order {{ order.id }}", text="Hi {{ name }}", html="<p>Hi {{ name }}</p>", missing="error"
    )


def ask(managed: Managed, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    return managed.ask(method, f"/templates{path}", body, key=headers.pop("key", managed.full), **headers)


def params(answer: Answer) -> set[str]:
    assert answer.status == 400, answer.body
    assert answer.json["error"] == "bad_request"
    return {fault["param"] for fault in answer.json["errors"]}


def send(managed: Managed, *, key: str = "", **members: Any) -> Answer:
    """By default with a key of the default tenant, which has domains that may send."""
    body = {"from": "me@shared.example", "to": "ana@one.test"} | members
    return managed.world.call("POST", "/api/v1/emails", body, key=key or managed.world.key)


@pytest.fixture
def own(managed: Managed) -> str:
    """A template of the default tenant."""
    return managed.template(
        tenant="default", subject="Order {{ order.id }}", text="Hi {{ name }}", html="<p>Hi {{ name }}</p>"
    )


# -- made, shown, changed --------------------------------------------------------------------------------------------


def test_a_template_is_made_shown_and_changed(managed: Managed) -> None:
    name = managed.name("receipt")
    body = {"name": name, "subject": "Order {{ id }}", "text": "Hi {{ user.name }}"}
    made = ask(managed, "POST", "", body)
    assert (made.status, made.headers["location"]) == (201, f"/api/v1/templates/{name}")
    first = made.json
    shown_templates.TemplateShown.model_validate(first)
    assert {key: first[key] for key in ("tenant", "version", "latest_version", "html", "missing", "variables")} == {
        "tenant": "acme",
        "version": 1,
        "latest_version": 1,
        "html": None,
        "missing": "error",
        "variables": ["id", "user.name"],
    }
    assert ask(managed, "GET", f"/{name}").json == first
    changed = ask(managed, "PATCH", f"/{name}", {"html": "<p>{{ user.name }}</p>", "text": None, "missing": "empty"})
    assert (changed.status, changed.json["version"]) == (200, 2)
    assert (changed.json["subject"], changed.json["text"]) == ("Order {{ id }}", None)
    assert ask(managed, "GET", f"/{name}").json == changed.json
    before = ask(managed, "GET", f"/{name}?version=1").json
    assert before == first | {"latest_version": 2}
    assert ask(managed, "PATCH", f"/{name}", {"missing": "empty"}).json["version"] == 2  # nothing is new
    listed = ask(managed, "GET", f"/{name}/versions").json
    Listed[shown_templates.TemplateVersionShown].model_validate(listed)
    assert [(each["version"], each["subject"]) for each in listed["data"]] == [
        (1, body["subject"]),
        (2, body["subject"]),
    ]
    assert ask(managed, "DELETE", f"/{name}").status == 204
    assert [ask(managed, "GET", f"/{name}{rest}").status for rest in ("", "?version=1", "/versions")] == [404] * 3
    actions = [(each.action, each.actor.startswith("key relay_")) for each in managed.audited(f"template {name}")]
    assert actions == [("template.remove", True), ("template.change", True), ("template.create", True)]


def test_the_list_has_one_tenants_templates(managed: Managed, name: str) -> None:
    theirs = managed.template(tenant="umbra")
    managed.template()
    found = ask(managed, "GET", "?limit=100").json
    Listed[shown_templates.TemplateBrief].model_validate(found)
    assert {each["tenant"] for each in found["data"]} == {"acme"}
    assert name in {each["name"] for each in found["data"]}
    assert theirs in {each["name"] for each in ask(managed, "GET", "?limit=100", key=managed.other).json["data"]}
    everyone = ask(managed, "GET", "?limit=100&tenant=umbra", key=managed.operator).json["data"]
    assert {each["tenant"] for each in everyone} == {"umbra"}
    page = ask(managed, "GET", "?limit=1").json
    assert len(page["data"]) == 1
    assert ask(managed, "GET", f"?limit=1&cursor={page['next_cursor']}").json["data"] != page["data"]


def test_a_change_can_be_tied_to_what_was_seen(managed: Managed, name: str) -> None:
    seen = ask(managed, "GET", f"/{name}")
    tag = seen.headers["etag"]
    assert ask(managed, "GET", f"/{name}", If_None_Match=tag).status == 304
    for stale in ('W/"00"', '"00", "11"'):
        answer = ask(managed, "PATCH", f"/{name}", {"subject": "mine"}, If_Match=stale)
        assert (answer.status, answer.json["reason"]) == (409, "conflict")
        assert ask(managed, "DELETE", f"/{name}", If_Match=stale).status == 409
    assert ask(managed, "PATCH", f"/{name}", {"subject": "mine"}, If_Match=f'"x", {tag}').json["version"] == 2
    assert ask(managed, "PATCH", f"/{name}", {"subject": "theirs"}, If_Match=tag).status == 409
    assert ask(managed, "PATCH", f"/{name}", {"subject": "theirs"}, If_Match="*").json["version"] == 3
    assert ask(managed, "GET", f"/{name}", If_None_Match=tag).status == 200
    assert ask(managed, "DELETE", f"/{name}", If_Match=tag).status == 409
    assert ask(managed, "DELETE", f"/{name}", If_Match=ask(managed, "GET", f"/{name}").headers["etag"]).status == 204


def test_versions_made_side_by_side_do_not_swallow_each_other(managed: Managed, name: str) -> None:
    tag = ask(managed, "GET", f"/{name}").headers["etag"]
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda i: ask(managed, "PATCH", f"/{name}", {"subject": f"by {i}"}, If_Match=tag), range(8))
        )
    assert sorted(each.status for each in answers) == [200] + [409] * 7
    assert ask(managed, "GET", f"/{name}").json["version"] == 2


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"name", "subject"}),
        ({"name": "a b", "subject": "s", "text": "t"}, {"name"}),
        ({"name": "a", "subject": "", "text": "t"}, {"subject"}),
        ({"name": "a", "subject": "s\r\nBcc: x@y.test", "text": "t"}, {"subject"}),
        ({"name": "a", "subject": "s" * (LONGEST_SUBJECT + 1), "text": "t"}, {"subject"}),
        ({"name": "a", "subject": "s", "text": "t" * (LONGEST_BODY + 1)}, {"text"}),
        ({"name": "a", "subject": "s", "text": "\0"}, {"text"}),
        ({"name": "a", "subject": "s", "html": "\ud800"}, {"html"}),
        ({"name": "a", "subject": "s", "text": "t", "missing": "maybe", "more": 1}, {"missing", "more"}),
        ({"name": "a", "subject": "{{", "text": "{% if %}", "html": "{{ a | b }}"}, {"subject", "text", "html"}),
    ],
)
def test_what_is_no_template_is_not_kept(managed: Managed, body: Any, wrong: set[str]) -> None:
    assert params(ask(managed, "POST", "", body)) == wrong
    assert ask(managed, "GET", "/a").status == 404


def test_a_change_to_what_is_no_template_changes_nothing(managed: Managed, name: str) -> None:
    assert params(ask(managed, "PATCH", f"/{name}", {"html": "{{ a"})) == {"html"}
    nothing = ask(managed, "PATCH", f"/{name}", {"html": None, "text": None})
    assert (nothing.status, nothing.json["message"]) == (400, "text or html missing")
    assert ask(managed, "GET", f"/{name}").json["version"] == 1
    again = ask(managed, "POST", "", {"name": name, "subject": "s", "text": "t"})
    assert (again.status, again.json["reason"]) == (409, "conflict")


def test_the_longest_template_is_kept(managed: Managed) -> None:
    name = managed.name("long")
    body = {"name": name, "subject": "s" * LONGEST_SUBJECT, "text": "\u05d0" * LONGEST_BODY, "html": "\U0001f600" * LONGEST_BODY}  # fmt: skip
    assert ask(managed, "POST", "", body).status == 201
    assert ask(managed, "GET", f"/{name}").json["text"] == body["text"]
    assert ask(managed, "POST", "", b" " * (8 << 20)).status == 413


def test_a_key_for_some_domains_looks_and_does_not_touch(managed: Managed, name: str) -> None:
    for method, path, body, status in (
        ("GET", f"/{name}", None, 200),
        ("POST", f"/{name}/preview", {"missing": "empty"}, 200),
        ("POST", "/validate", {"subject": "s", "text": "t"}, 200),
        ("PATCH", f"/{name}", {"subject": "s"}, 403),
        ("DELETE", f"/{name}", None, 403),
        ("POST", "", {"name": "scoped", "subject": "s", "text": "t"}, 403),
    ):
        assert ask(managed, method, path, body, key=managed.scoped).status == status


# -- tried out -------------------------------------------------------------------------------------------------------


def test_a_preview_is_what_a_message_would_be(managed: Managed, name: str) -> None:
    given = {"order": {"id": 4711}, "name": "<Ana> \U0001f600"}
    seen = ask(managed, "POST", f"/{name}/preview", {"variables": given})
    shown_templates.TemplatePreview.model_validate(seen.json)
    assert seen.json == {
        "name": name,
        "version": 1,
        "subject": "Order 4711",
        "text": "Hi <Ana> \U0001f600",
        "html": "<p>Hi &lt;Ana&gt; \U0001f600</p>",
    }
    ask(managed, "PATCH", f"/{name}", {"subject": "Thanks"})
    assert ask(managed, "POST", f"/{name}/preview", {"variables": given}).json["subject"] == "Thanks"
    before = ask(managed, "POST", f"/{name}/preview", {"variables": given, "version": 1})
    assert (before.json["subject"], before.json["version"]) == ("Order 4711", 1)
    assert params(ask(managed, "POST", f"/{name}/preview", {"version": 1})) == {"variables.order.id", "variables.name"}
    assert ask(managed, "POST", f"/{name}/preview", {"missing": "empty", "version": 1}).json["subject"] == "Order "
    assert ask(managed, "POST", f"/{name}/preview", {"version": 9}).status == 404
    assert params(ask(managed, "POST", f"/{name}/preview", {"variables": {"a": "x" * 300_000}})) == {"variables"}


def test_a_text_is_judged_before_it_is_kept(managed: Managed) -> None:
    good = ask(managed, "POST", "/validate", {"subject": "Hi {{ a }}", "html": "{{ b.c }}"})
    assert (good.status, good.json) == (200, {"valid": True, "variables": ["a", "b.c"], "faults": [], "preview": None})
    bad = ask(managed, "POST", "/validate", {"subject": "Hi {{ a }}", "html": "x\n  {{ b | nope }}", "text": "{% if"})
    shown_templates.TemplateJudged.model_validate(bad.json)
    assert bad.json["valid"] is False
    assert [(each["param"], each["line"], each["column"]) for each in bad.json["faults"]] == [
        ("text", 1, 1),
        ("html", 2, 10),
    ]
    tried = ask(managed, "POST", "/validate", {"subject": "Hi {{ a }}", "html": "{{ a }}", "variables": {"a": "<"}})
    assert tried.json["preview"] == {"subject": "Hi <", "text": None, "html": "&lt;"}
    wanting = ask(managed, "POST", "/validate", {"subject": "Hi {{ a }}", "text": "t", "variables": {}}).json
    assert (wanting["valid"], wanting["preview"]) == (False, None)
    assert [each["param"] for each in wanting["faults"]] == ["variables.a"]


# -- sent ------------------------------------------------------------------------------------------------------------


def test_a_message_is_made_of_a_template(managed: Managed, own: str) -> None:
    to = f"{managed.name('ana')}@one.test"
    variables = {"order": {"id": 7}, "name": "Zo\u00eb <&>"}
    answer = send(managed, to=to, template={"name": own}, variables=variables)
    assert answer.status == 202, answer.body
    [sent] = managed.world.sent_to(to)
    mail = email.message_from_bytes(sent["raw"], policy=email.policy.default)
    assert mail["Subject"] == "Order 7"
    assert mail.get_body(("plain",)).get_content().strip() == "Hi Zo\u00eb <&>"
    assert mail.get_body(("html",)).get_content().strip() == "<p>Hi Zo\u00eb &lt;&amp;&gt;</p>"


def test_a_message_has_the_newest_version_at_once_or_the_one_it_names(managed: Managed, own: str) -> None:
    variables = {"order": {"id": 7}, "name": "Ana"}
    for number in range(2, 6):
        body = {"subject": f"version {number}"}
        assert managed.ask("PATCH", f"/templates/{own}?tenant=default", body).json["version"] == number
        to = f"{managed.name('ana')}@one.test"
        assert send(managed, to=to, template=own, variables=variables).status == 202
        assert f"Subject: version {number}\r\n".encode() in managed.world.sent_to(to)[0]["raw"]
    to = f"{managed.name('ana')}@one.test"
    assert send(managed, to=to, template={"name": own, "version": 1}, variables=variables).status == 202
    assert b"Subject: Order 7\r\n" in managed.world.sent_to(to)[0]["raw"]


def test_a_message_that_a_template_cannot_make_is_refused(managed: Managed, own: str) -> None:
    whole = {"order": {"id": 7}, "name": "Ana"}
    assert params(send(managed, template="no-such", variables=whole)) == {"template"}
    assert params(send(managed, template={"name": own, "version": 2}, variables=whole)) == {"template"}
    assert params(send(managed, template=own)) == {"variables.order.id", "variables.name"}
    assert params(send(managed, template=own, variables={"order": {"id": "7\r\nBcc: eve@one.test"}, "name": ""})) == {
        "subject"
    }
    assert params(send(managed, template=own, variables=whole | {"more": "x" * 300_000})) == {"variables"}
    assert send(managed, template=own, missing="empty").status == 202
    assert managed.ask("DELETE", f"/templates/{own}?tenant=default").status == 204
    assert params(send(managed, template=own, variables=whole)) == {"template"}


def test_a_template_is_for_its_tenant_alone(managed: Managed, name: str) -> None:
    assert params(send(managed, template=name, variables={"order": {"id": 1}, "name": "x"})) == {"template"}


def test_a_rehearsal_fills_in_and_sends_nothing(managed: Managed, own: str) -> None:
    to = f"{managed.name('ana')}@one.test"
    seen = send(managed, to=to, template=own, variables={"order": {"id": 7}, "name": "Ana"}, dry_run=True)
    assert (seen.status, seen.json["dry_run"]) == (200, True)
    assert params(send(managed, to=to, template=own, dry_run=True)) == {"variables.order.id", "variables.name"}


def test_in_a_batch_each_is_judged_alone(managed: Managed, own: str) -> None:
    base = {"from": "me@shared.example", "to": "ana@one.test", "template": own}
    emails = [
        base | {"variables": {"order": {"id": number}, "name": "Ana"}} if number % 2 else base for number in range(6)
    ]
    answer = managed.world.call("POST", "/api/v1/emails/batch", {"emails": emails})
    assert answer.status == 202, answer.body
    assert ["error" in each for each in answer.json["data"]] == [True, False] * 3


def test_what_templates_make_counts_as_memory(tmp_path: Path) -> None:
    """A small request asks for much: what of it there is no room for is refused, and what was taken is given back."""
    with World(tmp_path, limits={"message_memory": "64MB"}) as world:
        body = {"name": "much", "subject": "s", "text": "{% for i in (1..200) %}{{ x }}{% endfor %}"}
        assert world.call("POST", "/api/v1/templates", body).status == 201
        one = {"from": "me@shared.example", "to": "ana@one.test", "template": "much", "variables": {"x": "x" * 4000}}
        answer = world.call("POST", "/api/v1/emails/batch", {"emails": [one] * 100})
        assert answer.status == 202
        refused = {each["error"]["reason"] for each in answer.json["data"] if "error" in each}
        assert refused == {"overloaded"}
        assert 0 < answer.json["accepted"] < 100
        wait_for(lambda: world.metric("relay_message_memory_bytes") == 0)
        assert world.call("POST", "/api/v1/emails", one).status == 202


# -- and by authors who mean harm ------------------------------------------------------------------------------------


def test_a_template_that_takes_long_is_refused_and_others_go_on(managed: Managed, own: str) -> None:
    """An author who keeps every turn busy is one tenant; another's mail, and looking, do not wait for him."""
    slow = managed.template(html=SLOW)
    given = {"order": {"id": 1}, "name": "x"}
    ended = threading.Event()
    refusals: list[Answer] = []

    def harass() -> None:
        while not ended.is_set():
            refusals.append(ask(managed, "POST", f"/{slow}/preview"))

    threads = [threading.Thread(target=harass) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        took = []
        for _ in range(15):
            start = time.monotonic()
            assert send(managed, template=own, variables=given).status == 202
            took.append(time.monotonic() - start)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert refusals
    assert {answer.status for answer in refusals} == {400}
    assert params(refusals[0]) == {"html"}
    assert sorted(took)[len(took) // 2] < 1, took
