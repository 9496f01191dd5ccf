"""SMTP mail that fails after its 250 comes back to its sender: real clients, the real queue, the sandbox for SES."""

from __future__ import annotations

import email
import email.policy
import json
import smtplib
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Row, func, select, update

from relay.dispatch import sweeps
from relay.store import hand
from relay.store.beside import with_database
from relay.store.clock import milliseconds
from relay.store.schema import deliveries, messages
from tests.support import World, wait_for

REJECTED = {"error": "MessageRejected", "message": "Illegal attachment"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "TELL_EVERY", timedelta(0))  # each second
        with World(tmp_path_factory.mktemp("bounces"), bounces={"per_hour": 3}) as world:
            yield world


@pytest.fixture(autouse=True)
def _no_faults(world: World) -> Iterator[None]:
    yield
    with urllib.request.urlopen(urllib.request.Request(f"{world.sandbox_url}/faults", method="DELETE")):
        pass


def script(world: World, fault: Any, times: int | None = 1, **more: Any) -> None:
    what = {"times": times, "fault": fault} if fault is not None else {}
    body = json.dumps({"account": "customer", **what, **more}).encode()
    request = urllib.request.Request(f"{world.sandbox_url}/faults", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request):
        pass


def send(
    world: World,
    sender: str,
    *people: tuple[str, Sequence[str]],
    header: str = "",
    options: Sequence[str] = (),
    author: str = "me@byoc.example",
) -> str:
    """By smtplib, each recipient with its own parameters. Returns the id."""
    with smtplib.SMTP("127.0.0.1", world.plain) as smtp:
        smtp.ehlo()
        assert smtp.mail(sender, options)[0] == 250
        for address, parameters in people:
            assert smtp.rcpt(address, parameters)[0] == 250, address
        text = f"From: {author}\r\nTo: you@dest.example\r\nMessage-ID: <o-4711@byoc.example>\r\n{header}"
        code, said = smtp.data(f"{text}Subject: hello\r\n\r\nthe body\r\n")
        assert code == 250, said
    return said.decode().split()[-1]


def report_to(world: World, address: str) -> EmailMessage:
    [sent] = world.sent_to(address)
    return read(sent["raw"])


def read(raw: bytes) -> EmailMessage:
    made = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(made, EmailMessage)
    return made


def fields_of(report: EmailMessage) -> list[dict[str, str]]:
    """The blocks of message/delivery-status: about the message, then about each recipient."""
    [part] = [each for each in report.walk() if each.get_content_type() == "message/delivery-status"]
    blocks = part.get_payload()
    assert isinstance(blocks, list)
    return [{name: str(value) for name, value in block.items()} for block in blocks]  # type: ignore[union-attr]


def status(world: World, public_id: str) -> str:
    found: str = world.call("GET", f"/api/v1/emails/{public_id}").json["status"]
    return found


def settled(world: World, public_id: str, wanted: str = "failed") -> None:
    wait_for(lambda: status(world, public_id) == wanted)


def reports_on(world: World, public_id: str) -> int:
    """How many there are. Settled means told: both are one transaction."""

    def count(db: Connection) -> int:
        original = select(messages.c.id).where(messages.c.public_id == public_id).scalar_subquery()
        return db.scalar(select(func.count()).select_from(messages).where(messages.c.about == original)) or 0

    return with_database(world.settings, lambda db, _: count(db))


def outcomes(world: World) -> dict[str, float]:
    """Counted since the start: `action outcome` -> how many."""
    found: dict[str, float] = {}
    for line in world.call("GET", "/metrics").body.decode().splitlines():
        if line.startswith("relay_reports_total{"):
            labels, value = line.removeprefix("relay_reports_total").rsplit(" ", 1)
            action, outcome = (each.split('"')[1] for each in labels.strip("{}").split(","))
            found[f"{action} {outcome}"] = float(value)
    return found


def test_what_ses_refuses_comes_back(world: World) -> None:
    script(world, REJECTED)
    public_id = send(
        world,
        "shop@byoc.example",
        ("bob@dest.example", ["ORCPT=rfc822;Bob+2BOld@dest.example"]),
        options=["ENVID=QQ+2B314"],
    )
    report = report_to(world, "shop@byoc.example")
    assert report["From"] == "Mail Delivery System <postmaster@byoc.example>"
    assert report["To"] == "shop@byoc.example"
    assert report["Subject"] == "Your message could not be delivered"
    assert report["Auto-Submitted"] == "auto-replied"
    assert report["In-Reply-To"] == report["References"] == "<o-4711@byoc.example>"
    assert (report.get_content_type(), report.get_param("report-type")) == ("multipart/report", "delivery-status")
    about, bob = fields_of(report)
    assert about.keys() == {"Original-Envelope-Id", "Reporting-MTA", "Arrival-Date"}
    assert (about["Original-Envelope-Id"], about["Reporting-MTA"]) == ("QQ+314", "dns; relay.test")
    assert bob.pop("Last-Attempt-Date")
    assert bob == {
        "Original-Recipient": "rfc822; Bob+Old@dest.example",
        "Final-Recipient": "rfc822; bob@dest.example",
        "Action": "failed",
        "Status": "5.6.0",
        "Diagnostic-Code": "x-relay; ses_rejected (Amazon SES refused the message: MessageRejected: "
        "Illegal attachment)",
    }
    words, _, header = report.get_payload()
    assert public_id in words.get_content()  # type: ignore[union-attr]
    assert header.get_content_type() == "text/rfc822-headers"  # type: ignore[union-attr]
    assert "Subject: hello" in header.get_content()  # type: ignore[union-attr]
    assert "the body" not in report.as_string()


def test_of_two_recipients_the_one_that_is_refused_comes_back(world: World) -> None:
    script(world, None, set={"production": False})
    public_id = send(world, "two@byoc.example", ("bad@dest.example", []), ("good@byoc.example", []))
    report = report_to(world, "two@byoc.example")
    world.sent_to("good@byoc.example")
    assert [each["Final-Recipient"] for each in fields_of(report)[1:]] == ["rfc822; bad@dest.example"]
    wait_for(lambda: {each["status"] for each in look(world, public_id)["deliveries"]} == {"sent", "failed"})
    assert reports_on(world, public_id) == 1


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        ("NEVER", 0),
        ("SUCCESS", 0),
        ("DELAY", 0),
        ("SUCCESS,DELAY", 0),
        ("FAILURE", 1),
        ("SUCCESS,FAILURE", 1),
        (None, 1),
    ],
)
def test_who_is_told_of_failure(world: World, notify: str | None, told: int) -> None:
    script(world, REJECTED)
    parameters = [f"NOTIFY={notify}"] if notify else []
    public_id = send(world, f"n{notify}@byoc.example".replace(",", "-"), ("bob@dest.example", parameters))
    settled(world, public_id)
    assert reports_on(world, public_id) == told


def test_who_asks_is_told_that_ses_has_it(world: World) -> None:
    asks, asks_not = ["NOTIFY=SUCCESS"], ["NOTIFY=FAILURE,DELAY"]
    people = ("kim@dest.example", asks), ("lee@dest.example", asks_not), ("mo@dest.example", [])
    public_id = send(world, "asks@byoc.example", *people, options=["RET=FULL"])
    report = report_to(world, "asks@byoc.example")
    assert report["Subject"] == "Your message was handed on"
    _, kim = fields_of(report)
    assert (kim["Final-Recipient"], kim["Action"], kim["Status"]) == ("rfc822; kim@dest.example", "relayed", "2.1.9")
    [sent] = world.sent_to("kim@dest.example")
    assert kim["Final-Log-ID"] == sent["id"]
    assert "Diagnostic-Code" not in kim
    # RFC 3461 section 4.3: RET is about failure.
    assert [each.get_content_type() for each in report.iter_parts()][2] == "text/rfc822-headers"
    assert reports_on(world, public_id) == 1


def test_who_asks_is_told_once_that_it_is_late(world: World) -> None:
    script(world, {"error": "ServiceUnavailable"}, times=1)
    asks = ["NOTIFY=DELAY,FAILURE"]
    public_id = send(world, "late@byoc.example", ("kim@dest.example", asks), ("lee@dest.example", []))
    settled(world, public_id, "queued")
    wait_for(lambda: look(world, public_id)["deliveries"][0]["failures"] == 1)
    assert reports_on(world, public_id) == 0
    age(world, public_id, timedelta(hours=5))
    report = report_to(world, "late@byoc.example")
    assert report["Subject"] == "Your message is late"
    _, kim = fields_of(report)
    until = parsedate_to_datetime(kim.pop("Will-Retry-Until")) - datetime.now(UTC)
    assert timedelta(hours=18) < until < timedelta(hours=19, seconds=1)
    assert kim == {
        "Final-Recipient": "rfc822; kim@dest.example",
        "Action": "delayed",
        "Status": "4.4.1",
        "Diagnostic-Code": "x-relay; ses_unavailable (Amazon SES cannot be reached or is failing)",
    }
    with_database(world.settings, lambda db, _: hand.move_by_hand(db, [hand.ByHand(public_id, hand.Verb.RETRY)]))
    settled(world, public_id, "sent")
    assert reports_on(world, public_id) == 1


def age(world: World, public_id: str, by: timedelta) -> None:
    """As if it had come in earlier."""

    def back(db: Connection) -> None:
        mine = select(messages.c.id).where(messages.c.public_id == public_id).scalar_subquery()
        earlier = {name: deliveries.c[name] - milliseconds(by) for name in ("first_due_at", "delay_at")}
        db.execute(update(deliveries).where(deliveries.c.message_id == mine).values(earlier))

    with_database(world.settings, lambda db, _: back(db))


@pytest.mark.parametrize(
    "header",
    [
        "Auto-Submitted: auto-replied\r\n",
        "Auto-Submitted: auto-generated (by cron)\r\n",
        "Precedence: bulk\r\n",
        "Precedence: List\r\n",
        "List-Id: <news.byoc.example>\r\n",
        "List-Unsubscribe: <https://x.example/>\r\n",
        "X-Relay-Stream: broadcast\r\n",
        'MIME-Version: 1.0\r\nContent-Type: Multipart/Report;\r\n report-type=delivery-status; boundary="b"\r\n',
    ],
)
def test_automatic_mail_and_bulk_never_come_back(world: World, header: str) -> None:
    script(world, REJECTED)
    public_id = send(world, "auto@byoc.example", ("bob@dest.example", []), header=header)
    settled(world, public_id)
    assert reports_on(world, public_id) == 0


def test_mail_that_says_it_is_not_automatic_comes_back(world: World) -> None:
    script(world, REJECTED)
    public_id = send(world, "manual@byoc.example", ("bob@dest.example", []), header="Auto-Submitted: no\r\n")
    settled(world, public_id)
    assert reports_on(world, public_id) == 1


def test_what_came_over_http_never_comes_back(world: World) -> None:
    script(world, REJECTED)
    letter = {"from": "web@byoc.example", "to": "bob@dest.example", "subject": "s", "text": "t"}
    public_id = world.call("POST", "/api/v1/emails", letter).json["id"]
    settled(world, public_id)
    assert reports_on(world, public_id) == 0


def test_a_report_that_is_refused_is_the_end_of_it(world: World) -> None:
    script(world, REJECTED, times=2)
    public_id = send(world, "gone@byoc.example", ("bob@dest.example", []))

    def of_report(db: Connection) -> Sequence[Row[Any]]:
        original = select(messages.c.id).where(messages.c.public_id == public_id).scalar_subquery()
        joined = messages.join(deliveries, deliveries.c.message_id == messages.c.id)
        found = select(messages, deliveries.c.state, deliveries.c.reports).select_from(joined)
        return db.execute(found.where(messages.c.about == original)).all()

    def failed() -> Row[Any] | None:
        rows = with_database(world.settings, lambda db, _: of_report(db))
        return rows[0] if [row.state for row in rows] == ["failed"] else None

    report = wait_for(failed)
    assert report is not None
    assert (report.protocol, report.mail_from, report.reports, report.stream) == ("report", None, 0, "transactional")
    assert reports_on(world, report.public_id) == 0


def test_one_address_is_told_three_times_an_hour(world: World) -> None:
    before = outcomes(world)
    for number in range(5):
        script(world, REJECTED)
        public_id = send(world, "Often@byoc.example", (f"bob{number}@dest.example", []))
        settled(world, public_id)
        assert reports_on(world, public_id) == int(number < 3)
    world.sent_to("Often@byoc.example", 3)
    now = outcomes(world)
    assert now["failed queued"] - before.get("failed queued", 0) == 3
    assert now["failed too_many"] - before.get("failed too_many", 0) == 2


def test_a_suppressed_sender_is_not_told(world: World) -> None:
    world.suppress("deaf@byoc.example")
    script(world, REJECTED)
    public_id = send(world, "deaf@byoc.example", ("bob@dest.example", []))
    settled(world, public_id)
    assert reports_on(world, public_id) == 0


def test_recipients_that_were_suppressed_while_their_mail_waited(world: World) -> None:
    later = f"X-Relay-Send-At: {int(datetime.now(UTC).timestamp()) + 3600}\r\n"
    public_id = send(world, "waits@byoc.example", ("a@late.example", []), ("b@late.example", []), header=later)
    world.suppress("a@late.example")
    assert world.call("POST", f"/api/v1/emails/{public_id}/retry").status == 200
    report = report_to(world, "waits@byoc.example")
    assert [(each["Final-Recipient"], each["Status"]) for each in fields_of(report)[1:]] == [
        ("rfc822; a@late.example", "5.1.1")
    ]
    world.sent_to("b@late.example")
    assert reports_on(world, public_id) == 1


def test_what_is_cancelled_by_hand_does_not_come_back(world: World) -> None:
    later = f"X-Relay-Send-At: {int(datetime.now(UTC).timestamp()) + 3600}\r\n"
    public_id = send(world, "stops@byoc.example", ("a@dest.example", []), header=later)
    assert world.call("POST", f"/api/v1/emails/{public_id}/cancel").status == 200
    assert reports_on(world, public_id) == 0


def test_the_whole_message_comes_back_where_it_is_wanted(world: World) -> None:
    script(world, REJECTED)
    send(world, "full@byoc.example", ("bob@dest.example", []), options=["RET=FULL"])
    report = report_to(world, "full@byoc.example")
    returned = list(report.iter_parts())[2]
    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_content().get_content().splitlines() == ["the body"]


def test_shared_mail_comes_back_from_its_own_domain(world: World) -> None:
    script(world, REJECTED, account="operator")
    public_id = send(world, "app@shared.example", ("bob@dest.example", []), author="app@shared.example")
    report = report_to(world, "app@shared.example")
    assert report["From"] == "Mail Delivery System <postmaster@shared.example>"
    assert reports_on(world, public_id) == 1


def test_nothing_is_said_where_reports_are_off(tmp_path: Path) -> None:
    with World(tmp_path, bounces={"enabled": False}) as world:
        script(world, REJECTED)
        public_id = send(world, "off@byoc.example", ("bob@dest.example", ["NOTIFY=FAILURE"]))
        settled(world, public_id)
        assert reports_on(world, public_id) == 0


def look(world: World, public_id: str) -> Any:
    return world.call("GET", f"/api/v1/emails/{public_id}").json
