"""Who is told of what over HTTP, as the transactions of a server know it: in memory, so that asking costs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from relay.sealing import Sealer

PURPOSE = "webhook"  # what is sealed for the outbox
_OPTION = "relay_hooks"


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook that is enabled. `events`: names, `email.*`, or `*`. `domains` None: of all sender domains.

    `tells`: what there is in its dialect. None: everything.
    """

    id: int
    tenant_id: int
    events: tuple[str, ...]
    domains: frozenset[str] | None
    tells: frozenset[str] | None = None

    def wants(self, type: str, domain: str | None) -> bool:
        if self.domains is not None and domain not in self.domains:
            return False
        if self.tells is not None and type not in self.tells:
            return False
        family = f"{type.partition('.')[0]}.*"
        return any(each in {"*", type, family} for each in self.events)


class Hooks:
    """All of an installation that are enabled. `replace` when the directory changed; any thread may ask."""

    def __init__(self, sealer: Sealer, hooks: Iterable[Hook] = ()) -> None:
        self._sealer = sealer
        self._of: Mapping[int, tuple[Hook, ...]] = {}
        self.replace(hooks)

    def replace(self, hooks: Iterable[Hook]) -> None:
        theirs: dict[int, tuple[Hook, ...]] = {}
        for hook in hooks:
            theirs[hook.tenant_id] = (*theirs.get(hook.tenant_id, ()), hook)
        self._of = theirs

    def __bool__(self) -> bool:
        return bool(self._of)

    def has(self, tenant_id: int) -> bool:
        """Whether the tenant is told of anything."""
        return tenant_id in self._of

    def wanting(self, tenant_id: int, type: str, domain: str | None) -> tuple[int, ...]:
        """The hooks to be told of such an event, by their ids."""
        return tuple(hook.id for hook in self._of.get(tenant_id, ()) if hook.wants(type, domain))

    def seal(self, facts: Mapping[str, Any]) -> bytes:
        return self.seal_text(json.dumps(facts, separators=(",", ":")))

    def seal_text(self, text: str) -> bytes:
        """What nobody understands, as it came."""
        return self._sealer.seal_secret(text, PURPOSE)

    def open(self, sealed: bytes) -> dict[str, Any]:
        """Raises SealingError."""
        facts: dict[str, Any] = json.loads(self._sealer.open_secret(sealed, PURPOSE))
        return facts


def tell_hooks(engine: Engine, hooks: Hooks) -> None:
    """From now on what the transactions of new connections of this engine note goes to the outbox, too."""
    engine.update_execution_options(**{_OPTION: hooks})


def hooks_of(db: Connection) -> Hooks | None:
    """None where a command writes beside the server that does the telling."""
    found: Hooks | None = db.get_execution_options().get(_OPTION)
    return found
