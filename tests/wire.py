"""An SMTP client for tests, which sends what it is told and nothing else."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Self

PATIENCE = 15.0  # seconds
# RFC 2034 section 4: the greeting, the answers to EHLO and HELO and 3yz carry no enhanced status; every other reply
# does, of its own class. Every reply of every test that speaks SMTP here is held to it.
BARE = re.compile(
    r"220 \S+ ESMTP Relay$|3\d\d |250[- ]([a-z][a-z0-9-]*(\.[a-z0-9-]+)*|PIPELINING|SIZE \d+|8BITMIME|DSN|"
    r"ENHANCEDSTATUSCODES|STARTTLS|AUTH PLAIN LOGIN|HELP)$"
)
ENHANCED = re.compile(r"([245])\d\d[- ]\1\.\d{1,3}\.\d{1,3} \S")
LONGEST = 510  # octets without the line end (RFC 5321 section 4.5.3.1.5)


def is_sound(line: str) -> bool:
    """Whether it may be a line of a reply."""
    return len(line) <= LONGEST and line.isascii() and bool(BARE.match(line) or ENHANCED.match(line))


class Wire:
    """An SMTP connection that does nothing by itself."""

    def __init__(self, port: int, *, is_tls: bool = False, source: str = "") -> None:
        """`source`: the address it comes from, any of 127.0.0.0/8."""
        self.socket: socket.socket = socket.create_connection(
            ("127.0.0.1", port), PATIENCE, source_address=(source, 0) if source else None
        )
        self._received = b""
        if is_tls:
            self.start_tls()

    def start_tls(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def line(self) -> str:
        """The next line of a reply; "" at the end of the connection."""
        while b"\n" not in self._received:
            if not (chunk := self.socket.recv(65536)):
                assert not self._received, f"cut off after {self._received!r}"
                return ""
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        assert line.endswith(b"\r"), line
        text = line[:-1].decode("ascii")
        assert is_sound(text), text
        return text

    def reply(self) -> str:
        """The last line of the next reply."""
        while (line := self.line())[3:4] == "-":
            pass
        return line

    def send(self, line: str | bytes) -> None:
        self.socket.sendall((line.encode("utf-8") if isinstance(line, str) else line) + b"\r\n")

    def say(self, line: str | bytes) -> str:
        """Send a line, read the reply."""
        self.send(line)
        return self.reply()

    def open(self, sender: str, *recipients: str) -> None:
        """From the greeting to where the message goes."""
        assert self.reply().startswith("220 ")
        self.envelope(sender, *recipients, first="EHLO client.test")

    def envelope(self, sender: str, *recipients: str, first: str = "RSET") -> None:
        for line in (first, f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA"):
            reply = self.say(line)
            assert reply[0] in "23", f"{line}: {reply}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
