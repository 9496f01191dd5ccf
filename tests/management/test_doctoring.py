"""What the doctor makes of what it saw, as tables: clocks, quotas, queues, feeds, certificates, name servers, webhooks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.certificates import Shown, read_shown, self_signed
from relay.declared import Dialect, FeedbackFields, Via
from relay.dns import MailExchange
from relay.management.doctoring.accounts import judge_clock, judge_counts, judge_feed, judge_quota
from relay.management.doctoring.checked import Checked, Level, fine, red, warning
from relay.management.doctoring.doors import judge_certificate
from relay.management.doctoring.names import judge as judge_names
from relay.management.doctoring.probing import likely
from relay.management.doctoring.receivers import judge as judge_webhooks
from relay.ses.sqs import Counts
from relay.ses.wire import Quota
from relay.store.directory.accounts import Reach, SesAccount, Sort
from relay.store.silences import Seen
from relay.store.webhooks.rows import BY_HAND, Webhook

NOW = 1_800_000_000_000
MINUTE = 60_000
AT = datetime(2026, 3, 1, tzinfo=UTC)
OK, WARNING, RED, SKIPPED = Level
REACH = Reach(Sort.CHAIN)


def account(via: Via = Via.SQS) -> SesAccount:
    return SesAccount(
        id=1,
        tenant_id=None,
        tenant=None,
        name="acme",
        region="eu-west-1",
        reach=REACH,
        sealed_secret=None,
        endpoint_url=None,
        proxy=None,
        ca_bundle=None,
        rate=1.0,
        concurrency=None,
        feedback=FeedbackFields(via=via),
        paused_at=None,
        paused_by=None,
        paused_reason=None,
        created_at=0,
        updated_at=0,
        is_declared=False,
        disabled_at=None,
    )


@pytest.mark.parametrize(
    ("seconds", "level", "said"),
    [
        (None, SKIPPED, "no account"),
        (0, OK, "it goes"),
        (-29, OK, "it goes"),
        (31, WARNING, "31 s ahead of AWS's"),
        (-299, WARNING, "299 s behind AWS's"),
        (300, RED, "AWS refuses"),
        (-3600, RED, "3600 s behind"),
    ],
)
def test_clocks(seconds: int | None, level: Level, said: str) -> None:
    found = judge_clock(None if seconds is None else timedelta(seconds=seconds))
    assert (found.level, said in found.said) == (level, True)


@pytest.mark.parametrize(
    ("daily", "sent", "expected"), [(None, 10**9, 0), (100.0, 79.0, 0), (100.0, 80.0, 1), (100.0, 100.0, 0)]
)
def test_quotas(daily: float | None, sent: float, expected: int) -> None:
    """What is used up, the proof of the account says."""
    quota = Quota(14, daily, sent, is_sending_enabled=True, is_production=True)
    assert len(list(judge_quota("account acme", quota))) == expected


@pytest.mark.parametrize(
    ("counts", "level", "said"),
    [
        (Counts(0, None), OK, "0 wait"),
        (Counts(1000, 0), OK, "1,000 wait"),
        (Counts(1001, 0), RED, "more than 1,000"),
        (Counts(5000, 3), WARNING, "3 events are in its dead-letter queue"),
    ],
)
def test_queues(counts: Counts, level: Level, said: str) -> None:
    found = judge_counts(account(), counts, 1000)
    assert (found.level, said in found.said) == (level, True)


@pytest.mark.parametrize(
    ("via", "seen", "is_running", "level", "said", "remedy"),
    [
        (Via.SQS, {"asked_at": NOW}, True, OK, "the server reads its queue", ""),
        (Via.SQS, {"asked_at": NOW - 5 * MINUTE}, None, OK, "the server reads its queue", ""),
        (Via.SQS, {"asked_at": NOW - 6 * MINUTE}, True, RED, "no server has read its queue since 2027-01-15T07:54", "relay serve"),
        (Via.SQS, {}, True, WARNING, "no server has read its queue yet", "wait a minute"),
        (Via.SNS, {}, True, OK, "SNS is to post", ""),
        (Via.SQS, {"asked_at": NOW, "silent_since": NOW - 60 * MINUTE}, True, RED, "since 2027-01-15T07:00", "relay doctor --account acme"),
        (
            Via.SQS,
            {"fault": "there is no queue relay-events in eu-west-1: run `relay account setup acme`, which makes it"},
            True,
            RED,
            "the server cannot hear its events: there is no queue relay-events in eu-west-1",
            "run `relay account setup acme`, which makes it",
        ),
        (
            Via.SQS,
            {"fault": "AccessDenied: not authorized to perform: sqs:ReceiveMessage: allow sqs:ReceiveMessage in a policy"},
            True,
            RED,
            "perform: sqs:ReceiveMessage",
            "allow sqs:ReceiveMessage in a policy",
        ),
        (Via.SNS, {"fault": "SNS ended the subscription"}, True, RED, "ended the subscription", "see the server's log"),
    ],
)  # fmt: skip
def test_feeds(via: Via, seen: dict[str, Any], is_running: bool | None, level: Level, said: str, remedy: str) -> None:
    [found] = judge_feed(account(via), Seen("acme", **seen), NOW, is_running=is_running)
    assert (found.level, said in found.said, remedy in found.remedy) == (level, True, True)


def test_a_server_that_does_not_run_reads_nothing() -> None:
    assert list(judge_feed(account(), Seen("acme"), NOW, is_running=False)) == []


@pytest.mark.parametrize(
    ("shown", "level", "said"),
    [
        (Shown(("relay.test",), AT + timedelta(days=14), False), OK, "until 2026-03-15"),
        (Shown(("*.test",), AT + timedelta(days=60), False), OK, "it is of relay.test"),
        (Shown(("RELAY.test", "b.test"), AT + timedelta(days=60), False), OK, "it is of relay.test"),
        (Shown(("relay.test",), AT + timedelta(days=13), False), WARNING, "it ends on 2026-03-14"),
        (Shown(("relay.test",), AT, False), RED, "it ended on 2026-03-01"),
        (Shown(("other.test",), AT + timedelta(days=60), False), WARNING, "it is of other.test, not of relay.test"),
        (Shown((), AT + timedelta(days=60), False), WARNING, "it is of nobody"),
        (Shown(("*.b.test",), AT + timedelta(days=60), False), WARNING, "not of relay.test"),
        (Shown(("relay.test",), AT + timedelta(days=60), True), WARNING, "signed by nobody but itself"),
    ],
)
def test_certificates(shown: Shown, level: Level, said: str) -> None:
    found = judge_certificate("c", shown, "relay.test", AT)
    assert (found.level, said in found.said, bool(found.remedy)) == (level, True, level is not OK)


def test_our_own_certificate_is_read(tmp_path: Path) -> None:
    import ssl

    pem = self_signed(tmp_path, "relay.test")[0].read_text()
    shown = read_shown(ssl.PEM_cert_to_DER_cert(pem))
    assert (shown.names, shown.is_self_signed) == (("relay.test", "localhost"), True)
    assert shown.ends_at > datetime.now(UTC) + timedelta(days=3000)
    with pytest.raises(ValueError, match=r"(?i)asn"):
        read_shown(b"nonsense")


@pytest.mark.parametrize(
    ("found", "is_wanted", "level"),
    [
        (MailExchange.ACCEPTS, True, OK),
        (MailExchange.TROUBLE, True, RED),
        (MailExchange.TROUBLE, False, WARNING),
        (MailExchange.NONE, False, WARNING),
        (MailExchange.NULL_MX, True, RED),
    ],
)
def test_name_servers(found: MailExchange, is_wanted: bool, level: Level) -> None:
    assert judge_names(found, is_wanted=is_wanted).level is level


HOOK = Webhook(
    id=255,
    tenant_id=1,
    tenant="acme",
    name="",
    url="https://hooks.example/secret?token=abc",
    dialect=Dialect.NATIVE,
    events=("email.*",),
    domains=None,
    retries=8,
    sealed_secret=b"",
    sealed_old_secret=None,
    old_until=None,
    disabled_at=None,
    disabled_reason=None,
    failing_since=None,
    failures=0,
    created_at=0,
    updated_at=0,
)


def test_webhooks() -> None:
    failing = replace(HOOK, id=16, failing_since=NOW, failures=7)
    ended = replace(HOOK, disabled_at=NOW, disabled_reason="it failed for 3 days")
    by_hand = replace(HOOK, disabled_at=NOW, disabled_reason=BY_HAND)
    first, second, rest = judge_webhooks([HOOK, by_hand, failing, ended])
    assert (first.level, first.check) == (WARNING, "webhook 000000000000000000000010 of acme")
    assert "relay webhook deliveries 000000000000000000000010" in first.remedy
    assert (second.level, "it failed for 3 days" in second.said) == (RED, True)
    assert "relay webhook change 0000000000000000000000ff --enable" in second.remedy
    assert rest == fine("webhooks", "2 are told what they should be, or disabled by hand")
    assert "token" not in str((first, second))


def test_the_likely_link_is_the_first_broken_one_on_the_way() -> None:
    def link(name: str) -> Checked:
        return red(f"account acme: {name}", "x", "y")

    links = [
        link("queue relay-events"),
        link("subscription of relay-events"),
        link("event destination of relay-broadcast"),
        warning("account acme: events in relay-events", "x", "y"),
        fine("account acme: topic relay-events", "x"),
    ]
    found = likely(links, "relay-transactional")
    assert found is not None
    assert found.check == "account acme: subscription of relay-events"
    found = likely(links, "relay-broadcast")
    assert found is not None
    assert found.check == "account acme: event destination of relay-broadcast"
    assert likely([], "relay-broadcast") is None
