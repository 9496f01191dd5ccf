"""Fills in stored templates: keeps them as they were read, and what takes long away from the event loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from relay.errors import Kind, Problem
from relay.store import templates
from relay.store.store import Store
from relay.store.templates import MOST_VERSIONS, Version, Written, not_found
from relay.templates.template import Filled, NotQuick, Source, Template, read

MOST_KEPT = 16 << 20  # octets of templates as they were read, about
PER_MARKUP = 500  # octets that a tag or variable takes
AT_ONCE = 2  # threads
MOST_WAITING = 100  # of a tenant
RETRY_AFTER = timedelta(seconds=10)

Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Turn:
    """A tenant's: one at a time, so that none takes every thread from the others."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Filling:
    """One for a server."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], tuple[int, Template]] = OrderedDict()
        self._weight = 0
        self._turns: dict[int, _Turn] = {}
        self._threads = asyncio.Semaphore(AT_ONCE)

    async def read(self, tenant_id: int, written: Written) -> Template:
        """Raises Flawed, and Problem(OVERLOADED)."""
        source = Source(written.subject, written.text, written.html, written.missing)
        return await self._beside_the_loop(tenant_id, lambda: read(source))

    async def stored(self, store: Store, tenant_id: int, name: str, version: int | None = None) -> Template:
        """A version of a stored template, without a number the newest. Raises Problem(NOT_FOUND), and as `read`."""
        found = await store.latest_template(tenant_id, name)
        if found is None:
            raise not_found(name)
        template_id, latest = found
        wanted = version or latest
        if not latest - MOST_VERSIONS < wanted <= latest:
            raise Problem(Kind.NOT_FOUND, f"the template {name} has no version {wanted}")
        if (kept := self._kept.get((template_id, wanted))) is not None:
            self._kept.move_to_end((template_id, wanted))
            return kept[1]
        return await self.shown(tenant_id, await store.read(lambda db: templates.find(db, tenant_id, name, wanted)))

    async def shown(self, tenant_id: int, version: Version) -> Template:
        """The same, of a version that is at hand."""
        key = (version.template_id, version.version)
        if (kept := self._kept.get(key)) is not None:
            return kept[1]
        made = await self.read(tenant_id, version.written)
        self._keep(key, _weight(version.written), made)
        return made

    async def fill(
        self, tenant_id: int, template: Template, variables: Mapping[str, object], missing: str | None = None
    ) -> Filled:
        """Raises Flawed, and Problem(OVERLOADED)."""
        try:
            return template.fill(variables, missing, is_quick=True)
        except NotQuick:
            return await self._beside_the_loop(tenant_id, lambda: template.fill(variables, missing))

    async def _beside_the_loop(self, tenant_id: int, work: Callable[[], Answer]) -> Answer:
        turn = self._turns.setdefault(tenant_id, _Turn())
        if turn.waiting >= MOST_WAITING:
            raise Problem(Kind.OVERLOADED, "too many templates are being filled in", retry_after=RETRY_AFTER)
        turn.waiting += 1
        try:
            async with turn.lock, self._threads:
                return await asyncio.to_thread(work)
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                self._turns.pop(tenant_id, None)

    def _keep(self, key: tuple[int, int], weight: int, template: Template) -> None:
        before, _ = self._kept.pop(key, (0, None))
        self._kept[key] = weight, template
        self._weight += weight - before
        while self._weight > MOST_KEPT:
            _, (gone, _) = self._kept.popitem(last=False)
            self._weight -= gone


def _weight(written: Written) -> int:
    return sum(
        len(part) + PER_MARKUP * part.count("{") for part in (written.subject, written.text, written.html) if part
    )
