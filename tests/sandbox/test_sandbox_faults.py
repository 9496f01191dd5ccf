"""Scripted faults, each as an AWS client meets it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from relay.sandbox import rest, sns_subscriptions, sqs_queues
from relay.sandbox.faults import BadScript, read_script
from relay.sandbox.operations import OPERATIONS


@pytest.mark.parametrize(
    ("fault", "code", "status", "message"),
    [
        ({"error": "TooManyRequestsException"}, "TooManyRequestsException", 429, "Maximum sending rate exceeded."),
        ({"error": "ServiceUnavailable"}, "ServiceUnavailable", 503, None),
        ({"error": "SendingPausedException", "message": "Paused."}, "SendingPausedException", 400, "Paused."),
        ({"error": "MessageRejected", "message": None}, "MessageRejected", 400, None),
        ({"error": "NewException", "status": 418, "message": "x"}, "NewException", 418, "x"),
    ],
)
def test_errors(play: Any, fault: dict[str, Any], code: str, status: int, message: str | None) -> None:
    async def story(world: Any) -> None:
        await world.script(times=2, fault=fault)
        for _ in range(2):
            with pytest.raises(ClientError) as refused:
                await world.send()
            response = refused.value.response
            assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
            assert response["Error"]["Message"] == message
        assert await world.messages() == []
        await world.send()

    play(story)


def test_close_closes_and_takes_nothing(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault="close")
        with pytest.raises(ConnectionClosedError):
            await world.send()
        assert await world.messages() == []
        await world.send()

    play(story)


def test_accept_then_close_takes_the_message(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault="accept_then_close")
        with pytest.raises(ConnectionClosedError):
            await world.send()
        assert len(await world.messages()) == 1

    play(story)


def test_what_is_refused_is_refused_before_the_close(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault="accept_then_close")
        with pytest.raises(ClientError, match="Missing required header"):
            await world.send(b"\r\n")

    play(story)


def test_hang_never_answers(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault="hang")
        ses = await world.client("sesv2", read_timeout=0.2)
        with pytest.raises(ReadTimeoutError):
            await ses.send_email(Content={"Raw": {"Data": b"\r\n"}})
        assert await world.messages() == []

    play(story)


def test_slow_takes_at_once_and_answers_late(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault={"slow": 0.2})
        id = await world.send()
        answered_at = datetime.now(UTC)
        [message] = await world.messages()
        assert message["id"] == id
        assert answered_at - datetime.fromisoformat(message["received_at"]) >= timedelta(seconds=0.2)

    play(story)


def test_a_slow_answer_does_not_wait_for_a_client_that_left(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault={"slow": 3600})
        ses = await world.client("sesv2", read_timeout=0.5)
        with pytest.raises(ReadTimeoutError):
            await ses.send_email(
                Content={"Raw": {"Data": b"From: a@shared.example\r\n\r\n"}}, Destination={"ToAddresses": ["x@d.test"]}
            )
        assert len(await world.messages()) == 1

    play(story)


def test_garbage(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault="garbage")
        with pytest.raises(KeyError, match="MessageId"):
            await world.send()
        assert await world.messages() == []

    play(story)


def test_a_fault_waits_for_its_account_and_operation(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        await world.script(account="slowpoke", times=None, fault={"error": "AccountSuspendedException"})
        await world.script(operation="GetAccount", fault={"error": "InternalFailure"})
        await world.script(account="operator", operation="ReceiveMessage", fault={"error": "ServiceUnavailable"})
        await world.send(raw)
        for _ in range(3):
            with pytest.raises(ClientError, match="AccountSuspendedException"):
                await world.send(raw, "slowpoke")
        ses, sqs = await world.client("sesv2"), await world.client("sqs")
        with pytest.raises(ClientError, match="InternalFailure"):
            await ses.get_account()
        await ses.get_account()
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            await sqs.receive_message(QueueUrl=f"{world.url}/operator/relay-events")
        async with world.http.delete(f"{world.url}/faults") as response:
            assert response.status == 204
        await world.send(raw, "slowpoke")

    play(story)


def test_scripts_are_listed_with_what_is_left_of_them(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(times=2, fault={"error": "MessageRejected"})
        await world.script(account="customer", operation="GetAccount", times=None, fault="hang")
        with pytest.raises(ClientError):
            await world.send()
        async with world.http.get(f"{world.url}/faults") as response:
            assert await response.json() == [
                {"account": None, "operation": "SendEmail", "times": 1, "fault": {"error": "MessageRejected"}},
                {"account": "customer", "operation": "GetAccount", "times": None, "fault": "hang"},
            ]

    play(story)


def test_a_bad_script_hears_everything_wrong_with_it(play: Any) -> None:
    async def story(world: Any) -> None:
        script = {"account": "nobody", "operation": "Fly", "times": 0, "fault": "explode", "extra": 1}
        async with world.http.post(f"{world.url}/faults", json=script) as response:
            assert response.status == 400
            answer = await response.json()
        assert answer["error"] == "bad_request"
        assert [fault.partition(":")[0] for fault in answer["faults"]] == [
            "extra",
            "account",
            "operation",
            "times",
            "fault",
        ]
        async with world.http.get(f"{world.url}/faults") as response:
            assert await response.json() == []

    play(story)


@pytest.mark.parametrize(
    ("body", "places"),
    [
        (b"", ["The body must be a JSON object"]),
        (b"[]", ["The body must be a JSON object"]),
        (b"{}", ["fault"]),
        (
            b'{"account":["operator"],"operation":{},"times":true,"fault":[]}',
            ["account", "operation", "times", "fault"],
        ),
        (b'{"fault":{"slow":-1}}', ["fault.slow"]),
        (b'{"fault":{"slow":NaN}}', ["fault.slow"]),
        (b'{"fault":{"slow":"1"}}', ["fault.slow"]),
        (b'{"fault":{"slow":1,"x":1}}', ["fault"]),
        (b'{"fault":{"error":"Unheard"}}', ["fault.status"]),
        (b'{"fault":{"error":"a\\r\\nb","status":400}}', ["fault.error"]),
        (
            b'{"fault":{"error":"MessageRejected","status":200,"message":1,"x":1}}',
            ["fault.x", "fault.status", "fault.message"],
        ),
    ],
)
def test_bad_scripts(body: bytes, places: list[str]) -> None:
    with pytest.raises(BadScript) as bad:
        read_script(body, {"operator"})
    assert [fault.partition(":")[0] for fault in bad.value.faults] == places


def test_every_operation_can_be_scripted() -> None:
    others: list[dict[str, Any]] = [
        sqs_queues.OPERATIONS,
        sns_subscriptions.OPERATIONS,
        sns_subscriptions.STS_OPERATIONS,
    ]
    assert {operation.name for operation in rest.OPERATIONS}.union(*others) == OPERATIONS


def test_identities_meet_faults_too(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await world.script(operation="CreateEmailIdentity", fault="accept_then_close")
        await world.script(operation="ListSuppressedDestinations", fault={"error": "TooManyRequestsException"})
        with pytest.raises(ConnectionClosedError):
            await ses.create_email_identity(EmailIdentity="new.example")
        with pytest.raises(ses.exceptions.AlreadyExistsException):
            await ses.create_email_identity(EmailIdentity="new.example")
        with pytest.raises(ses.exceptions.TooManyRequestsException):
            await ses.list_suppressed_destinations()

    play(story)
