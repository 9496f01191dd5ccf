"""Where a person is named in what webhooks are told, and what they answered: sealed, so that it has to be opened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from sqlalchemy import Column, Connection, Select, select, update

from relay.sealing import Sealer, SealingError
from relay.store.erasing import SLICE
from relay.store.hooks import PURPOSE
from relay.store.mentions import Found
from relay.store.schema import ECHOES, events, messages, webhook_attempts, webhook_posts, webhooks
from relay.store.webhooks.log import ANSWER
from relay.store.words import Words


class Told(Enum):
    """What is looked through: a table by its ids. What became of a message, as it is told; what nobody understood; and
    what is to be said of a message whenever there is something to tell."""

    POSTS = "webhook_posts"
    EVENTS = "events"
    ECHOES = "messages"


def named(db: Connection, sealer: Sealer, words: Words, told: Told, after: int) -> Found:
    """Rows in which the address is, among the next SLICE of all that are sealed."""
    which, key = _SEALED[told](words)
    rows = db.execute(which.where(key > after).order_by(key).limit(SLICE)).all()
    answers = _answers(db, sealer, [row.id for row in rows]) if told is Told.POSTS else {}
    found = [
        (row.id,)
        for row in rows
        if _are_in(words, _opened(sealer, row.sealed, PURPOSE))
        or any(_are_in(words, said) for _, said in answers.get(row.id, ()))
    ]
    return Found(tuple(found), rows[-1].id if rows else None)


def forget(db: Connection, sealer: Sealer, words: Words, told: Told, ids: Sequence[int]) -> None:
    """In what is told a mark stands in the place of the address, so that a receiver misses no event; the rest goes."""
    if told is Told.EVENTS:
        db.execute(update(events).where(events.c.id.in_(ids)).values(sealed=None))
    elif told is Told.ECHOES:
        db.execute(update(messages).where(messages.c.id.in_(ids)).values(echo=None))
    else:
        _forget_posts(db, sealer, words, ids)


def _forget_posts(db: Connection, sealer: Sealer, words: Words, ids: Sequence[int]) -> None:
    rows = db.execute(select(webhook_posts.c.id, webhook_posts.c.sealed).where(webhook_posts.c.id.in_(ids))).all()
    for row in rows:
        facts = _opened(sealer, row.sealed, PURPOSE)
        if _are_in(words, facts):
            sealed = sealer.seal_secret(words.without_in_json(facts), PURPOSE)
            db.execute(update(webhook_posts).where(webhook_posts.c.id == row.id).values(sealed=sealed))
    for post_id, answers in _answers(db, sealer, ids).items():
        numbers = [number for number, said in answers if _are_in(words, said)]
        theirs = webhook_attempts.c.post_id == post_id, webhook_attempts.c.number.in_(numbers)
        db.execute(update(webhook_attempts).where(*theirs).values(sealed_answer=None))


def _posts(words: Words) -> tuple[Select[Any], Column[int]]:
    joined = webhook_posts.join(webhooks, webhooks.c.id == webhook_posts.c.webhook_id)
    which = select(webhook_posts.c.id, webhook_posts.c.sealed).select_from(joined)
    return which.where(words.within(webhooks.c.tenant_id)), webhook_posts.c.id


def _events(words: Words) -> tuple[Select[Any], Column[int]]:
    which = select(events.c.id, events.c.sealed).where(events.c.sealed.is_not(None))
    return which.where(words.within(events.c.tenant_id)), events.c.id


def _echoes(words: Words) -> tuple[Select[Any], Column[int]]:
    which = select(messages.c.id, messages.c.echo.label("sealed")).where(ECHOES)
    return which.where(words.within(messages.c.tenant_id)), messages.c.id


_SEALED: dict[Told, Callable[[Words], tuple[Select[Any], Column[int]]]] = {
    Told.POSTS: _posts,
    Told.EVENTS: _events,
    Told.ECHOES: _echoes,
}


def _answers(db: Connection, sealer: Sealer, post_ids: Sequence[int]) -> dict[int, list[tuple[int, str]]]:
    """What receivers answered to each post, with the attempt's number."""
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for row in db.execute(
        select(webhook_attempts.c.post_id, webhook_attempts.c.number, webhook_attempts.c.sealed_answer).where(
            webhook_attempts.c.post_id.in_(post_ids), webhook_attempts.c.sealed_answer.is_not(None)
        )
    ):
        found[row.post_id].append((row.number, _opened(sealer, row.sealed_answer, ANSWER)))
    return found


def _opened(sealer: Sealer, sealed: bytes, purpose: str) -> str:
    """ "" for what nobody can open any more."""
    try:
        return sealer.open_secret(sealed, purpose)
    except SealingError:
        return ""


def _are_in(words: Words, text: str) -> bool:
    if words.are_in(text):
        return True
    try:
        return words.are_in_json(text or None)
    except ValueError:
        return False
