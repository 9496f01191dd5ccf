"""SES as aiobotocore sees it, and what the sandbox shows of the mail it took."""

from __future__ import annotations

import base64
import io
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

SCOPE = "AWS4-HMAC-SHA256 Credential={}/20260101/eu-west-1/ses/aws4_request, SignedHeaders=host, Signature=0"


def error_of(refused: Any) -> tuple[str, int, str | None]:
    response = refused.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


def test_a_message_is_taken_and_shown(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        tags = [{"Name": "relay_id", "Value": "a1"}, {"Name": "attempt", "Value": "1"}]
        ses = await world.client("sesv2")
        before = datetime.now(UTC)
        answer = await ses.send_email(
            Destination={"ToAddresses": ["a@x.test"], "CcAddresses": ["b@x.test"], "BccAddresses": ["c@x.test"]},
            Content={"Raw": {"Data": raw}},
            EmailTags=tags,
            ConfigurationSetName="relay",
        )
        assert re.fullmatch(r"0102[0-9a-f]{12}-[0-9a-f-]{36}-000000", answer["MessageId"])
        assert answer["ResponseMetadata"]["RequestId"]
        [message] = await world.messages()
        received_at = message.pop("received_at")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", received_at)
        assert abs((datetime.fromisoformat(received_at) - before).total_seconds()) < 60
        assert message == {
            "id": answer["MessageId"],
            "account": "operator",
            "region": "eu-west-1",
            "recipients": ["a@x.test", "b@x.test", "c@x.test"],
            "tags": {"relay_id": "a1", "attempt": "1"},
            "configuration_set": "relay",
            "tracking": {},
            "raw": base64.b64encode(raw).decode(),
        }

    play(story)


def test_without_a_destination_the_headers_count(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        await world.send(raw, to=None)
        [message] = await world.messages()
        assert (message["recipients"], message["tags"], message["configuration_set"]) == (["ann@one.test"], {}, None)

    play(story)


def test_messages_after_one_and_none(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        assert await world.messages() == []
        ids = [await world.send(raw) for _ in range(3)]
        assert [message["id"] for message in await world.messages()] == ids
        assert [message["id"] for message in await world.messages(after=ids[0])] == ids[1:]
        assert await world.messages(after=ids[2]) == []
        assert [message["id"] for message in await world.messages(after="unknown")] == ids
        async with world.http.delete(f"{world.url}/messages") as response:
            assert response.status == 204
        assert await world.messages() == []
        last = await world.send(raw)
        assert [message["id"] for message in await world.messages(after=ids[2])] == [last]

    play(story)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's word on aiobotocore
def test_large_mail_goes_in_and_comes_out(play: Any, raw: bytes) -> None:
    large = raw + b"line of text\r\n" * 800_000  # 11 MB

    async def story(world: Any) -> None:
        for _ in range(2):
            await world.send(large)
        for message in await world.messages():
            assert base64.b64decode(message["raw"]) == large

    play(story)


@pytest.mark.parametrize(
    ("change", "code", "status", "text"),
    [
        ({"raw": b"Subject: x\r\n\r\n"}, "BadRequestException", 400, "Missing required header 'From'."),
        ({"to": " ".join(["a@x.test"] * 51)}, "BadRequestException", 400, "Recipient count exceeds 50."),
        ({"to": "jörg@x.test"}, "BadRequestException", 400, "Local address contains illegal character"),
        (
            {"account": "customer"},
            "MessageRejected",
            400,
            "Email address is not verified. The following identities failed the check in region EU-WEST-1: "
            "hello@shared.example",
        ),
        (
            {"account": "newcomer"},
            "MessageRejected",
            400,
            "Email address is not verified. The following identities failed the check in region EU-WEST-1: x@d.test",
        ),
        (
            {"account": "stranger"},
            "UnrecognizedClientException",
            403,
            "The security token included in the request is invalid.",
        ),
        ({"EmailTags": [{"Name": "", "Value": "x"}]}, "BadRequestException", 400, "The tag name must be specified."),
    ],
)
def test_refusals_have_the_codes_of_ses(play: Any, change: dict[str, Any], code: str, status: int, text: str) -> None:
    async def story(world: Any) -> None:
        with pytest.raises(ClientError) as refused:
            await world.send(**change)
        assert error_of(refused) == (code, status, text)
        assert await world.messages() == []

    play(story)


def test_modelled_errors_have_their_classes(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        with pytest.raises(ses.exceptions.BadRequestException):
            await ses.send_email(Content={"Raw": {"Data": b"\r\n"}})
        with pytest.raises(ses.exceptions.BadRequestException, match="Raw"):
            await ses.send_email(Content={"Simple": {"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "x"}}}})

    play(story)


def test_the_rate_is_enforced(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        await world.send(raw, "slowpoke", "a@x.test b@x.test")
        with pytest.raises(ClientError) as refused:
            await world.send(raw, "slowpoke")
        assert error_of(refused) == ("TooManyRequestsException", 429, "Maximum sending rate exceeded.")

    play(story)


def test_the_daily_quota_is_enforced_and_shown(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2", "rationed")
        await world.send(raw, "rationed", "a@x.test b@x.test success@simulator.amazonses.com")
        account = await ses.get_account()
        assert account["SendQuota"] == {"Max24HourSend": 3.0, "MaxSendRate": 1000.0, "SentLast24Hours": 2.0}
        with pytest.raises(ClientError) as refused:
            await world.send(raw, "rationed", "a@x.test b@x.test")
        assert error_of(refused) == ("LimitExceededException", 400, "Daily message quota exceeded")
        await world.send(raw, "rationed", "a@x.test")

    play(story)


def test_get_account(play: Any) -> None:
    async def story(world: Any) -> None:
        for name, quota, production in [("newcomer", 200.0, False), ("slowpoke", -1.0, True)]:
            account = await (await world.client("sesv2", name)).get_account()
            assert account["SendQuota"]["Max24HourSend"] == quota
            assert account["ProductionAccessEnabled"] is production
            assert account["SendingEnabled"] is True
            assert account["EnforcementStatus"] == "HEALTHY"

    play(story)


def test_get_email_identity(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        domain = await ses.get_email_identity(EmailIdentity="shared.example")
        assert (domain["IdentityType"], domain["VerificationStatus"]) == ("DOMAIN", "SUCCESS")
        assert domain["VerifiedForSendingStatus"] is True
        address = await ses.get_email_identity(EmailIdentity="boss@person.example")
        assert address["IdentityType"] == "EMAIL_ADDRESS"
        with pytest.raises(ses.exceptions.NotFoundException):
            await ses.get_email_identity(EmailIdentity="sub.shared.example")

    play(story)


def test_what_the_sandbox_does_not_speak(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        with pytest.raises(ClientError) as refused:
            await ses.list_contact_lists()
        assert error_of(refused)[:2] == ("UnknownOperationException", 404)

    play(story)


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({}, b"{}", 403, "MissingAuthenticationTokenException"),
        ({"Authorization": "Basic eDp5"}, b"{}", 400, "IncompleteSignatureException"),
        ({"Authorization": SCOPE.format("stranger")}, b"{}", 403, "UnrecognizedClientException"),
        ({"Authorization": SCOPE.format("operator")}, b"{", 400, "SerializationException"),
        ({"Authorization": SCOPE.format("operator")}, b"[]", 400, "SerializationException"),
        ({"Authorization": SCOPE.format("operator")}, b"[" * 100_000, 400, "SerializationException"),
        ({"Authorization": SCOPE.format("operator")}, b"{}", 400, "BadRequestException"),
        ({"Authorization": SCOPE.format("operator")}, b'{"Content":1}', 400, "SerializationException"),
        (
            {"Authorization": SCOPE.format("operator")},
            b'{"Content":{"Raw":{"Data":"?"}}}',
            400,
            "SerializationException",
        ),
        (
            {"Authorization": SCOPE.format("operator")},
            b'{"Content":{"Raw":{"Data":""}},"Destination":{"ToAddresses":[1]}}',
            400,
            "SerializationException",
        ),
        (
            {"Authorization": SCOPE.format("operator")},
            b'{"Content":{"Raw":{"Data":""}},"EmailTags":[1]}',
            400,
            "SerializationException",
        ),
    ],
)
def test_hostile_requests(play: Any, headers: dict[str, str], body: bytes, status: int, code: str) -> None:
    async def story(world: Any) -> None:
        url = f"{world.url}/v2/email/outbound-emails"
        async with world.http.post(url, data=body, headers=headers) as response:
            assert (response.status, response.headers["x-amzn-ErrorType"]) == (status, code)
            assert set(await response.json()) == {"message"}

    play(story)


@pytest.mark.parametrize("is_announced", [True, False])
def test_bodies_are_bounded(play: Any, is_announced: bool) -> None:
    async def pieces() -> Any:
        for _ in range(61):
            yield bytes(1024 * 1024)

    async def story(world: Any) -> None:
        body = io.BytesIO(bytes(61 * 1024 * 1024)) if is_announced else pieces()
        async with world.http.post(f"{world.url}/v2/email/outbound-emails", data=body) as response:
            assert (response.status, response.headers["x-amzn-ErrorType"]) == (413, "RequestEntityTooLargeException")

    play(story)


def test_healthz(play: Any) -> None:
    async def story(world: Any) -> None:
        async with world.http.get(f"{world.url}/healthz") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})

    play(story)
