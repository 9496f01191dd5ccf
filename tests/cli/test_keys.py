"""`relay key` and `relay block`: what is made, what is shown, and what never is."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from tests.cli.program import configure, found, refused, relay

OLD = "sk_live_0123456789abcdefghijklmnopqrstuv"


@pytest.fixture
def folder(tmp_path: Path, database: str) -> Path:
    configure(tmp_path, database=database)
    relay(tmp_path, "migrate")
    relay(tmp_path, "tenant", "create", "acme")
    return tmp_path


def test_the_life_of_a_key(folder: Path) -> None:
    options = ["--permission", "full", "--tenant", "acme", "--domain", "B.example", "--domain", "a.example"]
    secret = relay(folder, "key", "create", "shop", *options, "--rate", "90", "--days", "30").strip()
    prefix = secret.partition(".")[0]
    [listed] = found(folder, "key", "list", "--tenant", "acme")
    shown = {"prefix": prefix, "name": "shop", "tenant": "acme", "permission": "full", "status": "valid"}
    assert listed | shown | {"domains": ["a.example", "b.example"], "rate_per_minute": 90} == listed
    assert listed["last_used_at"] is None

    relay(folder, "key", "set", prefix, "--name", "till", "--domain", "", "--rate", "0", "--no-expiry")
    changed = found(folder, "key", "show", listed["id"])
    cleared = {"domains": None, "rate_per_minute": None, "expires_at": None, "name": "till"}
    assert changed | cleared == changed

    rotated = relay(folder, "key", "rotate", prefix, "--overlap", "2h").strip()
    assert rotated.startswith("relay_")
    keys = {each["prefix"]: each for each in found(folder, "key", "list", "--valid")}
    assert keys.keys() == {prefix, rotated.partition(".")[0]}
    assert keys[prefix]["expires_at"] is not None
    assert found(folder, "key", "show", rotated.partition(".")[0])["replaces"] == listed["id"]

    assert f"{prefix} is revoked" in relay(folder, "key", "revoke", prefix)
    assert "revoked, for good" in refused(folder, "key", "revoke", prefix)
    assert [each["status"] for each in found(folder, "key", "list")] == ["revoked", "valid"]
    told = "".join(relay(folder, *words) for words in (["key", "list"], ["key", "show", prefix], ["audit"]))
    assert [each for each in (secret, rotated) if each.partition(".")[2] in told] == []


def test_a_key_that_exists_already_is_imported(tmp_path: Path) -> None:
    folder = configure(tmp_path)
    said = relay(folder, "key", "import", "old shop", "--permission", "full", stdin=f"{OLD}\n")
    again = refused(folder, "key", "import", "twice", stdin=OLD)
    assert "registered already" in again
    (folder / "secret").write_text("relay-of-mine.0123456789abcdef0123\n")
    said += relay(folder, "key", "import", "from a file", "--secret-file", "secret")
    told = said + again + relay(folder, "key", "list") + relay(folder, "audit")
    assert (OLD in told, "0123456789abcdef0123" in told) == (False, False)
    assert [each["name"] for each in found(folder, "key", "list")] == ["old shop", "from a file"]


def with_domains(folder: Path) -> Path:
    """The tenant acme has acme.example and beta.example, the default tenant has ours.example."""
    relay(folder, "account", "add", "main", "--region", "eu-west-1")
    for domain, tenant in (("acme.example", "acme"), ("beta.example", "acme"), ("ours.example", "default")):
        relay(folder, "domain", "add", domain, "--mode", "byoc", "--tenant", tenant, "--account", "main")
    return folder


DEVICE = ["--device", "2nd floor scanner", "--network", "10.2.0.0/24", "--from", "scanner@acme.example"]


def test_a_key_for_a_device(folder: Path) -> None:
    with_domains(folder)
    options = ["--tenant", "acme", "--to", "*@acme.example", "--daily", "500"]
    secret = relay(folder, "key", "create", *DEVICE, *options).strip()
    prefix = secret.partition(".")[0]
    device = {"networks": ["10.2.0.0/24"], "sender": "scanner@acme.example", "recipients": ["*@acme.example"]}
    [listed] = found(folder, "key", "list")
    assert (listed["name"], listed["permission"]) == ("2nd floor scanner", "send_only")
    assert (listed["device"], listed["sender_rule"]) == (device | {"daily": 500, "min_tls": None}, None)
    assert "networks 10.2.0.0/24, sender scanner@acme.example" in relay(folder, "key", "show", prefix)

    relay(folder, "key", "set", prefix, "--min-tls", "1.0", "--to", "", "--daily", "0", "--from", "copier@acme.example")
    changed = device | {"sender": "copier@acme.example", "recipients": None, "daily": None, "min_tls": "1.0"}
    assert found(folder, "key", "show", prefix)["device"] == changed
    relay(folder, "key", "set", prefix, "--name", "copier")
    rotated = relay(folder, "key", "rotate", prefix).partition(".")[0]
    assert found(folder, "key", "show", rotated)["device"] == changed
    relay(folder, "key", "set", prefix, "--network", "")
    assert found(folder, "key", "show", prefix)["device"] is None
    [made] = [each for each in found(folder, "audit") if each["action"] == "key.create" and "device" in each["changes"]]
    assert made["changes"]["device"][1]["sender"] == "scanner@acme.example"
    assert secret.partition(".")[2] not in relay(folder, "audit")


def test_a_key_with_a_sender_rule(folder: Path) -> None:
    with_domains(folder)
    rule = ["--from", "cron@acme.example", "--replace", "root@*", "--replace", "missing"]
    prefix = relay(folder, "key", "create", "cron", "--tenant", "acme", *rule).partition(".")[0]
    shown = found(folder, "key", "show", prefix)
    assert shown["sender_rule"] == {"sender": "cron@acme.example", "replaces": ["root@*", "missing"]}
    relay(folder, "key", "set", prefix, "--from", "jobs@acme.example")
    assert found(folder, "key", "show", prefix)["sender_rule"]["sender"] == "jobs@acme.example"
    relay(folder, "key", "set", prefix, "--replace", "<>")
    assert found(folder, "key", "show", prefix)["sender_rule"]["replaces"] == ["<>"]
    assert "sender_rule.sender: acme.example is not one of the domains that this key is for" in refused(
        folder, "key", "set", prefix, "--domain", "beta.example"
    )
    relay(folder, "key", "set", prefix, "--from", "")
    relay(folder, "key", "set", prefix, "--from", "a@beta.example", "--domain", "beta.example")
    assert "root@*" in found(folder, "key", "show", prefix)["sender_rule"]["replaces"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", *DEVICE], "device.sender: acme.example is not registered for the tenant default"),
        (["create", *DEVICE, "--tenant", "acme", "--domain", "beta.example"], "acme.example is not one of the domains"),
        (["create", *DEVICE, "--tenant", "acme", "--permission", "full"], "permission: must be send_only"),
        (["create", *DEVICE, "--tenant", "acme", "--replace", "root@*"], "--from: is required"),
        (["create", "x", "--from", "x@sub.ours.example"], "sender_rule.sender: sub.ours.example is not registered"),
        (["create", "x", "--from", "x@ours.example", "--replace", "root"], "--replace: write it as an address"),
        (["create", "x", "--replace", "root@*"], "--from: is required"),
        (["create", "x", "--network", "10.0.0.0/8"], "are for a device: give --device"),
        (["create", "x", *DEVICE], "name the key: by NAME or"),
        (["create"], "name the key: by NAME or"),
        (["create", "--device", "x", "--from", "x@ours.example"], "--network: is required"),
        (["create", "--device", "x", "--network", "0.0.0.0/0"], "--network: this is everybody"),
        (["create", *DEVICE, "--to", "missing", "--daily", "-1"], "--daily: Input should be"),
        (["create", *DEVICE, "--min-tls", "2"], "--min-tls: Input should be '1.0', '1.1', '1.2' or '1.3'"),
    ],
)
def test_what_a_rule_may_not_say(registered: Path, arguments: list[str], words: str) -> None:
    assert words in refused(registered, "key", *arguments)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = configure(tmp_path_factory.mktemp("registered"))
    relay(folder, "tenant", "create", "acme")
    return with_domains(folder)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configure(tmp_path_factory.mktemp("bare"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "x", "--domain", "not a domain", "--rate", "0"], ["--domain: not a domain", "--rate:"]),
        (["create", "two\nlines"], ["NAME: must be one line"]),
        (["create", "x", "--tenant", "nobody"], ["there is no tenant 'nobody'"]),
        (["import", "x"], ["there is no key in the input"]),
        (["rotate", "relay_nobody"], ["there is no key 'relay_nobody'"]),
        (["rotate", "relay_nobody", "--overlap", "9999999d"], ["--overlap:"]),
        (["list", "--tenant", "nobody"], ["there is no tenant 'nobody'"]),
    ],
)
def test_refusals_name_what_to_mend(bare: Path, arguments: list[str], words: list[str]) -> None:
    said = refused(bare, "key", *arguments)
    assert [word for word in words if word not in said] == []


def test_a_short_secret_is_refused_and_not_repeated(bare: Path) -> None:
    said = refused(bare, "key", "import", "x", stdin="hunter2")
    assert "the key:" in said
    assert "hunter2" not in said
    (bare / "binary").write_bytes(b"\xff" * 40)
    assert "is not text" in refused(bare, "key", "import", "x", "--secret-file", "binary")


def test_blocks_are_listed_and_lifted(tmp_path: Path) -> None:
    configure(tmp_path)
    assert found(tmp_path, "block", "list") == []
    now = time.time_ns() // 1_000_000
    rows = [("2001:db8:1:2::/64", "relay_ab"), ("192.0.2.7", ""), ("192.0.2.7", "relay_ab"), ("192.0.2.8", "")]
    with sqlite3.connect(tmp_path / "relay.db") as db:
        insert = "insert into blocks (address, prefix, failures, since, until) values (?, ?, 10, ?, ?)"
        db.executemany(insert, [(*row, now, now + 600_000) for row in rows])
    db.close()
    assert len(found(tmp_path, "block", "list")) == 4
    assert "2001:db8:1:2::/64 may" in relay(tmp_path, "block", "lift", "2001:db8:1:2::99")
    relay(tmp_path, "block", "lift", "192.0.2.7")
    assert [each["address"] for each in found(tmp_path, "block", "list")] == ["192.0.2.8"]
    assert "is not blocked" in refused(tmp_path, "block", "lift", "192.0.2.7")
    assert "is not blocked" in refused(tmp_path, "block", "lift", "nonsense")
    assert found(tmp_path, "audit", "--target", "address 192.0.2.7")[0]["action"] == "block.lift"
