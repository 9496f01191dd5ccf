"""`python -m bench.compose`: what composing one message costs, beside the standard library's two ways.

All three make the same message of the same parts. Each round measures all, one after the other; a ratio is the median
over the rounds of one way's time divided by ours in the same round.
"""

from __future__ import annotations

import argparse
import email.policy
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.header import Header
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formataddr
from statistics import median

from bench import letter as mail
from relay.http.compose import compose
from relay.http.letter import Attachment, Letter, Mailbox
from relay.message import Address

AUTHOR = Address.parse(mail.SENDER)
ANA = Address.parse(mail.RECIPIENT)
MESSAGE_ID, DATE = "<00000001.bench@bench.example>", "Mon, 06 Jan 2025 10:00:00 +0000"
STAMP = f"Message-ID: {MESSAGE_ID}\r\nDate: {DATE}\r\n".encode("ascii")
MODERN = email.policy.SMTP.clone(cte_type="7bit")
LEGACY = email.policy.compat32.clone(linesep="\r\n", cte_type="7bit")
LEAST = 0.2  # seconds that a measurement takes
WANTED = 40.0  # microseconds for text and HTML of 5 KB

OURS, EMAIL_MESSAGE, MIME_TEXT = "ours", "EmailMessage", "MIMEText"


@dataclass(frozen=True, slots=True)
class Row:
    """One mail, and the microseconds that each way takes in each round."""

    what: str
    size: int  # octets of the message
    times: dict[str, list[float]]

    def ratio(self, way: str) -> float:
        return median(theirs / ours for theirs, ours in zip(self.times[way], self.times[OURS], strict=True))


def mails() -> dict[str, Letter]:
    given = json.loads(mail.http())
    plain = Letter(to=(Mailbox(ANA, "Ana Bo"),), subject="Measurement", text=given["text"], html=given["html"])
    latin = _with(plain, "quick", "schnéll")
    japanese = _with(plain, "The quick brown fox", "速い茶色の狐が怠け者の犬を飛び越える")
    return {
        "5 KB of text and HTML": plain,
        "the same with accents": latin,
        "the same half in Japanese": japanese,
        "200 KB of HTML with accents": Letter(to=plain.to, subject="Grüße", html=(latin.html or "") * 66),
        "with a file of 1 MB": Letter(to=plain.to, subject="Hi", text="Hi", attachments=_files(1 << 20)),
        "with files of 25 MB": Letter(to=plain.to, subject="Hi", text="Hi", attachments=_files(5 << 20, 5)),
    }


def _with(letter: Letter, old: str, new: str) -> Letter:
    text, html = (str(body).replace(old, new) for body in (letter.text, letter.html))
    return Letter(to=letter.to, subject=f"{new} fox", text=text, html=html)


def _files(size: int, count: int = 1) -> tuple[Attachment, ...]:
    return tuple(Attachment(f"{number}.bin", os.urandom(size)) for number in range(count))


def ours(letter: Letter) -> bytes:
    return compose(letter, AUTHOR, STAMP)


def by_email_message(letter: Letter) -> bytes:
    """The modern way."""
    message = EmailMessage(policy=MODERN)
    message["Message-ID"], message["Date"] = MESSAGE_ID, DATE
    message["From"] = str(AUTHOR)
    message["To"] = ", ".join(formataddr((each.name, str(each.address))) for each in letter.to)
    message["Subject"] = letter.subject
    if letter.text is not None:
        message.set_content(letter.text)
    if letter.html is not None and letter.text is not None:
        message.add_alternative(letter.html, subtype="html")
    elif letter.html is not None:
        message.set_content(letter.html, subtype="html")
    for file in letter.attachments:
        main, _, sub = file.content_type.partition("/")
        message.add_attachment(file.content, maintype=main, subtype=sub, filename=file.filename)
    return message.as_bytes()


def by_mime_text(letter: Letter) -> bytes:
    """The old way, which most code that is older than ten years goes."""
    texts = [MIMEText(text, kind, "utf-8") for text, kind in ((letter.text, "plain"), (letter.html, "html")) if text]
    message = texts[0] if len(texts) == 1 and not letter.attachments else MIMEMultipart("alternative", None, texts)
    if letter.attachments:
        message = MIMEMultipart("mixed", None, texts)
        for file in letter.attachments:
            part = MIMEApplication(file.content, file.content_type.partition("/")[2])
            part.add_header("Content-Disposition", "attachment", filename=file.filename)
            message.attach(part)
    message["Message-ID"], message["Date"] = MESSAGE_ID, DATE
    message["From"] = str(AUTHOR)
    message["To"] = ", ".join(formataddr((each.name, str(each.address))) for each in letter.to)
    message["Subject"] = Header(letter.subject, "ascii" if letter.subject.isascii() else "utf-8")
    return message.as_bytes(policy=LEGACY)


WAYS: dict[str, Callable[[Letter], bytes]] = {OURS: ours, EMAIL_MESSAGE: by_email_message, MIME_TEXT: by_mime_text}


def microseconds(way: Callable[[Letter], bytes], letter: Letter) -> float:
    """The mean over as many as fill the time, after one to warm up."""
    way(letter)
    count, until = 0, (began := time.perf_counter()) + LEAST
    while (now := time.perf_counter()) < until:
        way(letter)
        count += 1
    return (now - began) / count * 1e6


def measured(rounds: int) -> list[Row]:
    rows = [Row(what, len(ours(letter)), {way: [] for way in WAYS}) for what, letter in mails().items()]
    letters = list(mails().values())
    for _ in range(rounds):
        for row, letter in zip(rows, letters, strict=True):
            for name, way in WAYS.items():
                row.times[name].append(microseconds(way, letter))
    return rows


def lines(rows: list[Row]) -> list[str]:
    found = [f"{'mail':30}{'octets':>12}{OURS:>14}{EMAIL_MESSAGE:>16}{MIME_TEXT:>12}"]
    for row in rows:
        cost = f"{median(row.times[OURS]):.1f} us"
        others = f"{row.ratio(EMAIL_MESSAGE):.1f} x".rjust(16) + f"{row.ratio(MIME_TEXT):.1f} x".rjust(12)
        found.append(f"{row.what:30}{row.size:>12,}{cost:>14}{others}")
    first = median(rows[0].times[OURS])
    found.append(f"{rows[0].what}: {first:.1f} us, wanted {WANTED:.0f}: {'holds' if first <= WANTED else 'MISSED'}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compose", description="Measure composing a message.")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over so many (default: 5)")
    print("\n".join(lines(measured(parser.parse_args().rounds))))


if __name__ == "__main__":
    main()
