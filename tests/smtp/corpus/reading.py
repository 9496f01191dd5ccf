"""Reads the cases of this folder, in the form that README.md gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


def unescaped(text: bytes) -> bytes:
    """The octets that a text stands for."""

    def repeated(match: re.Match[bytes]) -> bytes:
        return b"".join(
            match[2].replace(b"#+", b"%d" % (count + 1)).replace(b"#", b"%d" % count) for count in range(int(match[1]))
        )

    def octet(match: re.Match[bytes]) -> bytes:
        return bytes([int(match[1], 16)]) if match[1] else ESCAPES[match[2]]

    text = text.replace(b"\\\n", b"").replace(b"\n", b"\r\n")
    text = re.sub(rb"\\\{(\d+)\*(.*?)\\\}", repeated, text, flags=re.DOTALL)
    return re.sub(rb"\\(?:x([0-9a-f]{2})|([rnt\\]))", octet, text)


@dataclass(frozen=True)
class Case:
    """A file: how the reply begins, what the ledger says, and what is sent."""

    expected: str
    ledger: tuple[str, ...]
    sent: bytes

    @classmethod
    def read(cls, file: Path) -> Case:
        first, _, rest = file.read_bytes().partition(b"\n")
        ledger = []
        while rest.startswith(b"* "):
            line, _, rest = rest.partition(b"\n")
            ledger.append(line[2:].decode())
        return cls(first.decode(), tuple(ledger), unescaped(rest))


@dataclass(frozen=True)
class Difference:
    """What ours and stock aiosmtpd answer to the last of some commands, and why they differ."""

    ours: str
    stock: str
    commands: tuple[bytes, ...]
    why: str


def differences() -> list[Difference]:
    found: list[Difference] = []
    why = ""
    for line in (FOLDER / "differences.txt").read_text().splitlines():
        if line.startswith("# "):
            why = line[2:]
        elif line:
            ours, stock, commands = line.split(" ", 2)
            found.append(Difference(ours, stock, tuple(map(unescaped, commands.encode().split(b" / "))), why))
    return found
