"""An attacker who holds the database, its write-ahead log and the master key, and looks for a message in clear.

He knows the code. He reads every table, every earlier state that the log still holds, and the bare octets of the
files, and tries every wrapped key he finds against every ciphertext he finds.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import struct
from dataclasses import dataclass, field
from pathlib import Path

from relay.sealing import KEY_SIZE, NONCE_SIZE, MasterKey, Sealer, SealingError

WRAPPED = NONCE_SIZE + KEY_SIZE + 16  # octets of a wrapped key
FRAME_HEADER = 24
WAL_HEADER = 32


@dataclass
class Loot:
    """What was found: wrapped keys and sealed parts, with the message they may belong to."""

    ids: set[int] = field(default_factory=set)
    keys: set[bytes] = field(default_factory=set)
    sealed: set[bytes] = field(default_factory=set)


def recover(database: Path, master_key: Path, work: Path) -> set[bytes]:
    """Every content part that can be read back, from copies of the live files."""
    work.mkdir()
    loot = Loot()
    files = [path for path in (database, Path(f"{database}-wal")) if path.exists()]
    for state in earlier_states(files, work):
        read_tables(state, loot)
    images = [path.read_bytes() for path in files]
    master = MasterKey.decode(master_key.read_text())
    for image in images:
        carve_keys(image, master, loot)
    for image in images:
        carve_sealed(image, loot)
    return try_all(master, loot)


def earlier_states(files: list[Path], work: Path) -> list[Path]:
    """The database as it is, and as it was after each commit that the write-ahead log still holds."""
    copies: list[Path] = []
    log = files[1].read_bytes() if len(files) > 1 else b""
    page = struct.unpack(">I", log[8:12])[0] if len(log) >= WAL_HEADER else 0
    ends = [0]
    if page:
        for at in range(WAL_HEADER, len(log) - FRAME_HEADER - page + 1, FRAME_HEADER + page):
            (size_after_commit,) = struct.unpack(">I", log[at + 4 : at + 8])
            if size_after_commit:
                ends.append(at + FRAME_HEADER + page)
    for number, end in enumerate(ends):
        copy = work / f"state{number}.db"
        shutil.copy(files[0], copy)
        Path(f"{copy}-wal").write_bytes(log[:end])
        copies.append(copy)
    return copies


def read_tables(state: Path, loot: Loot) -> None:
    # A state that cannot be opened has nothing to read; its octets are carved.
    with contextlib.suppress(sqlite3.DatabaseError):
        with sqlite3.connect(state) as db:
            for message_id, wrapped in db.execute("select id, wrapped_key from messages"):
                loot.ids.add(message_id)
                if wrapped:
                    loot.keys.add(wrapped)
            loot.sealed.update(sealed for (sealed,) in db.execute("select sealed from contents"))
        db.close()


def carve_keys(image: bytes, master: MasterKey, loot: Loot) -> None:
    """Try the master key at every octet, as the wrapped key of every known message."""
    purposes = [b"content of %d" % message_id for message_id in loot.ids]
    for at in range(len(image) - WRAPPED + 1):
        candidate = image[at : at + WRAPPED]
        if candidate.count(0) > 20 or candidate in loot.keys:
            continue
        for purpose in purposes:
            try:
                master.unwrap(candidate, purpose)
            except SealingError:
                continue
            loot.keys.add(candidate)


def carve_sealed(image: bytes, loot: Loot) -> None:
    """Every stretch that could be a ciphertext: the lengths that are known, at every place a known one begins."""
    for sealed in list(loot.sealed):
        head = sealed[:16]
        at = image.find(head)
        while at >= 0:
            loot.sealed.add(image[at : at + len(sealed)])
            at = image.find(head, at + 1)


def try_all(master: MasterKey, loot: Loot) -> set[bytes]:
    """Every key against every ciphertext, under every id."""
    sealer = Sealer(master, Sealer.new_installation_key(master))
    found: set[bytes] = set()
    for message_id in loot.ids:
        for key in loot.keys:
            for sealed in loot.sealed:
                try:
                    found.update(sealer.open(message_id, key, [sealed]))
                except SealingError:
                    continue
    return found
