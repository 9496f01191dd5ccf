"""Mirrors an SES account's own suppression list into the list here, and if asked to the other way too."""

from __future__ import annotations

import asyncio
import hashlib
import time
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from relay.errors import Kind, Problem
from relay.ses import suppression
from relay.ses.errors import Scope, SesProblem
from relay.ses.suppression import Suppressed
from relay.ses.wire import SesAccount as Ses
from relay.store.beside import Changes
from relay.store.clock import moment_ms
from relay.store.directory import audit
from relay.store.directory.accounts import SesAccount
from relay.store.directory.audit import Actor
from relay.store.directory.paging import Asked
from relay.store.suppressions import EVERYONE, PAGE, Batch, Entry, Suppression, import_rows, listed

SOURCE = "ses-account"
PACE = 1.0  # seconds from one change of SES's list to the next: SES takes about one such call a second (SES fact 1.2)
PATIENCE = (2.0, 4.0, 8.0)  # seconds between tries of one call that SES throttles


@dataclass(frozen=True, slots=True)
class Mirrored:
    """`pulled` were new here, `pushed` new to SES; `skipped` either side had already, or could not take."""

    pulled: int
    pushed: int
    skipped: int


class _Seen:
    """Which addresses SES has: eight octets each, where a million texts would take a hundred megabytes."""

    def __init__(self) -> None:
        self._digests = array("Q")

    def add(self, addresses: Iterable[str]) -> None:
        self._digests.extend(map(_digest, addresses))

    def sort(self) -> None:
        self._digests = array("Q", sorted(self._digests))

    def __contains__(self, address: str) -> bool:
        digest = _digest(address)
        at = bisect_left(self._digests, digest)
        return at < len(self._digests) and self._digests[at] == digest


def _digest(address: str) -> int:
    return int.from_bytes(hashlib.blake2b(address.encode(), digest_size=8).digest(), "big")


async def mirror(
    store: Changes,
    account: SesAccount,
    ses: Ses,
    actor: Actor,
    *,
    is_pushing: bool,
    progress: Callable[[int], None],
) -> Mirrored:
    """Pull what SES suppresses onto the list of the account's tenant, or of everyone where it is the operator's.

    What is listed here stays as it is, and nothing is taken off either list. `is_pushing`: put to SES, one a second,
    what that same list has for good and for a bounce, a complaint or by hand. `progress` is told of entries as they
    are done. Raises SesProblem; what was mirrored until then stays.
    """
    tenant_id = EVERYONE if account.tenant_id is None else account.tenant_id
    if is_pushing:
        await _require_production(account, ses)
    seen = _Seen()
    pulled = skipped = 0
    try:
        async for page in suppression.suppressed(ses):
            entries = [entry for each in page if (entry := _entry(each))]
            added = await _pull(store, actor, tenant_id, entries)
            pulled += added
            skipped += len(page) - added
            if is_pushing:
                seen.add(entry.address for entry in entries)
            progress(len(page))
        pushed = 0
        if is_pushing:
            seen.sort()
            pushed, refused = await _push(store, actor, account, ses, seen, progress)
            skipped += refused
    except SesProblem as problem:
        raise _explained(account, problem) from problem
    return Mirrored(pulled, pushed, skipped)


# -- from SES --------------------------------------------------------------------------------------------------------


def _entry(each: Suppressed) -> Entry | None:
    """None for what is no address here; nobody can send to it either."""
    try:
        return Entry.parse(each.address, each.reason.lower(), SOURCE, created_at=moment_ms(each.at))
    except Problem:
        return None


async def _pull(store: Changes, actor: Actor, tenant_id: int, entries: Sequence[Entry]) -> int:
    if not entries:
        return 0
    [added] = await store.change(lambda db: import_rows(db, [Batch(actor, tenant_id, entries)]))
    return added


# -- to SES ----------------------------------------------------------------------------------------------------------


async def _require_production(account: SesAccount, ses: Ses) -> None:
    try:
        is_production = (await ses.quota()).is_production
    except SesProblem as problem:
        if problem.kind is not Kind.SES_DENIED:
            raise
        return  # it may not ask for that; SES will say
    if not is_production:
        said = f"the SES account {account.name} is in the SES sandbox, where SES lets nobody add to its list"
        remedy = "ask AWS for production access, or mirror without pushing"
        raise SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, said, remedy=remedy)


async def _push(
    store: Changes, actor: Actor, account: SesAccount, ses: Ses, seen: _Seen, progress: Callable[[int], None]
) -> tuple[int, int]:
    pushed = refused = 0
    next_at = time.monotonic()
    try:
        async for each in _ours(store, EVERYONE if account.tenant_id is None else account.tenant_id):
            if each.address in seen:
                continue
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            next_at = time.monotonic() + PACE
            if await _put(ses, each):
                pushed += 1
            else:
                refused += 1
            progress(1)
    finally:
        if pushed:
            target, changes = f"account {account.name}", {"entries": [0, pushed]}
            record = partial(
                audit.record,
                actor=actor,
                action="suppression.push",
                target=target,
                tenant_id=account.tenant_id,
                changes=changes,
                is_seen=False,
            )
            await store.change(record)
    return pushed, refused


async def _ours(store: Changes, tenant_id: int) -> AsyncIterator[Suppression]:
    """What SES may be told of: it knows no end of an entry, and no other reasons."""
    cursor: str | None = None
    while True:
        page = await store.read(partial(listed, asked=Asked(PAGE, cursor), tenant_id=tenant_id))
        for each in page.items:
            if each.expires_at is None and (each.reason in {"bounce", "complaint"} or each.source == "manual"):
                yield each
        if (cursor := page.next_cursor) is None:
            return


async def _put(ses: Ses, each: Suppression) -> bool:
    """False where SES does not take this one address."""
    reason = "COMPLAINT" if each.reason == "complaint" else "BOUNCE"
    for pause in (*PATIENCE, None):
        try:
            await suppression.put(ses, each.address, reason)
        except SesProblem as problem:
            if problem.kind is Kind.SES_REJECTED:
                return False
            if problem.kind is not Kind.SES_THROTTLED or pause is None:
                raise
            await asyncio.sleep(pause)
        else:
            break
    return True


def _explained(account: SesAccount, problem: SesProblem) -> SesProblem:
    """AWS names the one permission that was missing; it takes a few."""
    if problem.kind is not Kind.SES_DENIED or problem.remedy:
        return problem
    remedy = f"allow {account.name} ses:ListSuppressedDestinations, and ses:PutSuppressedDestination to push"
    return SesProblem(problem.kind, problem.scope, problem.said, remedy=remedy, code=problem.code)
