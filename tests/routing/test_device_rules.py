"""What devices are kept to: tables of where, how and to whom; and how much in a day, whoever counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.errors import Kind, Problem
from relay.message import Address
from relay.routing.counting import Period, Reserved
from relay.routing.devices import DailyCaps, check_device, check_recipient, require_no_device
from relay.store.usage import Used
from tests.routing.directory import Directory

SENDER = "scanner@ours.example"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOON, LATE, TOMORROW = ms("2031-05-10T12:00:00"), ms("2031-05-10T23:59:59.999"), ms("2031-05-11T00:00:00")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    return Directory(tmp_path_factory.mktemp("directory"))


def device(**fields: Any) -> dict[str, Any]:
    return {"device": {"networks": ["10.2.0.0/24", "fd00:2::/64"], "sender": SENDER} | fields}


def refusal(check: Any, *arguments: Any) -> Problem | None:
    try:
        check(*arguments)
    except Problem as problem:
        return problem
    return None


@pytest.mark.parametrize(
    ("client", "is_there"),
    [
        ("10.2.0.7", True),
        ("::ffff:10.2.0.7", True),
        ("fd00:2::9", True),
        ("fd00:2::9%eth0", True),
        ("10.2.1.7", False),
        ("fd00:3::9", False),
        ("", False),
        ("unix", False),
    ],
)
def test_where_from(directory: Directory, client: str, is_there: bool) -> None:
    problem = refusal(check_device, directory.credential(**device()), client, "TLSv1.3")
    assert (problem is None) == is_there
    if problem is not None:
        assert problem.kind is Kind.UNAUTHORIZED
        assert (client or "this connection") in problem.detail
        assert "10.2.0.0/24, fd00:2::/64" in problem.detail
        assert "ask the operator to add a network" in problem.detail


@pytest.mark.parametrize(
    ("floor", "spoken", "is_enough"),
    [
        (None, None, True),
        (None, "TLSv1", True),
        ("1.0", None, False),
        ("1.0", "SSLv3", False),
        ("1.0", "TLSv1", True),
        ("1.1", "TLSv1", False),
        ("1.1", "TLSv1.1", True),
        ("1.2", "TLSv1.1", False),
        ("1.2", "TLSv1.2", True),
        ("1.3", "TLSv1.2", False),
        ("1.3", "TLSv1.3", True),
        ("1.3", "TLSv1.4", True),
    ],
)
def test_how(directory: Directory, floor: str | None, spoken: str | None, is_enough: bool) -> None:
    problem = refusal(check_device, directory.credential(**device(min_tls=floor)), "10.2.0.7", spoken)
    assert (problem is None) == is_enough
    if problem is not None:
        assert problem.kind is Kind.UNAUTHORIZED
        assert f"needs TLS {floor} or later" in problem.detail
        assert (spoken or "no TLS") in problem.detail


@pytest.mark.parametrize(
    ("patterns", "recipient", "may"),
    [
        (None, "anyone@anywhere.example", True),
        (["*@acme.example"], "anyone@acme.example", True),
        (["*@acme.example"], "Anyone@ACME.example", True),
        (["*@acme.example"], "anyone@sub.acme.example", False),
        (["boss@*", "*@acme.example"], "boss@elsewhere.example", True),
        (["*@acme.example"], "x@acme.example.evil.example", False),
    ],
)
def test_to_whom(directory: Directory, patterns: list[str] | None, recipient: str, may: bool) -> None:
    credential = directory.credential(**device(recipients=patterns))
    problem = refusal(check_recipient, credential, Address.parse(recipient))
    assert (problem is None) == may
    if problem is not None:
        assert problem.kind is Kind.FORBIDDEN
        assert "*@acme.example only" in problem.detail


def test_an_ordinary_key_is_kept_to_nothing(directory: Directory) -> None:
    credential = directory.credential()
    check_device(credential, "192.0.2.1", None)
    check_recipient(credential, Address.parse("anyone@anywhere.example"))
    require_no_device(credential)


def test_a_device_is_for_smtp_alone(directory: Directory) -> None:
    problem = refusal(require_no_device, directory.credential(**device()))
    assert problem is not None
    assert problem.kind is Kind.FORBIDDEN
    assert "sends by SMTP" in problem.detail


# -- how much in a day -----------------------------------------------------------------------------------------------


def held() -> Reserved:
    """What a message holds of its tenant's month."""
    return Period(0, 1).reserve(1, 1)


def test_the_text_names_the_cap_what_is_used_and_when_it_resets(directory: Directory) -> None:
    key, caps = directory.key(**device(daily=100)), DailyCaps()
    caps.load({key.id: Used(95, 0)}, NOON)
    caps.check(key, 5, NOON)
    with pytest.raises(Problem) as caught:
        caps.check(key, 6, NOON)
    assert caught.value.kind is Kind.QUOTA_EXCEEDED
    assert caught.value.detail == (
        "this device has 100 recipients a day: 95 are used, and 6 more do not fit; it starts anew at "
        "2031-05-11T00:00:00Z, or ask the operator for more"
    )
    assert caught.value.retry_after == timedelta(hours=12)


def test_what_is_reserved_counts_at_once_and_until_it_is_released(directory: Directory) -> None:
    key, caps = directory.key(**device(daily=10)), DailyCaps()
    message = held()
    caps.reserve(key, message, 10, LATE)
    assert refusal(caps.check, key, 1, LATE)
    caps.check(key, 10, TOMORROW)
    message.release()
    message.release()
    caps.check(key, 10, LATE)
    assert refusal(caps.check, key, 11, LATE)


def test_what_others_accepted_counts_and_what_is_ours_counts_once(directory: Directory) -> None:
    key, caps = directory.key(**device(daily=10)), DailyCaps()
    caps.load({}, NOON)
    caps.reserve(key, held(), 4, NOON)
    caps.load({key.id: Used(8, 4)}, NOON)
    caps.check(key, 2, NOON)
    assert refusal(caps.check, key, 3, NOON)


def test_keys_without_a_cap_are_not_counted(directory: Directory, tmp_path: Path) -> None:
    caps = DailyCaps()
    for key in (directory.key(), directory.key(**device()), None):
        caps.reserve(key, held(), 10**9, NOON)
        caps.check(key, 10**9, NOON)
