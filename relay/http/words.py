"""What stands in a header: words of any script, mailboxes, parameters. Every result is ASCII, folded by CRLF.

Raises Problem(BAD_REQUEST) for a control character wherever it stands: nothing that is given can start a field.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from itertools import groupby
from urllib.parse import quote

from relay.errors import Fault, Kind, Problem, printable
from relay.message import Address

LINE = 78  # characters that a line should have at most (RFC 5322 section 2.1.1)
MAX_LINE = 998  # and may not be over
WORD = 39  # octets in an RFC 2047 word, so that its line stays within 76 after any name of ours
SEGMENT = 60  # characters of a parameter's value in one line (RFC 2231 section 3)
LONGEST_QUOTED = 200  # characters of a quoted string, which is not folded: not every reader joins one
LONGEST_NAME = 255  # of a file in one quoted string: what file systems take

_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_PLAIN = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
# RFC 5322 section 3.2.3: needs no quotes in a phrase. Two spaces in a row would be read as one.
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# Without what readers are known to trip over in a quoted string: quotes, backslashes, semicolons, percent signs.
_FILENAME = re.compile(r"[\w!#$&'()+,.@^`{}~=-]+(?: [\w!#$&'()+,.@^`{}~=-]+)*", re.ASCII)
_FOLDS = re.compile(r"(?<=[^ ]) (?=[^ ])")  # only a single space: some readers make one of several


def unstructured(name: str, text: str) -> str:
    """A field that people read, without its last CRLF; what does not fit as it stands goes as RFC 2047 words."""
    if _PLAIN.fullmatch(text) and "=?" not in text:
        line = f"{name}: {text}"
        if len(line) <= LINE:
            return line
        folded = _fold(line)
        if max(map(len, folded)) <= LINE:
            return "\r\n".join(folded)
    return f"{name}: {_words(text)}"


def own(name: str, text: str) -> str:
    """A field of the client's own, without its last CRLF.

    ASCII stays as it is, for most are read by programs (List-Unsubscribe, References), and words that the client made
    are words; it is folded at spaces. Of the rest, only what is not ASCII becomes words.
    Raises Problem(BAD_REQUEST) where there is nowhere to fold.
    """
    if not _is_name(name):
        raise _wrong(name, "is no name of a header")
    if _CONTROL.search(text):
        raise _wrong(name, "has a control character")
    text = text.strip(" ")
    if not text.isascii():
        text = _words(text) if "  " in text or "=?" in text else " ".join(_mixed(text))
    line = f"{name}: {text}"
    if len(line) <= LINE or "\r\n" in line:
        return line
    folded = _fold(line)
    if max(map(len, folded)) <= MAX_LINE:
        return "\r\n".join(folded)
    if name[:2].lower() == "x-":
        return f"{name}: {_words(text)}"
    raise _wrong(name, f"is over {MAX_LINE} characters without a space where it could be folded")


def mailbox(address: Address, name: str) -> str:
    """`name <address>` (RFC 5322 section 3.4). White space around a name is no part of it."""
    refuse_controls(name)
    name = name.strip()
    if not name:
        # Without brackets, some readers take no quotes.
        return f"<{address}>" if address.local.startswith('"') else str(address)
    if len(name) > LONGEST_QUOTED or "=?" in name or not _PLAIN.fullmatch(name):
        name = _words(name)
    elif not _ATOMS.fullmatch(name):
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    last = len(name) - name.rfind("\n")
    fits = last + len(address.local) + len(address.domain) < LINE - len("Reply-To: <@>")
    return f"{name} <{address}>" if fits else f"{name}\r\n <{address}>"


def parameter(name: str, text: str) -> str:
    """A parameter with its semicolon: in quotes where every reader takes that, else by RFC 2231. Nothing for no text.

    In several segments where it is long, as Apple Mail writes it: so every reader had to learn them.
    """
    refuse_controls(text)
    text = text.strip()  # some readers do
    if not text:
        return ""
    if len(text) <= LONGEST_NAME and _FILENAME.fullmatch(text) and "=?" not in text:
        return f';\r\n {name}="{text}"'
    encoded = quote(text, safe="")
    if len(encoded) <= SEGMENT:
        return f";\r\n {name}*=utf-8''{encoded}"
    return "".join(
        f";\r\n {name}*{number}*={segment}" for number, segment in enumerate(_joined(["utf-8''", *map(_quoted, text)]))
    )


def refuse_controls(text: str) -> None:
    if _CONTROL.search(text):
        raise Problem(Kind.BAD_REQUEST, "a header has a character that no header can have")


def _is_name(text: str) -> bool:
    """RFC 5322 section 3.6.8: printable ASCII without a colon."""
    return text.isascii() and text.isprintable() and bool(text) and ":" not in text and " " not in text


def _words(text: str) -> str:
    """The text as RFC 2047 words, none of which cuts a character."""
    refuse_controls(text)
    raw = text.encode()
    found, at = [], 0
    while at < len(raw):
        until = at + WORD
        while until < len(raw) and raw[until] & 0xC0 == 0x80:
            until -= 1
        found.append(f"=?utf-8?b?{b64encode(raw[at:until]).decode('ascii')}?=")
        at = until
    return "\r\n ".join(found)


def _mixed(text: str) -> Iterator[str]:
    """What is not ASCII as words, each run of it as one: the space between two words is not read."""
    for is_ascii, run in groupby(text.split(" "), key=str.isascii):
        piece = " ".join(run)
        yield piece if is_ascii else _words(piece)


def _fold(line: str) -> list[str]:
    """Lines of at most 78 characters where its spaces allow that; never right after the name."""
    first, *others = _FOLDS.split(line)
    found = [[first]]
    size = len(first)
    for number, each in enumerate(others):
        size += 1 + len(each)
        if number and size > LINE:
            found.append(["", each])
            size = 1 + len(each)
        else:
            found[-1].append(each)
    return [" ".join(words) for words in found]


def _quoted(character: str) -> str:
    return quote(character, safe="")


def _joined(pieces: list[str]) -> Iterator[str]:
    """Put together to segments, none of which cuts a character: some readers decode each by itself."""
    segment = ""
    for piece in pieces:
        if len(segment) + len(piece) > SEGMENT:
            yield segment
            segment = ""
        segment += piece
    yield segment


def _wrong(name: str, message: str) -> Problem:
    return Problem(Kind.BAD_REQUEST, faults=(Fault(f"headers.{printable(name, 76)}", message),))
