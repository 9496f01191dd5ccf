"""`relay webhook`: who is told, what was posted, and a secret that is printed once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import configure, found, refused, relay, run

URL = "http://127.0.0.1:9/hook?token=of-the-receiver"
OPEN = {"allow_networks": ["127.0.0.0/8"], "allow_plain": True}


@pytest.fixture
def folder(tmp_path: Path, database: str) -> Path:
    configure(tmp_path, database=database, webhooks=OPEN)
    relay(tmp_path, "migrate")
    relay(tmp_path, "tenant", "create", "acme")
    return tmp_path


def added(folder: Path, *options: str) -> Any:
    return found(folder, "webhook", "add", URL, *options)


def test_the_life_of_a_webhook(folder: Path) -> None:
    chosen = ["--event", "email.bounced", "--event", "email.complained", "--domain", "B.example"]
    done = run(folder, "webhook", "add", URL, "--name", "shop", "--tenant", "acme", *chosen, "--dialect", "sendmux")
    secret = done.stdout.strip()
    assert (done.returncode, secret[:6]) == (0, "whsec_"), done.stderr
    assert secret not in done.stderr

    [listed] = found(folder, "webhook", "list", "--tenant", "acme")
    told = {"name": "shop", "tenant": "acme", "dialect": "sendmux", "domains": ["b.example"], "enabled": True}
    assert listed | told | {"events": ["email.bounced", "email.complained"]} == listed
    assert listed["origin"] == "http://127.0.0.1:9"
    assert "of-the-receiver" not in relay(folder, "webhook", "list")
    assert found(folder, "webhook", "show", "shop")["url"] == URL
    assert found(folder, "webhook", "list", "--tenant", "default") == []

    changes = ["--name", "till", "--domain", "", "--retries", "0", "--event", "email.*", "--disable"]
    assert "is changed" in relay(folder, "webhook", "change", "shop", *changes)
    changed = found(folder, "webhook", "show", listed["id"])
    assert [changed[name] for name in ("name", "domains", "retries", "events", "enabled")] == [
        "till",
        None,
        0,
        ["email.*"],
        False,
    ]
    assert changed["disabled_reason"] == "disabled by hand"
    assert found(folder, "webhook", "change", listed["id"], "--enable")["enabled"] is True

    rotated = run(folder, "webhook", "rotate", listed["id"], "--overlap", "2h")
    another = rotated.stdout.strip()
    assert another.startswith("whsec_")
    assert another != secret
    assert "signs beside it until" in rotated.stderr
    assert found(folder, "webhook", "rotate", listed["id"], "--overlap", "0s")["old_secret_until"] is None

    assert "is forgotten" in relay(folder, "webhook", "remove", listed["id"])
    assert "no webhook" in refused(folder, "webhook", "show", listed["id"])
    said = relay(folder, "audit") + json.dumps(changed)
    assert [each for each in (secret, another) if each in said] == []


def test_what_was_posted(folder: Path) -> None:
    hook = added(folder)["id"]
    assert "Nothing was posted" in relay(folder, "webhook", "deliveries", hook)
    post = found(folder, "webhook", "test", hook)
    assert (post["type"], post["state"], post["attempts"]) == ("webhook.test", "waiting", [])
    assert f"deliveries {hook}" in relay(folder, "webhook", "test", hook)
    both = found(folder, "webhook", "deliveries", hook)
    assert post in both
    assert len(both) == 2
    assert found(folder, "webhook", "deliveries", hook, post["id"]) == post
    assert found(folder, "webhook", "deliveries", hook, "--state", "dead") == []
    assert "webhook.test" in relay(folder, "webhook", "deliveries", hook)
    first = run(folder, "webhook", "deliveries", hook, "--limit", "1", "--json")
    cursor = first.stderr.rsplit(" ", 1)[1].strip()
    [older] = found(folder, "webhook", "deliveries", hook, "--limit", "1", "--cursor", cursor)
    assert [*json.loads(first.stdout), older] == both
    assert found(folder, "webhook", "replay", hook) == {"replayed": 0}
    assert "0 deliveries go out again" in relay(folder, "webhook", "replay", hook, "--from", "2026-03-01T00:00:00Z")
    assert "waiting" in refused(folder, "webhook", "replay", hook, post["id"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "ftp://one.test"], "URL: write it as https://"),
        (["add", "https://10.0.0.1/"], "not public"),
        (["add", "https://0x7f.1/"], "url"),
        (["add", URL, "--event", "email.eaten"], "--event: is no event"),
        (["add", URL, "--retries", "9"], "--retries:"),
        (["add", URL, "--dialect", "sendfleet", "--event", "domain.held"], "has no word"),
        (["add", URL, "--tenant", "nobody"], "no tenant 'nobody'"),
        (["show", "nothing"], "no webhook"),
        (["replay", "nothing", "0" * 24, "--delivered"], "not both"),
        (["replay", "nothing", "--from", "yesterday"], "--from: yesterday is not a time"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused(configure(tmp_path, webhooks=OPEN), "webhook", *arguments)
