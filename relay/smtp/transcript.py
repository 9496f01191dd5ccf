"""What was said on an SMTP connection, as text that holds neither a secret nor content. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from relay.errors import printable
from relay.smtp import replies
from relay.smtp.replies import Reply

# A line of the client; a reply of ours; what stands in place of a line; the octets of a message.
Entry = bytes | tuple[bytes] | str | int

LINES = 100
OCTETS = 8192
FIRST_LINES, FIRST_OCTETS = 40, 3072  # of those, how much of the beginning is kept; the end gets the rest
WIDTH = 300  # characters of a line
WORD = 20

# Arguments that are shown, if they have this form; and, where it may be no command at all, this one.
_NAME = (re.compile(rb""), re.compile(rb"\S+\s*$"))
_SHOWN = {
    **dict.fromkeys((b"EHLO", b"HELO", b"LHLO"), _NAME),
    b"MAIL": (re.compile(rb"(?i)FROM\s*:"), re.compile(rb"(?i)FROM:\s*<[^<>]*>")),
    b"RCPT": (re.compile(rb"(?i)TO\s*:"), re.compile(rb"(?i)TO:\s*<[^<>]*>")),
}
_BARE = {b"STARTTLS", b"DATA", b"RSET", b"NOOP", b"QUIT", b"HELP", b"VRFY", b"EXPN", b"BDAT", b"TURN", b"ETRN"}
_BEFORE_CONTENT = {b"DATA", b"BDAT"}  # refused, the content follows as commands, from clients that do not wait
_MECHANISMS = {
    *(b"PLAIN", b"LOGIN", b"CRAM-MD5", b"DIGEST-MD5", b"NTLM", b"GSSAPI", b"EXTERNAL", b"ANONYMOUS"),
    *(b"XOAUTH", b"XOAUTH2", b"OAUTHBEARER", b"SCRAM-SHA-1", b"SCRAM-SHA-256"),
}
_LETTERS = re.compile(rb"[A-Za-z-]+")
_MAILBOX = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|[^\s@<>,;:"'`]+)@""")


def nameless(sentence: str) -> str:
    """A sentence without the part of addresses that names a person; that one is in the transcript, which is sealed."""
    return printable(_MAILBOX.sub("*@", sentence), WIDTH)


def transcript(beginning: Sequence[Entry], left_out: int, end: Sequence[Entry]) -> str:
    """`C:` the client's lines, `S:` ours; bounded, the middle left out with a mark. `left_out`: lines already gone."""
    lines = list(_lines(beginning, left_out, end))
    if left_out == 0 and len(lines) <= LINES and sum(len(line) + 1 for line in lines) <= OCTETS:
        return "\n".join(lines)
    first = _fitting(lines, FIRST_LINES, FIRST_OCTETS)
    last = _fitting(reversed(lines[len(first) :]), LINES - FIRST_LINES - 1, OCTETS - FIRST_OCTETS - 64)
    left_out += len(lines) - len(first) - len(last)
    return "\n".join([*first, f"... ({left_out} lines are left out)", *reversed(last)])


def _fitting(lines: Iterable[str], most: int, octets: int) -> list[str]:
    found: list[str] = []
    for line in lines:
        octets -= len(line) + 1
        if octets < 0 or len(found) == most:
            break
        found.append(line)
    return found


def _lines(beginning: Sequence[Entry], left_out: int, end: Sequence[Entry]) -> Iterator[str]:
    masking = _Masking()
    for entry in beginning:
        yield from masking.lines(entry)
    if left_out:
        masking.is_due = masking.is_wary = True  # nobody knows what was asked for in between
    for entry in end:
        yield from masking.lines(entry)


class _Masking:
    """What of each entry may be shown, by what came before it.

    `is_due`: a challenge was the last reply, so the next line answers it. `is_wary`: what follows a refused AUTH or
    DATA may be a password or content, sent without waiting for the answer; until there is a command again.
    """

    def __init__(self) -> None:
        self.is_due = False
        self.is_wary = False

    def lines(self, entry: Entry) -> Iterator[str]:
        match entry:
            case bytes():
                yield f"C: {'<AUTH response>' if self.is_due else self._command(entry)}"
                self.is_due = False
            case (reply,):
                self.is_due = replies.has_code(reply, replies.CHALLENGE)
                self.is_wary = self.is_wary and not replies.has_code(reply, Reply.AUTHENTICATED.code)
                yield from (f"S: {printable(line, WIDTH)}" for line in reply.rstrip(b"\r\n").split(b"\r\n"))
            case str():
                yield f"C: <{printable(entry, WIDTH)}>"
                self.is_due = False
            case int():
                yield f"C: <message, {entry} octets>"
                self.is_wary = False

    def _command(self, line: bytes) -> str:
        word, _, argument = line.strip().replace(b"\t", b" ").partition(b" ")
        verb, argument = word.upper(), argument.strip()
        if verb.startswith(b"AUTH"):
            self.is_wary = True
            return _auth(verb, argument.split())
        if verb in _SHOWN and _SHOWN[verb][self.is_wary].match(argument):
            self.is_wary = False
            return printable(line, WIDTH)
        if verb in _BARE or verb in _SHOWN:
            self.is_wary = verb in _BEFORE_CONTENT or (self.is_wary and argument != b"")
            return verb.decode("ascii") + (f" <{len(argument)} octets>" if argument else "")
        letters = _LETTERS.match(word)
        if self.is_wary or letters is None or len(word) > WORD:
            return f"<not a command, {len(line)} octets>"
        return letters[0].decode("ascii") + (" ..." if len(letters[0]) < len(line) else "")


def _auth(verb: bytes, arguments: Sequence[bytes]) -> str:
    """The mechanism, if it is one: a client that leaves it out may have put the secret in its place."""
    if verb != b"AUTH" or not arguments:
        return "AUTH" if verb == b"AUTH" else "AUTH <...>"
    mechanism = arguments[0].upper()
    shown = arguments[0].decode("ascii") if mechanism in _MECHANISMS else "<unknown mechanism>"
    return f"AUTH {shown}" + (" <response>" if arguments[1:] else "")
