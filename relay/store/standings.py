"""Counts what became of tenants' mail, judges them by it, and does what follows, all in the transaction that counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from relay.declared import DEFAULT_TENANT
from relay.judging import SENDFLEET, Counts, Enforce, Level, Policy, Verdict, days, judge
from relay.message import Mode
from relay.store import notices, windows
from relay.store.clock import clock, milliseconds
from relay.store.directory import audit, tenants
from relay.store.directory.audit import RELAY
from relay.store.events import Event, note
from relay.store.windows import Counted, Window

__all__ = ["Counted", "count", "judge_by", "policy_of", "sweep"]

TOGETHER = 100  # windows that are looked at again in one transaction
REST = timedelta(hours=24)  # nobody stands better sooner: a rate that hovers at a limit must not write every hour
_OPTION = "relay_standing"
_ACTIONS = {Level.GOOD: "tenant.relieve", Level.WARNED: "tenant.warn", Level.SLOWED: "tenant.slow"}


def judge_by(engine: Engine, policy: Policy) -> None:
    """From now on the transactions of new connections of this engine judge by it."""
    engine.update_execution_options(**{_OPTION: policy})


def policy_of(db: Connection) -> Policy:
    """A command that writes beside the server counts nothing; what it shows, it shows by its own settings."""
    found: Policy = db.get_execution_options().get(_OPTION, SENDFLEET)
    return found


def count(db: Connection, items: Sequence[Counted]) -> None:
    """Add what became of mail, and judge whom it is about."""
    if items:
        count_at(db, items, clock(db))


def count_at(db: Connection, items: Sequence[Counted], now: int) -> None:
    """The same at a given moment, in milliseconds since 1970."""
    policy = policy_of(db)
    _judge(db, policy, windows.add(db, items, policy.window, now), now)


def sweep(db: Connection, items: Sequence[None]) -> Sequence[int]:
    """Let old hours go, and judge whose they were. Returns how many windows that were."""
    return [sweep_at(db, clock(db)) for _ in items]


def sweep_at(db: Connection, now: int) -> int:
    """The same at a given moment."""
    policy = policy_of(db)
    found = windows.behind(db, windows.first_hour(now, policy.window), TOGETHER)
    windows.slide(db, found, policy.window, now)
    _judge(db, policy, found, now)
    return len(found)


def _judge(db: Connection, policy: Policy, found: Sequence[Window], now: int) -> None:
    """What became worse follows at once. What became better, after a rest; a suspension only ends by hand."""
    for window in found:
        verdict = judge(policy, window.counts, window.mode, is_default=window.tenant == DEFAULT_TENANT)
        if verdict.level.badness > window.level.badness:
            _worsen(db, policy, window, verdict, now)
        elif verdict.level is not window.level is not Level.SUSPENDED and now - window.level_at >= milliseconds(REST):
            _better(db, window, verdict, now)


# -- what follows ----------------------------------------------------------------------------------------------------


def _worsen(db: Connection, policy: Policy, window: Window, verdict: Verdict, now: int) -> None:
    before = window.level
    windows.level(db, window, verdict.level, now)
    told = figures(policy, window.counts, window.mode)
    if verdict.level is Level.SUSPENDED:
        if window.is_active:
            tenants.suspend(db, RELAY, window.tenant, verdict.reason, figures=told)
        return
    _record(db, window, before, verdict)
    type = f"tenant.{verdict.level.value}"
    note(db, [Event(type, tenant_id=window.tenant_id, data={"reason": verdict.reason} | told)])
    tenant = tenants.find(db, window.tenant)
    subject, text = _said(policy, window, verdict)
    notices.write(db, tenant.id, tenant.contact, subject, text)


def _better(db: Connection, window: Window, verdict: Verdict, now: int) -> None:
    """Nobody is mailed about good news."""
    before = window.level
    windows.level(db, window, verdict.level, now)
    _record(db, window, before, verdict)


def _record(db: Connection, window: Window, before: Level, verdict: Verdict) -> None:
    audit.record(
        db,
        RELAY,
        _ACTIONS[verdict.level],
        f"tenant {window.tenant}",
        tenant_id=window.tenant_id,
        changes={
            f"standing.{window.mode.value}": [before.value, verdict.level.value],
            "reason": [None, verdict.reason or None],
        },
    )


def figures(policy: Policy, counts: Counts, mode: Mode) -> dict[str, Any]:
    """What an event tells of a window."""
    return {
        "mode": mode.value,
        "window": days(policy.window),
        "sends": counts.sends,
        "bounces": counts.bounces,
        "complaints": counts.complaints,
        "bounce_rate": round(counts.bounce_rate, 6),
        "complaint_rate": round(counts.complaint_rate, 6),
    }


def _said(policy: Policy, window: Window, verdict: Verdict) -> tuple[str, str]:
    """A notice's subject and text."""
    name, sort = window.tenant, "shared mail" if window.mode is Mode.SHARED else "mail"
    if verdict.level is Level.SLOWED:
        then = (
            f"Its {sort} now goes out slowly. If it gets worse, sending is suspended. Remove addresses that bounce, "
            "write only to people who asked for it, and the pace comes back by itself."
        )
        return "Sending is slowed down", f"Sending for {name} is slowed down: {verdict.reason}\n\n{then}"
    is_judged = window.mode is Mode.SHARED and name != DEFAULT_TENANT and policy.enforce is Enforce.SUSPEND
    then = (
        "If it gets worse, sending is slowed down and then suspended."
        if is_judged
        else "Nothing is stopped for that here, but Amazon SES reviews and pauses accounts that send so."
    )
    advice = "Remove addresses that bounce, and write only to people who asked for it."
    return "Too much mail comes back", f"The {sort} of {name} does badly: {verdict.reason}\n\n{then} {advice}"
