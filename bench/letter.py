"""The mail that is sent: one message of 5 KB by SMTP, and about the same by HTTP."""

from __future__ import annotations

import json

SIZE = 5 << 10  # octets, headers and all
DOMAIN = "bench.example"
SENDER = f"app@{DOMAIN}"
RECIPIENT = "ana@customer.example"

_LINE = b"The quick brown fox jumps over the lazy dog, and so on to the end of the line.\r\n"


def smtp(number: int, size: int = SIZE) -> bytes:
    """A message as it follows DATA, without the dot that ends it. No line begins with a dot."""
    header = (
        f"From: Bench <{SENDER}>\r\n"
        f"To: Ana <{RECIPIENT}>\r\n"
        f"Subject: Measurement {number:08d}\r\n"
        f"Message-ID: <{number:08d}.bench@{DOMAIN}>\r\n"
        "Date: Mon, 06 Jan 2025 10:00:00 +0000\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "\r\n"
    ).encode("ascii")
    return header + filler(size - len(header))


def filler(size: int) -> bytes:
    """So many octets of lines."""
    return (_LINE * (size // len(_LINE) + 1))[: size - 2] + b"\r\n"


def http(size: int = SIZE) -> bytes:
    """The same mail as the JSON of `POST /api/v1/emails`: two parts text to three parts HTML."""
    text = filler(size * 2 // 5).decode("ascii").replace("\r\n", "\n")
    html = filler(size * 3 // 5).decode("ascii").replace("\r\n", "<br>\n")
    body = {"from": SENDER, "to": RECIPIENT, "subject": "Measurement", "text": text, "html": f"<p>{html}</p>"}
    return json.dumps(body).encode("ascii")
