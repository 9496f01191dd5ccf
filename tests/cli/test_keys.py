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
