"""The same mail in all dialects and by SMTP: SES is given the same tree, the same headers and the same envelope."""

from __future__ import annotations

import re
import smtplib
from dataclasses import replace
from email.message import EmailMessage, Message
from email.policy import SMTP
from typing import Any

import pytest

from tests.contracts.scene import BYOC, SHARED, Scene, parsed, tree
from tests.contracts.speaking import DIALECTS, MAILERLOGIC, NATIVE, SENDEX, SENDFLEET, SENDMUX, Dialect, File, Mail

FILES = (
    File("Grüße 日本.pdf", b"%PDF-1.7" + bytes(range(256)) * 40, "application/pdf"),
    File("list.csv", b"a;b\r\n1;2\r\n", "text/csv"),
)
CALENDAR = "".join(
    f"{line}\r\n"
    for line in (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//one//EN",
        "METHOD:REQUEST",
        "BEGIN:VEVENT",
        "UID:1@one.test",
        "DTSTAMP:20261121T090000Z",
        "DTSTART:20261122T090000Z",
        "SUMMARY:Grüße",
        "END:VEVENT",
        "END:VCALENDAR",
    )
)
MINE = {"received", "message-id", "date"}  # what differs in every message
NAMES = ("From", "Cc", "Bcc", "Reply-To", "Subject", "MIME-Version", "X-Order", "Sender", "Return-Path")


def people(count: int) -> tuple[str, ...]:
    return tuple(f"c{number}@one.test" for number in range(count))


CASES: dict[str, tuple[Mail, tuple[Dialect, ...]]] = {
    "byoc": (Mail(f"shop@{BYOC}", reply_to="help@elsewhere.test"), DIALECTS),
    "shared": (Mail(f"shop@{SHARED}", reply_to="help@elsewhere.test"), DIALECTS),
    "ascii": (Mail(f"shop@{BYOC}", subject="Order 9", text="Thanks\n", html="<p>Thanks</p>\n"), DIALECTS),
    "long lines": (Mail(f"shop@{BYOC}", text="word " * 500 + "\n", html="<p>" + "ü" * 3000 + "</p>\n"), DIALECTS),
    "named": (
        Mail(f"shop@{BYOC}", name='Ünï "Shop", Inc.', reply_to="help@elsewhere.test"),
        (SENDFLEET, SENDEX, SENDMUX, NATIVE),  # MailerLogic has no name for its from
    ),
    "files": (
        Mail(f"shop@{BYOC}", copies=("copy@one.test",), hidden=("hidden@one.test",), files=FILES),
        (SENDEX, MAILERLOGIC, SENDMUX, NATIVE),
    ),
    "headers": (
        Mail(f"shop@{SHARED}", copies=people(40), headers={"X-Order": "Nr. ü9"}),
        (MAILERLOGIC, SENDMUX, NATIVE),
    ),
    "calendar": (Mail(f"shop@{BYOC}", calendar=CALENDAR, files=FILES[1:]), (MAILERLOGIC, NATIVE)),
}  # fmt: skip


def by_smtp(scene: Scene, mail: Mail) -> None:
    message = EmailMessage(SMTP)
    message["From"] = f'"{mail.name.replace(chr(34), chr(92) + chr(34))}" <{mail.author}>' if mail.name else mail.author
    message["To"], message["Subject"] = mail.to, mail.subject
    others = {"Cc": ", ".join(mail.copies), "Reply-To": mail.reply_to, **mail.headers}
    for name, value in others.items():
        if value:
            message[name] = value
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    if mail.calendar:
        message.add_alternative(mail.calendar, subtype="calendar", params={"method": "REQUEST"}, cte="base64")
        invitation = {"maintype": "application", "subtype": "ics", "filename": "invite.ics"}
        message.add_attachment(mail.calendar.encode(), **invitation)
    for file in mail.files:
        main, _, sub = file.media_type.partition("/")
        message.add_attachment(file.content, maintype=main, subtype=sub, filename=file.filename)
    with smtplib.SMTP("127.0.0.1", scene.world.plain) as client:
        client.login("any", scene.key("full"))
        client.send_message(message, mail.author, [mail.to, *mail.copies, *mail.hidden])


def seen(sent: dict[str, Any], to: str) -> dict[str, Any]:
    """What the recipient, and SES, can tell of a message; whom it was made out to set aside."""
    found = parsed(sent["raw"])
    assert [each.addr_spec for each in found["To"].addresses] == [to]
    leaves = [part for part in found.walk() if not part.is_multipart()]
    return {
        "tree": tree(found),
        "headers": {name: str(value) for name in NAMES if (value := found[name]) is not None},
        "leaves": [(part.get_filename(), part.get_content_disposition(), content(part)) for part in leaves],
        "recipients": sorted(set(sent["recipients"]) - {to}),
        "account": (sent["account"], sent["configuration_set"], sorted(sent["tags"])),
    }


def content(part: Message) -> bytes:
    octets = part.get_payload(decode=True)
    assert isinstance(octets, bytes)
    is_text = part.get_content_disposition() is None
    return octets.replace(b"\r\n", b"\n") if is_text else octets


def bare(raw: bytes, to: str) -> bytes:
    """The octets without what is new in every message."""
    for number, boundary in enumerate(re.findall(rb'boundary="?([^"\r\n;]+)', raw)):
        raw = raw.replace(boundary, b"boundary-%d" % number)
    top, _, body = raw.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", top)
    kept = [each for each in fields if each.partition(b":")[0].decode().lower() not in MINE]
    return b"\r\n".join(kept).replace(to.encode(), b"THE-RECIPIENT") + b"\r\n\r\n" + body


@pytest.mark.parametrize("case", CASES)
def test_the_same_mail(scene: Scene, case: str) -> None:
    mail, dialects = CASES[case]
    found: dict[str, dict[str, Any]] = {}
    composed: set[bytes] = set()
    for number, dialect in enumerate([*dialects, None]):
        to = f"x{number}-{case.replace(' ', '-')}@one.test"  # all of a length, so that lines break at the same places
        each = replace(mail, to=to)
        if dialect is None:
            by_smtp(scene, each)
        else:
            answer = dialect.send(scene, each)
            assert answer.status == dialect.success, answer.body
        [sent] = scene.world.sent_to(to)
        assert not any(hidden.encode() in sent["raw"] for hidden in mail.hidden)
        found["smtp" if dialect is None else dialect.name] = seen(sent, to)
        if dialect is not None:
            composed.add(bare(sent["raw"], to))
    by_mail = found["smtp"]
    for name, others in found.items():
        assert others == by_mail, name
    assert len(composed) == 1  # not only alike: the same octets
    texts = [each for each in (mail.text, mail.html, mail.calendar.replace("\r\n", "\n")) if each]
    files = [file.content for file in mail.files]
    assert [each[2] for each in by_mail["leaves"] if each[1] is None] == [text.encode() for text in texts]
    assert [each[2] for each in by_mail["leaves"] if each[0] != "invite.ics" and each[1]] == files
    assert by_mail["recipients"] == sorted({*mail.copies, *mail.hidden})
