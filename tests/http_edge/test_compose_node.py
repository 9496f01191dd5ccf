"""A third parser reads what is composed: postal-mime, which many a webmail uses."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from relay.http.letter import Attachment, Letter, Mailbox
from relay.message import Address
from tests.clients.programs import NODE, call, needs_node
from tests.http_edge.test_compose import ANA, SAMPLES, expected_people, lines, made


def letters(count: int) -> list[Letter]:
    """Every sample in every place, and so many mixtures of them; the same ones each time."""
    chance = random.Random(5)
    texts = [text for text in SAMPLES if "\x85" not in text]  # controls that this one leaves out
    found = [*texts, *("".join(chance.choices(texts, k=3)) for _ in range(count))]
    return [
        Letter(
            to=(Mailbox(ANA.address, text), Mailbox(Address.parse("bo@one.test"))),
            cc=(Mailbox(Address.parse("cy@one.test"), text[::-1]),),
            author_name=text,
            subject=text,
            text=f"{text}\n{text} \nFrom {text}\n.\n",
            html=f"<p>{text}</p>" * 20,
            # It takes what RFC 2231 decodes to for encoded words once more.
            attachments=(
                Attachment(text.replace("=?", ""), text.encode(), "application/pdf"),
                Attachment("logo.png", b"\0\r\n\xff", "image/png", "logo@one.test"),
            ),
        )
        for text in found
    ]


@pytest.mark.npm
def test_postal_mime_reads_the_same() -> None:
    node = needs_node("postal-mime")
    given = letters(200)
    raws = [base64.b64encode(made(each)).decode("ascii") for each in given]
    read: list[dict[str, Any]] = json.loads(call(node, str(NODE / "read.mjs"), given=json.dumps(raws).encode()))
    for letter, found in zip(given, read, strict=True):
        assert found["subject"].strip() == letter.subject.strip()
        assert {name: [tuple(each) for each in people] for name, people in found["people"].items()} == (
            expected_people(letter)
        )
        for kind, body in (("text", letter.text), ("html", letter.html)):
            # It takes the line end before a boundary for one of the text.
            assert found[kind].replace("\r\n", "\n").rstrip("\n") == lines(body or "").decode().rstrip("\n")
        logo, file = found["files"]
        assert base64.b64decode(logo[1]) == b"\0\r\n\xff"
        assert (logo[0], logo[2], logo[3]) == ("logo.png", "image/png", "logo@one.test")
        assert (file[0], base64.b64decode(file[1])) == (
            letter.attachments[0].filename.strip(),
            letter.attachments[0].content,
        )
