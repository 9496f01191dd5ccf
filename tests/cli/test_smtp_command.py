"""`relay smtp`: the sessions that failed, for the person whose printer does not print mail."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay import config
from relay.smtp.record import Record
from relay.store import smtp_failures
from relay.store.beside import with_database
from relay.store.clock import milliseconds, now_ms
from relay.store.directory import installation
from relay.store.directory.installation import shown
from relay.store.smtp_failures import Failure, Reason
from tests.cli.program import configure, found, refused, relay, run


@pytest.fixture
def folder(tmp_path: Path, database: str) -> Path:
    configure(tmp_path, database=database)
    relay(tmp_path, "migrate")
    return tmp_path


def failed(folder: Path, client: str, reason: Reason, sentence: str, age: timedelta = timedelta()) -> str:
    """Its id."""

    def note(db: Any, sealer: Any) -> str:
        record = Record("0.0.0.0:587", client)
        record.by(installation.default_tenant(db), None)
        record.said(b"EHLO scanner")
        record.heard(b"250 relay.test\r\n")
        record.failed(reason, sentence)
        failure = record.failure()
        assert failure is not None
        fields = {name: getattr(failure, name) for name in Failure.__slots__} | {"at": now_ms() - milliseconds(age)}
        sealed = smtp_failures.seal(sealer, Failure(**fields))
        smtp_failures.note(db, [[sealed]])
        return shown(sealed.id)

    return with_database(config.load(folder / "config.yaml"), note)


def test_failures_are_listed_newest_first(folder: Path) -> None:
    assert relay(folder, "smtp", "failures") == "There are no such sessions.\n"
    older = failed(folder, "10.2.0.9", Reason.TLS, "offered only TLS 1.0", timedelta(hours=3))
    newer = failed(folder, "192.0.2.7", Reason.AUTH, "AUTH LOGIN password is not base64")
    table = relay(folder, "smtp", "failures")
    for words in ("10.2.0.9", "offered only TLS 1.0", "0.0.0.0:587", older, "192.0.2.7", newer):
        assert words in table
    assert table.index(newer) < table.index(older)
    first, second = found(folder, "smtp", "failures")
    assert first == {
        "id": newer,
        "at": first["at"],
        "client": "192.0.2.7",
        "listener": "0.0.0.0:587",
        "reason": "auth",
        "sentence": "AUTH LOGIN password is not base64",
        "tenant": "default",
        "key": None,
    }
    assert second["id"] == older

    def only(*options: str) -> list[str]:
        return [each["id"] for each in found(folder, "smtp", "failures", *options)]

    assert only("--limit", "1") == [newer]
    assert only("--since", "2h") == [newer]
    assert only("--since", "4h") == [newer, older]
    assert only("--reason", "tls") == [older]
    assert only("--client", "10.2.0.0/16") == [older]
    assert only("--client", "192.0.2.7") == [newer]


def test_one_is_shown_with_what_was_said(folder: Path) -> None:
    failure_id = failed(folder, "10.2.0.9", Reason.TLS, "offered only TLS 1.0")
    shown_one = relay(folder, "smtp", "failure", failure_id)
    assert "offered only TLS 1.0" in shown_one
    assert shown_one.endswith("\n\nC: EHLO scanner\nS: 250 relay.test\n")
    assert found(folder, "smtp", "failure", failure_id)["transcript"] == ["C: EHLO scanner", "S: 250 relay.test"]


@pytest.mark.parametrize("unknown", ["7", "0" * 24, "f" * 24, "x", ""])
def test_one_that_is_not_there(folder: Path, unknown: str) -> None:
    assert "no such failed session" in refused(folder, "smtp", "failure", unknown)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--client", "here", "--client: write it as an IP address or a network"),
        ("--since", "yesterday", "--since: write it as a number and a unit: 30s, 10m, 24h or 90d"),
    ],
)
def test_options_that_make_no_sense(folder: Path, option: str, value: str, words: str) -> None:
    assert words in refused(folder, "smtp", "failures", option, value)


def test_a_reason_that_is_none(folder: Path) -> None:
    assert run(folder, "smtp", "failures", "--reason", "bad luck").returncode == os.EX_USAGE
