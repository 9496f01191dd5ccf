"""Every reply that is no refusal of mail (those are in the table of troubles), and how a reply is written."""

from __future__ import annotations

from enum import Enum, unique

from relay.errors import Problem, printable


@unique
class Reply(Enum):
    """Code, enhanced status (RFC 2034, RFC 5248) and text. Greeting, EHLO, HELO and 334 have no enhanced status."""

    # fmt: off
    OK                 = (250, "2.0.0", "OK")
    SENDER_OK          = (250, "2.1.0", "Sender OK")
    RECIPIENT_OK       = (250, "2.1.5", "Recipient OK")
    BYE                = (221, "2.0.0", "Bye")
    READY_FOR_TLS      = (220, "2.0.0", "Ready to start TLS")
    AUTHENTICATED      = (235, "2.7.0", "Authentication succeeded")
    CANNOT_VERIFY      = (252, "2.5.2", "Send some mail, it will be tried")
    SEND_DATA          = (354, "",      "End data with <CR><LF>.<CR><LF>")
    HELP               = (214, "2.0.0", "EHLO STARTTLS AUTH MAIL RCPT DATA RSET NOOP QUIT; the password is an API key")
    SHUTTING_DOWN      = (421, "4.3.2", "The server is stopping: try again shortly")
    TOO_MANY           = (421, "4.3.2", "Too many connections: try again shortly")
    TOO_MANY_OF_YOURS  = (421, "4.7.0", "Too many connections from your address: close some, or ask for more")
    TIMEOUT            = (421, "4.4.2", "Nothing was said for too long")
    TOO_MANY_ERRORS    = (421, "4.7.0", "Too many errors")
    TOO_MANY_LOGINS    = (421, "4.7.0", "Too many failed logins: check the API key")
    BARE_NEWLINE       = (451, "4.5.2", "The message ended with a bare newline: end it with <CR><LF>.<CR><LF>")
    TLS_UNAVAILABLE    = (454, "4.7.0", "TLS is not available on this listener")
    SYNTAX             = (500, "5.5.2", "Not a command")
    LINE_TOO_LONG      = (500, "5.5.6", "The line is too long")
    BAD_ARGUMENT       = (501, "5.5.4", "The argument is not right")
    BAD_BASE64         = (501, "5.5.2", "That is not base64")
    AUTH_CANCELLED     = (501, "5.7.0", "Authentication cancelled")
    NOT_IMPLEMENTED    = (502, "5.5.1", "Not implemented")
    SAY_HELLO          = (503, "5.5.1", "Send EHLO first")
    BAD_SEQUENCE       = (503, "5.5.1", "Not now")
    OUT_OF_STEP        = (503, "5.5.1", "Wait for the reply before you go on")
    NOT_SMTP           = (500, "5.5.2", "This is SMTP: point HTTP at the HTTP port")
    UNKNOWN_MECHANISM  = (504, "5.5.4", "Use AUTH PLAIN or AUTH LOGIN")
    START_TLS_FIRST    = (530, "5.7.0", "Start TLS first, then authenticate with an API key as the password")
    NEEDS_TLS          = (538, "5.7.11", "Start TLS first: a key must not cross the network in clear")
    UNKNOWN_PARAMETER  = (555, "5.5.4", "That parameter is not known here")
    # fmt: on

    def __init__(self, code: int, status: str, text: str) -> None:
        self.code = code
        self.status = status
        self.text = text
        self.wire = self.line(text)

    def line(self, text: str) -> bytes:
        """The reply as it goes out, with a text that is more exact than its own. `wire` has its own."""
        words = printable(text, 400)
        return f"{self.code} {self.status + ' ' if self.status else ''}{words}\r\n".encode("ascii")


def greeting(hostname: str) -> bytes:
    return f"220 {hostname} ESMTP Relay\r\n".encode("ascii")


def hello(hostname: str, extensions: list[str]) -> bytes:
    """The whole EHLO answer, to be sent in one write: old devices read only once."""
    lines = [hostname, *extensions]
    marks = ["-"] * (len(lines) - 1) + [" "]
    return "".join(f"250{mark}{line}\r\n" for mark, line in zip(marks, lines, strict=True)).encode("ascii")


CHALLENGE = 334


def challenge(prompt: str) -> bytes:
    """RFC 4954 section 4: base64, or nothing after the space."""
    return f"{CHALLENGE} {prompt}\r\n".encode("ascii")


def has_code(reply: bytes, code: int) -> bool:
    return reply.startswith(str(code).encode("ascii"))


def refusal(problem: Problem) -> bytes:
    """A row of the table of troubles as a reply; long texts are cut to RFC 5321's line of 512 octets."""
    kind = problem.kind
    reference = f" (reference {problem.reference})" if problem.reference else ""
    return f"{kind.smtp} {kind.enhanced} {printable(problem.detail, 400)}{reference}\r\n".encode("ascii")
