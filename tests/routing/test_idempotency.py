"""One key is in one hand at a time, on both databases; what names a submission, and what it is answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from relay.errors import Kind, Problem
from relay.message import Acceptance, Address, Addressee, Submission, Trace
from relay.routing.idempotency import MESSAGE, Idempotency, read, with_envelope, written
from relay.store.accepting import accept
from relay.store.clock import now_ms
from relay.store.store import Store
from relay.store.writer import Rank
from tests.store.stories import message, play


def test_while_the_first_is_in_hand_others_are_told_to_come_again(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        once = Idempotency(store)
        claims = await asyncio.gather(*(once.claim(tenant, MESSAGE, "k") for _ in range(5)), return_exceptions=True)
        first, *others = claims
        assert not isinstance(first, BaseException)
        assert first.answer is None
        for refused in others:
            assert isinstance(refused, Problem)
            assert (refused.kind, refused.kind.smtp) == (Kind.IDEMPOTENCY_BUSY, 451)
            assert refused.retry_after is not None
        for others_key in ((tenant, MESSAGE, "K"), (tenant, "/send", "k"), (tenant + 1, MESSAGE, "k")):
            assert (await once.claim(*others_key)).answer is None

        first.release()  # it was refused: nothing was done under the key
        again = await once.claim(tenant, MESSAGE, "k")
        new = replace(message(store, tenant), once=again.once('"done"', now_ms()))
        assert await store.write(accept, new, Rank.ACCEPT) is None
        again.release()
        for _ in range(2):  # an answer needs no hand
            assert (await once.claim(tenant, MESSAGE, "k")).answer == '"done"'

    play(url, story)


def submission(sender: str | None, *recipients: str, raw: bytes = b"") -> Submission:
    people = tuple(Addressee(Address.parse(each)) for each in recipients)
    return Submission(Address.parse(sender) if sender else None, people, raw, Trace("ESMTP"))


SAME = with_envelope("k", submission("me@ours.test", "a@one.test", "b@one.test"))


@pytest.mark.parametrize(
    ("key", "other", "is_same"),
    [
        ("k", submission("me@ours.test", "b@one.test", "a@one.test", raw=b"Date: later\r\n"), True),
        ("k", submission("ME@ours.TEST", "A@One.test", "b@one.test", "B@one.test"), True),
        ("K", submission("me@ours.test", "a@one.test", "b@one.test"), False),
        ("k", submission("me@ours.test", "a@one.test"), False),
        ("k", submission("me@ours.test", "a@one.test", "b@one.test", "c@one.test"), False),
        ("k", submission("you@ours.test", "a@one.test", "b@one.test"), False),
        ("k", submission(None, "me@ours.test", "a@one.test", "b@one.test"), False),
    ],
)
def test_a_key_and_its_envelope_are_one_submission(key: str, other: Submission, is_same: bool) -> None:
    assert (with_envelope(key, other) == SAME) is is_same


@given(
    st.builds(Acceptance, st.text(), st.text(), st.integers(0, 2**63 - 1), st.lists(st.text(), max_size=3).map(tuple))
)
def test_an_answer_is_read_as_it_was_written(acceptance: Acceptance) -> None:
    assert read(written(acceptance)) == acceptance
