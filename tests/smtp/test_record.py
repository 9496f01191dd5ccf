"""What is kept of a session that failed: why it did, who it was; and of a storm no more than fits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from relay.errors import Kind, Problem
from relay.metrics import Metrics
from relay.smtp import record
from relay.smtp.record import FailureLog, Record
from relay.store.smtp_failures import Failure, Reason


def kept(tell: Callable[[Record], object], listener: str = "587", client: str = "192.0.2.7") -> Failure:
    made = Record(listener, client)
    tell(made)
    made.failed(Reason.PROTOCOL, "it failed")
    failure = made.failure()
    assert failure is not None
    return failure


# -- why -------------------------------------------------------------------------------------------------------------


def why(*steps: Callable[[Record], None]) -> tuple[Reason, str] | None:
    made = Record("587", "192.0.2.7")
    for step in steps:
        step(made)
    failure = made.failure()
    return None if failure is None else (failure.reason, failure.sentence)


def fails(reason: Reason, sentence: str = "it is so") -> Callable[[Record], None]:
    return lambda made: made.failed(reason, sentence)


def logs_in(made: Record) -> None:
    made.by(1, 2)


AFTERMATH = {Reason.PROTOCOL, Reason.TIMEOUT, Reason.CUT}


@pytest.mark.parametrize("last", Reason)
@pytest.mark.parametrize("first", Reason)
def test_the_last_reason_holds_unless_it_follows_from_the_first(first: Reason, last: Reason) -> None:
    is_news = first is last or last not in AFTERMATH
    expected = (last, "last") if is_news else (first, "first")
    assert why(fails(first, "first"), fails(last, "last")) == expected


def test_that_it_never_logged_in_says_nothing_new() -> None:
    unknown = Problem(Kind.NO_CREDENTIAL)
    assert why(lambda made: made.refused(unknown)) == (Reason.AUTH, unknown.detail)
    no_base64 = (Reason.AUTH, "AUTH LOGIN password is not base64")
    assert why(fails(*no_base64), lambda made: made.refused(unknown)) == no_base64


def test_what_did_no_harm_is_no_failure() -> None:
    assert why() is None
    assert why(logs_in, Record.accepted) is None
    assert why(fails(Reason.AUTH), logs_in) is None
    assert why(fails(Reason.PROTOCOL), Record.accepted) is None
    assert why(fails(Reason.REFUSED), logs_in, Record.accepted) == (Reason.REFUSED, "it is so")
    assert why(fails(Reason.PROTOCOL), logs_in) is None
    assert why(fails(Reason.PROTOCOL), logs_in, fails(Reason.CUT, "it left")) == (Reason.CUT, "it left")


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (Problem(Kind.UNAUTHORIZED), Reason.AUTH),
        (Problem(Kind.BLOCKED), Reason.AUTH),
        (Problem(Kind.NO_CREDENTIAL), Reason.AUTH),
        (Problem(Kind.OVERLOADED), Reason.OVERLOAD),
        (Problem(Kind.STORAGE_FULL), Reason.OVERLOAD),
        (Problem(Kind.NOT_REGISTERED), Reason.REFUSED),
        (Problem(Kind.INTERNAL), Reason.REFUSED),
    ],
)
def test_the_reason_of_a_problem(problem: Problem, reason: Reason) -> None:
    assert why(lambda made: made.refused(problem)) == (reason, problem.detail)


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("From domain foo.test is not registered", "From domain foo.test is not registered"),
        ("ann@one.test is suppressed", "*@one.test is suppressed"),
        ("<ann.b+c@one.test>, o'neil@two.test", "<*@one.test>, o'*@two.test"),
        ('"ann b"@one.test is not verified', "*@one.test is not verified"),
        ("j\u00fcrgen@one.test", "*@one.test"),
        ("two\r\nlines", "two\\r\\nlines"),
    ],
)
def test_a_sentence_names_no_mailbox(sentence: str, shown: str) -> None:
    assert why(fails(Reason.REFUSED, sentence)) == (Reason.REFUSED, shown)


def test_who_it_was() -> None:
    failure = kept(lambda made: made.by(7, None), listener="0.0.0.0:25", client="2001:db8::1")
    assert (failure.listener, failure.client) == ("0.0.0.0:25", "2001:db8::1")
    assert (failure.tenant_id, failure.key_id) == (7, None)


def test_no_repr_shows_what_was_said() -> None:
    made = Record("587", "192.0.2.7")
    made.said(b"EHLO secret.example")
    made.failed(Reason.CUT, "it hung up")
    assert "secret.example" not in repr(made) + repr(made.failure())


# -- how many --------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000 * 60.0

    def __call__(self) -> float:
        return self.now


def drained(log: FailureLog) -> list[Failure]:
    found = []
    while batch := log.take():
        assert len(batch) <= record.AT_ONCE
        found += batch
    return found


def test_of_one_client_so_many_are_kept_in_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock, metrics = Clock(), Metrics()
    log = FailureLog(metrics, clock)
    with caplog.at_level("INFO", "relay"):
        for number in range(record.A_MINUTE_EACH + 5):
            log.note(kept(lambda _: None, client=f"2001:db8::{number:x}"))  # one /64 is one client
        log.note(kept(lambda _: None, client="192.0.2.1"))
        assert len(drained(log)) == record.A_MINUTE_EACH + 1
        assert not caplog.records
        clock.now += 60
        assert drained(log) == []
        log.note(kept(lambda _: None, client="2001:db8::1"))
        assert len(drained(log)) == 1
    [said] = caplog.records
    assert (said.message, vars(said)["fields"]) == ("smtp.failures_not_kept", {"sessions": 5})
    assert b'relay_smtp_failures_total{reason="protocol"} 67.0' in metrics.text()


def test_of_all_clients_so_many_are_kept_in_a_minute() -> None:
    clock = Clock()
    log = FailureLog(Metrics(), clock)
    failures = [kept(lambda _: None, client=f"10.0.{n // 256}.{n % 256}") for n in range(record.A_MINUTE + 9)]
    for failure in failures:
        log.note(failure)
    assert drained(log) == failures[: record.A_MINUTE]


def test_no_more_wait_than_fit() -> None:
    clock = Clock()
    log = FailureLog(Metrics(), clock)
    failure = kept(lambda _: None)
    for _ in range(record.WAITING // record.A_MINUTE_EACH + 5):
        for _ in range(record.A_MINUTE_EACH):
            log.note(failure)
        clock.now += 60
    assert len(drained(log)) == record.WAITING
