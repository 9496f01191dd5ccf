"""Renders what happened in the dialect of a webhook. What comes out are the octets that are signed and posted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.feedback.webhooks.dialects import mailerlogic, native, sendex, sendfleet, sendmux
from relay.feedback.webhooks.told import Json, Told
from relay.store.directory.installation import shown
from relay.store.journal import event_id, outward
from relay.telling import NAMES, Dialect

_BODIES: Mapping[Dialect, Callable[[Told], Json]] = {
    Dialect.NATIVE: native.body,
    Dialect.SENDFLEET: sendfleet.body,
    Dialect.SENDEX: sendex.body,
    Dialect.MAILERLOGIC: mailerlogic.body,
    Dialect.SENDMUX: sendmux.body,
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """`type` is the dialect's name of what happened."""

    type: str
    body: bytes = field(repr=False)


def rendered(
    dialect: Dialect, facts: Mapping[str, Any], *, tenant: str, tenant_id: int, webhook: str
) -> Rendered | None:
    """None: the dialect has no such event.

    `facts` as `relay.store.events.facts` made them; `tenant`, `tenant_id`: whose the webhook is; `webhook`: its id as
    shown. The same facts are the same octets, whenever they are rendered: a repeated post is equal to the first.
    """
    type: str = facts["type"]
    name = NAMES[dialect].get(type) if dialect in NAMES else type
    if name is None:
        return None
    told = Told(
        id=event_id(facts["id"]),
        type=type,
        name=name,
        at=facts["at"],
        account=facts.get("account"),
        domain=facts.get("domain"),
        tenant=tenant,
        team=shown(tenant_id),
        webhook=webhook,
        details=outward(facts.get("data") or {}),
        message=dict(facts.get("message") or {}),
        recipients=list(facts.get("recipients") or ()),
    )
    return Rendered(name, _octets(_BODIES[dialect](told)))


def _octets(body: Json) -> bytes:
    """As JavaScript writes JSON: a receiver that signs what it parsed, instead of what came, gets the same."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
