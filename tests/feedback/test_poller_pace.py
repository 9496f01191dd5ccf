"""How fast a queue is read, and what its answers mean: tables."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind
from relay.feedback import pace
from relay.ses.clients import Accounts
from relay.ses.errors import Answer, Scope, SesProblem
from relay.ses.remedies import Place
from relay.ses.sqs import _dead_letters, meaning
from tests.feedback.sqs_stand import DENIED, MISSING, queue_of, standing
from tests.processes import free_ports

# fmt: off
RECEIVES = [
    # before  answers             next
    (1,       [10],               2),
    (1,       [7],                2),
    (1,       [6],                1),
    (1,       [0],                1),
    (2,       [10, 10],           4),
    (4,       [10, 10, 10, 10],   4),
    (4,       [10, 10, 8, 0],     4),
    (4,       [10, 10, 7, 0],     2),
    (4,       [10, 10],           2),  # two of the calls failed
    (2,       [3, 0],             1),
    (4,       [0, 0, 0, 0],       1),
]
RESTS = [
    # worked, each until when, and whether others waited      the next may begin at
    ([(0.012, 1.0, True)],                                    1.088),
    ([(0.012, 1.0, False)],                                   1.0),
    ([(0.012, 1.0, True), (0.024, 1.0, True)],                1.264),  # two feeds: what both leave adds up
    ([(0.012, 1.0, True), (0.024, 9.0, True)],                9.176),
    ([(0.012, 1.0, True), (0.024, 1.0, False)],               1.088),
    ([(60.0, 1.0, True)],                                     1.0 + pace.LONGEST_REST),
]
# fmt: on


@pytest.mark.parametrize(("before", "answers", "after"), RECEIVES)
def test_more_is_received_at_once_while_answers_are_full(before: int, answers: list[int], after: int) -> None:
    assert pace.receives(before, answers, 10) == after


@pytest.mark.parametrize(("works", "free_at"), RESTS)
def test_who_is_not_alone_works_a_part_of_the_time(works: list[tuple[float, float, bool]], free_at: float) -> None:
    courtesy = pace.Courtesy()
    for span, now, is_busy in works:
        courtesy.worked(span, now, is_busy=is_busy)
    assert works[-1][1] + courtesy.wait(works[-1][1]) == pytest.approx(free_at)
    assert courtesy.wait(free_at + 1) == 0


@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=10))
def test_however_many_feeds_work_together_they_keep_to_their_share(spans: list[float]) -> None:
    courtesy = pace.Courtesy()
    for span in spans:
        courtesy.worked(span, 0.0, is_busy=True)
    rest = courtesy.wait(0.0)
    assert sum(spans) == pytest.approx(pace.SHARE * (sum(spans) + rest)) or rest == pace.LONGEST_REST


@given(st.integers(1, 10_000))
def test_a_try_comes_within_a_minute(failures: int) -> None:
    assert 1 <= pace.backoff(failures) <= pace.backoff(failures + 1) <= 60


PLACE = Place("acme", "eu-west-1")


@pytest.mark.parametrize("code", [MISSING[0], "QueueDoesNotExist"])
def test_a_queue_that_is_missing_is_made_by_a_command(code: str) -> None:
    problem = meaning("relay-events", PLACE, Answer(code, 400, "The specified queue does not exist."))
    assert (problem.kind, problem.scope) == (Kind.SES_CONFIG, Scope.ACCOUNT)
    assert problem.detail == (
        "there is no queue relay-events in eu-west-1: run `relay account setup acme`, which makes it"
    )


async def asked(refused: tuple[str, str]) -> SesProblem:
    async with standing() as stand, Accounts() as accounts:
        stand.refused["ReceiveMessage"] = refused
        queue = queue_of(accounts, stand.url)
        with pytest.raises(SesProblem) as caught:
            await queue.receive(0)
        await queue.close()
        return caught.value


SETUP = "`relay account setup acme --dry-run` prints a policy for reading events"
REFUSED = [
    (DENIED, Kind.SES_DENIED, f"in a policy of arn:aws:iam::1:user/relay; {SETUP}"),
    (("AccessDenied", "Access to the resource is denied."), Kind.SES_DENIED, SETUP),
    (("InvalidClientTokenId", "The security token is invalid."), Kind.SES_DENIED, "`relay account set acme`"),
    (("KMS.DisabledException", "The key is disabled."), Kind.SES_DENIED, "allow kms:Decrypt on that key"),
    (("OverLimit", "Too many messages in flight."), Kind.SES_UNFORESEEN, "OverLimit: Too many messages"),
]


@pytest.mark.parametrize(("refused", "kind", "said"), REFUSED, ids=[refused[0] for refused, *_ in REFUSED])
def test_what_sqs_refuses_says_what_to_do(refused: tuple[str, str], kind: Kind, said: str) -> None:
    problem = asyncio.run(asked(refused))
    assert (problem.kind, problem.scope) == (kind, Scope.ACCOUNT if kind is Kind.SES_DENIED else Scope.MESSAGE)
    assert said in problem.detail


def test_a_queue_out_of_reach_is_sqs_and_not_ses() -> None:
    async def story() -> SesProblem:
        async with Accounts() as accounts:
            queue = queue_of(accounts, f"http://127.0.0.1:{free_ports(1)[0]}")
            with pytest.raises(SesProblem) as caught:
                await queue.receive(0)
            await queue.close()
            return caught.value

    problem = asyncio.run(story())
    assert problem.kind is Kind.SES_UNAVAILABLE
    assert "let this machine reach SQS in eu-west-1 by HTTPS" in problem.detail


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (
            '{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:relay-events-dead", "maxReceiveCount": 5}',
            "relay-events-dead",
        ),
        ('{"deadLetterTargetArn": ""}', None),
        ("{}", None),
        ("[]", None),
        ("no JSON", None),
        (None, None),
    ],
)
def test_a_dead_letter_queue_is_known_by_its_arn(policy: str | None, name: str | None) -> None:
    assert _dead_letters(policy) == name
