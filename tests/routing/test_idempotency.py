"""One key is in one hand at a time, on both databases; what names a submission, and what it is answered."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from relay.errors import Fault, Kind, Problem
from relay.message import Acceptance, Address, Addressee, Mode, Submission, Trace
from relay.routing import answers
from relay.routing.idempotency import MESSAGE, Idempotency, with_envelope
from relay.sealing import Sealer
from relay.store.accepting import Together, accept
from relay.store.clock import now_ms
from relay.store.store import Store
from relay.store.writer import Rank
from tests.store.stories import MASTER, message, play


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
        new = Together((message(store, tenant),), again.once('"done"', now_ms()))
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


def test_another_request_under_the_same_key_is_refused(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        once = Idempotency(store)
        asked, other = (store.sealer.hash_octets(each, "request") for each in (b"{}", b"[]"))
        claim = await once.claim(tenant, "/send", "k", asked)
        new = Together((message(store, tenant),), claim.once('"done"', now_ms()))
        assert await store.write(accept, new, Rank.ACCEPT) is None
        claim.release()
        assert (await once.claim(tenant, "/send", "k", asked)).answer == '"done"'
        for _ in range(2):  # a refusal takes nothing in hand
            with pytest.raises(Problem) as refused:
                await once.claim(tenant, "/send", "k", other)
            assert refused.value.kind is Kind.IDEMPOTENCY_CLASH

    play(url, story)


SEALER = Sealer(MASTER, Sealer.new_installation_key(MASTER))
ACCEPTANCES = st.builds(
    Acceptance,
    st.text(),
    st.text(),
    st.integers(0, 2**63 - 1),
    st.sampled_from(Mode),
    st.none() | st.integers(0, 2**63 - 1),
    st.lists(st.text(), max_size=3).map(tuple),
)
FAULTS = st.lists(st.builds(Fault, st.text(), st.text()), max_size=3).map(tuple)
WAITS = st.none() | st.integers(0, 10**9).map(lambda each: timedelta(milliseconds=each))
PROBLEMS = st.builds(
    lambda kind, detail, faults, wait: Problem(kind, detail, faults=faults, retry_after=wait),
    st.sampled_from(Kind),
    st.text(),
    FAULTS,
    WAITS,
)


def shown(outcome: answers.Outcome) -> object:
    return outcome if isinstance(outcome, Acceptance) else vars(outcome)


@given(st.lists(ACCEPTANCES | PROBLEMS, max_size=4))
def test_an_answer_is_read_as_it_was_written(outcomes: list[answers.Outcome]) -> None:
    found = answers.read(answers.written(outcomes, SEALER), SEALER)
    assert list(map(shown, found)) == list(map(shown, outcomes))


def test_a_refusal_that_is_kept_is_sealed() -> None:
    kept = answers.written([Problem(Kind.SUPPRESSED, "ana@one.test is on the list")], SEALER)
    assert kept.startswith(answers.SEALED)
    assert "ana" not in kept
