"""Holds and releases lots of mail, slice by slice beside a running server, with its progress on a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from relay.cli.options import actor
from relay.cli.transfers import progress
from relay.errors import Kind, Problem
from relay.message import canonical_domain
from relay.settings import Settings
from relay.store import lots
from relay.store.beside import open_beside
from relay.store.directory import tenants
from relay.store.hand import Verb
from relay.store.lots import Lot
from relay.store.sweeping import SLICE


def require_one(*given: object) -> None:
    """Raises Problem(BAD_REQUEST) unless just one way was taken to say which mail is meant."""
    if sum(map(bool, given)) != 1:
        raise Problem(Kind.BAD_REQUEST, "name a message, or say which: --domain, --tenant or --all; one of them")


def move_lot(
    settings: Settings, verb: Verb, *, domain: str | None, tenant: str | None, kinds: Sequence[str], reason: str
) -> int:
    """Returns how many deliveries moved. Raises Problem(NOT_FOUND) for a tenant that is not there."""

    async def work() -> int:
        async with open_beside(settings) as store:
            found = None if tenant is None else await store.read(lambda db: tenants.find(db, tenant))
            name = None if domain is None else canonical_domain(domain)
            target = f"domain {name}" if name else f"tenant {tenant}" if tenant else "all mail"
            lot = Lot(target, name, None if found is None else found.id, tuple(kinds))
            ids = await store.read(lambda db: lots.found(db, verb, lot))
            if not ids:
                return 0
            await store.change(lambda db: lots.note(db, verb, lot, actor(), len(ids), reason))
            moved = 0
            with progress("deliveries", len(ids)) as advance:
                for at in range(0, len(ids), SLICE):
                    moved += await store.change(lots.moving(verb, lot, ids[at : at + SLICE], actor(), reason))
                    advance(min(SLICE, len(ids) - at))
            return moved

    return asyncio.run(work())
