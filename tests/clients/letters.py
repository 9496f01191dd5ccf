"""Letters that are hard to carry, and what of them must arrive."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.support import World, wait_for

RECIPIENTS = ("ana@dest.example", "hidden@dest.example")
# One field of ours, and no more: it is folded at most once.
RECEIVED = re.compile(
    rb"Received: from \S+( \(\[[\d.]+\]\))? by relay\.test with (?P<protocol>\w+) id \w+;\r\n\t[^\r\n]+\r\n"
)


@dataclass(frozen=True)
class Letter:
    """Everything a client could spoil: 8-bit text, dots, a folded field, spaces at line ends, a line as long as may be."""

    subject: str
    sender: str = "me@byoc.example"
    recipients: tuple[str, ...] = RECIPIENTS

    @property
    def raw(self) -> bytes:
        return (
            f"From: Me <{self.sender}>\r\nTo: ana@dest.example\r\nSubject: {self.subject}\r\n"
            f"X-Folded: one\r\n\ttwo,\r\n three\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{self.subject}@byoc.example>\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            f"Grüße\r\n.\r\n..\r\n.dot\r\n\r\nFrom me\r\nspaces \t \r\n{'x' * 998}\r\n100 % of it\r\n\r\nend\r\n"
        ).encode()

    def arrived(self, world: World) -> str:
        """Once, to everyone, and as it was written but for our Received. Returns the protocol that this names."""
        (found,) = arrivals(world, self.subject)
        assert sorted(found["recipients"]) == sorted(self.recipients)
        received = RECEIVED.match(found["raw"])
        assert received is not None, found["raw"][:300]
        assert found["raw"][received.end() :] == self.raw
        return received["protocol"].decode()


def arrivals(world: World, subject: str) -> list[dict[str, Any]]:
    """What SES has with this subject; at least one."""
    return wait_for(
        lambda: [each for each in world.messages() if f"\r\nSubject: {subject}\r\n".encode() in each["raw"]]
    )
