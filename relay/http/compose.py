"""Makes a MIME message of what an HTTP client gave in parts."""

from __future__ import annotations

import re
from base64 import b64encode
from email.message import EmailMessage
from email.policy import SMTP

from relay.errors import Kind, Problem
from relay.http.letter import Letter
from relay.message import Address

# 7-bit bodies: SES may rewrite 8-bit content (SES fact 1.2). CR LF throughout.
POLICY = SMTP.clone(cte_type="7bit", max_line_length=78)
WORD = 39  # octets in an RFC 2047 word, so that its line stays within 76
LONGEST_PLAIN = 200  # characters of text that may stand as they are

_PLAIN = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
# RFC 5322 section 3.2.3: needs no quotes in a phrase. Two spaces in a row would be read as one.
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_CONTROL = re.compile(r"[\0-\x1f\x7f]")


def compose(parts: Letter, author: Address, stamp: bytes) -> bytes:
    """The message's octets below the fields of ours, CRLF throughout, no Bcc.

    Raises Problem(BAD_REQUEST) for what cannot be a header.
    """
    # Not EmailMessage's headers: it decodes encoded words in what it is given, and writes a CR LF found there as one;
    # and it encodes what is too long for a line, which no one reads back in List-Unsubscribe or In-Reply-To.
    fields = [("From", _mailbox(author, parts.author_name))]
    for name, addresses in (("To", parts.to), ("Cc", parts.cc), ("Reply-To", parts.reply_to)):
        if addresses:
            fields.append((name, ",\r\n ".join(_mailbox(each.address, each.name) for each in addresses)))
    fields.append(("Subject", parts.subject if _is_plain(parts.subject) else _words(parts.subject)))
    for name, value in parts.headers:
        _refuse_controls(name + value)
        fields.append((name, value if _PLAIN.fullmatch(value) else _words(value)))
    header = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return stamp + header.encode("ascii") + _content(parts).as_bytes()


def _content(parts: Letter) -> EmailMessage:
    message = EmailMessage(policy=POLICY)
    if parts.text is not None:
        message.set_content(parts.text)
        if parts.html is not None:
            message.add_alternative(parts.html, subtype="html")
    else:
        message.set_content(parts.html or "", subtype="html")
    for attachment in parts.attachments:
        _refuse_controls(attachment.filename)
        main, _, sub = attachment.content_type.partition("/")
        # As an RFC 2231 triple: EmailMessage would decode encoded words in a mere string.
        filename = ("utf-8", "", attachment.filename)
        message.add_attachment(attachment.content, maintype=main, subtype=sub, filename=filename)
    return message


def _mailbox(address: Address, name: str) -> str:
    if not name:
        return str(address)
    if not _is_plain(name):
        name = _words(name)
    elif not _ATOMS.fullmatch(name):
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{name} <{address}>"


def _is_plain(text: str) -> bool:
    """Whether every reader takes the text for what it is, in one line."""
    return len(text) <= LONGEST_PLAIN and "=?" not in text and _PLAIN.fullmatch(text) is not None


def _words(text: str) -> str:
    """The text as RFC 2047 words, none of which cuts a character. Raises Problem(BAD_REQUEST) for a control."""
    _refuse_controls(text)
    words = [b""]
    for octets in (character.encode() for character in text):
        if len(words[-1]) + len(octets) > WORD:
            words.append(b"")
        words[-1] += octets
    return "\r\n ".join(f"=?utf-8?b?{b64encode(word).decode('ascii')}?=" for word in words)


def _refuse_controls(text: str) -> None:
    if _CONTROL.search(text):
        raise Problem(Kind.BAD_REQUEST, "a header has a character that no header can have")
