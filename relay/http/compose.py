"""Makes a MIME message of what an HTTP client gave in parts.

By hand: the standard library's EmailMessage takes forty times as long, and reads what it is given: it decodes encoded
words in a name, and writes a CR LF found there as one.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.errors import Kind, Problem
from relay.http.letter import Letter
from relay.http.parts import tree
from relay.http.words import mailbox, own, unstructured
from relay.message import Address


def compose(letter: Letter, author: Address, stamp: bytes) -> bytes:
    """The message's octets below the fields of ours, CRLF throughout, no Bcc.

    Raises Problem(BAD_REQUEST) for what cannot be in a message.
    """
    try:
        header = "\r\n".join(_fields(letter, author))
        return b"".join([stamp, header.encode("ascii"), b"\r\n", *tree(letter)])
    except UnicodeEncodeError:
        # Without its cause, which has the text in it.
        raise Problem(Kind.BAD_REQUEST, "a text has half of a surrogate pair") from None


def _fields(letter: Letter, author: Address) -> Iterator[str]:
    yield f"From: {mailbox(author, letter.author_name)}"
    for name, people in (("To", letter.to), ("Cc", letter.cc), ("Reply-To", letter.reply_to)):
        if people:
            yield f"{name}: " + ",\r\n ".join([mailbox(each.address, each.name) for each in people])
    yield unstructured("Subject", letter.subject)
    for name, value in letter.headers:
        # SES takes one (SES fact 1.2), and what has a field of its own is said there.
        if not (letter.reply_to and name.lower() == "reply-to"):
            yield own(name, value)
    yield "MIME-Version: 1.0"
