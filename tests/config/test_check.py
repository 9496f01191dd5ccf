"""`relay check --diff` and `relay reload`: what they print, how they exit, and what they leave alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay import config
from relay.store import database
from relay.store.beside import with_database
from relay.store.directory import installation, keys
from relay.store.files import database_url
from tests.cli.program import run

SECRET, KEY = "wJalrXUtnFEMI-K7MDENG", "sk_live_app_0123456789abcdef"
FILE = f"""
smtp: {{listeners: [{{address: "127.0.0.1:2525"}}]}}
ses_accounts: {{main: {{region: eu-west-1, credentials: {{access_key_id: AKIAMAIN, secret_access_key: {SECRET}}}}}}}
domains: {{example.com: {{mode: shared}}}}
keys: [{{name: "app [/b]", secret: {KEY}}}]
"""
RESTART = (
    "A running server has these rows within 2 seconds. The rest of the file counts after a restart of the server: "
    "listeners, database, keys and certificates, plans, limits and every other setting.\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(FILE)
    return file


def relay(file: Path, *arguments: str) -> tuple[int, str, str]:
    ended = run(file.parent, *arguments, "-c", str(file), environment={"COLUMNS": "200"})
    return ended.returncode, ended.stdout, ended.stderr


def generation(file: Path) -> int:
    return with_database(config.load(file), lambda db, _: installation.generation(db))


def verbs(printed: str) -> list[tuple[str, str]]:
    return [(each["verb"], each["what"]) for each in json.loads(printed)]


ADDED = [("add", "account main"), ("add", "domain example.com"), ("add", "key app [/b]")]


def test_of_a_database_that_is_not_there_everything_is_new(file: Path) -> None:
    code, printed, said = relay(file, "check", "--diff", "--json")
    assert (code, said) == (1, "")
    assert verbs(printed) == ADDED
    account = json.loads(printed)[0]["differences"]
    assert account == {"region": [None, "eu-west-1"], "credentials": [None, "access key AKIAMAIN"], "rate": [None, 1.0]}
    assert [each.name for each in file.parent.iterdir()] == ["config.yaml"]


def test_a_table_for_people(file: Path) -> None:
    code, printed, said = relay(file, "check", "--diff")
    assert (code, said) == (1, "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if "│" in line]
    assert ["add", "key app [/b]", "tenant: default; permission: send_only"] in rows
    assert SECRET not in printed
    assert KEY not in printed


def test_reload_changes_what_check_shows_and_then_nothing(file: Path) -> None:
    assert relay(file, "reload", "--json")[0] == 0
    before = generation(file)
    assert relay(file, "check", "--diff") == (0, "The file would change nothing.\n", "")
    assert relay(file, "reload") == (0, f"The file changes nothing.\n{RESTART}", "")
    file.write_text(FILE.replace("mode: shared", "mode: shared, streams: [transactional]"))
    code, printed, _ = relay(file, "check", "--diff", "--json")
    assert (code, verbs(printed)) == (1, [("change", "domain example.com")])
    assert generation(file) == before
    code, reloaded, said = relay(file, "reload", "--json")
    assert (code, reloaded, said) == (0, printed, RESTART)
    assert generation(file) == before + 1
    assert relay(file, "check", "--diff", "--json") == (0, "[]\n", "")


def test_what_is_refused_is_said_line_by_line_and_changes_nothing(file: Path) -> None:
    relay(file, "reload")
    before = generation(file)
    file.write_text(FILE.replace("mode: shared", "mode: byoc").replace("eu-west-1", "eu-west-2") + "tenants: {new: {}}")
    for words in (["check", "--diff"], ["reload"]):
        code, printed, said = relay(file, *words)
        assert (code, printed) == (65, "")
        assert [line.partition(" ")[0] for line in said.splitlines()] == [
            "ses_accounts.main.region:",
            "domains.example.com.mode:",
        ]
    assert generation(file) == before


def test_faults_of_the_file_come_first(file: Path) -> None:
    file.write_text("log: {level: loud}")
    for words in (["check"], ["check", "--diff"], ["reload"]):
        code, printed, said = relay(file, *words)
        assert (code, printed) == (78, "")
        assert "log.level: " in said
    assert not (file.parent / "relay.db").exists()


def test_json_goes_with_diff(file: Path) -> None:
    code, _, said = relay(file, "check", "--json")
    assert code == 64
    assert "--diff" in said


def test_check_works_beside_a_server_that_has_the_database(file: Path) -> None:
    relay(file, "reload")
    with database.sole_owner(database.sqlite_path(database_url(config.load(file)))):
        assert relay(file, "check", "--diff")[0] == 0
        file.write_text(FILE.partition("keys:")[0])
        assert verbs(relay(file, "reload", "--json")[1]) == [("disable", "key app [/b]")]
    (key,) = with_database(config.load(file), lambda db, _: keys.every(db))
    assert key.revoked_at is not None


def test_a_missing_master_key_is_not_made_anew(file: Path) -> None:
    relay(file, "reload")
    (file.parent / "master.key").unlink()
    code, printed, said = relay(file, "check", "--diff")
    assert (code, printed) == (69, "")
    assert "master.key" in said
    assert not (file.parent / "master.key").exists()
