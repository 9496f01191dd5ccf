"""What store tests share: a store opened on a fresh database, and messages to put in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from sqlalchemy.engine import URL

from relay.delivery import State
from relay.judging import SENDFLEET, Policy
from relay.message import Address, Addressee, Dsn, Ids, Mode, Options, Stream, new_public_id
from relay.sealing import MasterKey
from relay.store import database
from relay.store.accepting import Together, accept
from relay.store.arriving import NewDelivery, NewMessage
from relay.store.clock import milliseconds, now_ms
from relay.store.directory import installation
from relay.store.reports import Reporting
from relay.store.store import Store, open_store
from relay.store.writer import Rank

T = TypeVar("T")
MASTER = MasterKey(bytes(32))
IDS = Ids()


def play(
    url: URL,
    story: Callable[[Store, int], Awaitable[T]],
    reporting: Reporting | None = None,
    *,
    policy: Policy = SENDFLEET,
) -> T:
    """Run a story on an opened store; it is also given the default tenant."""

    async def whole() -> T:
        if not database.is_sqlite(url):
            await database.migrate_postgresql(url)
        async with open_store(url, MASTER, reporting, policy=policy) as store:
            return await story(store, await store.read(installation.default_tenant))

    return asyncio.run(whole())


def message(
    store: Store,
    tenant_id: int,
    *groups: tuple[str, ...],
    content: bytes = b"Subject: hi\r\n\r\nbody\r\n",
    mode: Mode = Mode.BYOC,
    stream: Stream = Stream.TRANSACTIONAL,
    state: State = State.QUEUED,
    domain: str = "byoc.example",
    keep_for: timedelta | None = None,
    accepted_at: int | None = None,
    account: str | None = None,
) -> NewMessage:
    """A message with one delivery per group of recipients."""
    message_id = IDS.next()
    at = now_ms() if accepted_at is None else accepted_at
    wrapped, parts = store.sealer.seal(message_id, content)

    def addressee(text: str) -> tuple[int, Addressee, bytes]:
        address = Address.parse(text)
        return IDS.next(), Addressee(address), store.sealer.hash_address(address.folded)

    return NewMessage(
        id=message_id,
        public_id=new_public_id(),
        tenant_id=tenant_id,
        key_id=None,
        protocol="ESMTP",
        domain=domain,
        mode=mode,
        stream=stream,
        mail_from=f"me@{domain}",
        header_from=f"me@{domain}",
        subject=None,
        rfc_message_id="<1@x>",
        ledger="[]",
        size=len(content),
        accepted_at=at,
        wrapped_key=wrapped,
        parts=tuple(parts),
        keep_until=None if keep_for is None else at + milliseconds(keep_for),
        due_at=at,
        state=state,
        deliveries=tuple(
            NewDelivery(IDS.next(), tuple(addressee(each) for each in group))
            for group in groups or (("ana@dest.example",),)
        ),
        dsn=Dsn(),
        options=Options(),
        forgets=mode is Mode.BYOC,
        account=account,
    )


async def put(store: Store, new: NewMessage) -> NewMessage:
    await store.write(accept, Together((new,)), Rank.ACCEPT, new.size)
    return new
