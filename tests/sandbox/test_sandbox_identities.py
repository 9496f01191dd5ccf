"""Identities as aiobotocore sees them, with no DNS in sight."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.sandbox.accounts import Account
from relay.sandbox.identities import Identities
from relay.sandbox.refusals import Refusal


def error_of(refused: Any) -> tuple[str, int, str | None]:
    response = refused.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


def test_a_created_domain_is_pending(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        tags = [{"Key": "tenant", "Value": "acme"}]
        created = await ses.create_email_identity(EmailIdentity="New.Example", Tags=tags)
        assert (created["IdentityType"], created["VerifiedForSendingStatus"]) == ("DOMAIN", False)
        dkim = created["DkimAttributes"]
        assert (dkim["Status"], dkim["SigningEnabled"], dkim["SigningAttributesOrigin"]) == ("PENDING", True, "AWS_SES")
        assert dkim["SigningHostedZone"] == "dkim.amazonses.com"
        assert len(set(dkim["Tokens"])) == 3
        assert all(re.fullmatch(r"[a-z0-9]{32}", token) for token in dkim["Tokens"])
        found = await ses.get_email_identity(EmailIdentity="new.example")
        assert found["DkimAttributes"] == dkim
        assert (found["VerificationStatus"], found["VerifiedForSendingStatus"]) == ("PENDING", False)
        assert found["MailFromAttributes"] == {"BehaviorOnMxFailure": "USE_DEFAULT_VALUE"}
        assert (found["VerificationInfo"], found["Policies"], found["Tags"]) == ({}, {}, tags)
        assert "ConfigurationSetName" not in found

    play(story)


def test_what_an_account_was_born_with_is_verified_everywhere(play: Any) -> None:
    async def story(world: Any) -> None:
        tokens = set()
        for region in ("eu-west-1", "us-east-1"):
            ses = await world.client("sesv2", region=region)
            found = await ses.get_email_identity(EmailIdentity="shared.example")
            assert (found["VerificationStatus"], found["VerifiedForSendingStatus"]) == ("SUCCESS", True)
            assert found["DkimAttributes"]["Status"] == "SUCCESS"
            assert found["MailFromAttributes"] == {
                "MailFromDomain": "send.shared.example",
                "MailFromDomainStatus": "SUCCESS",
                "BehaviorOnMxFailure": "USE_DEFAULT_VALUE",
            }
            checked = found["VerificationInfo"]["LastCheckedTimestamp"]
            assert datetime.now(UTC) - checked < timedelta(minutes=1)
            tokens.update(found["DkimAttributes"]["Tokens"])
            with pytest.raises(ses.exceptions.AlreadyExistsException):
                await ses.create_email_identity(EmailIdentity="shared.example")
        assert len(tokens) == 6

    play(story)


def test_identities_are_of_an_account_and_a_region(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        created = await ses.create_email_identity(EmailIdentity="new.example")
        for other in (await world.client("sesv2", "customer"), await world.client("sesv2", region="eu-west-2")):
            with pytest.raises(other.exceptions.NotFoundException):
                await other.get_email_identity(EmailIdentity="new.example")
            theirs = await other.create_email_identity(EmailIdentity="new.example")
            assert theirs["DkimAttributes"]["Tokens"] != created["DkimAttributes"]["Tokens"]

    play(story)


def test_twice_is_an_error_and_again_is_the_same(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        created = await ses.create_email_identity(EmailIdentity="new.example")
        with pytest.raises(ClientError) as refused:
            await ses.create_email_identity(EmailIdentity="NEW.example")
        assert error_of(refused) == ("AlreadyExistsException", 400, "Email identity new.example already exist.")
        await ses.delete_email_identity(EmailIdentity="new.example")
        with pytest.raises(ClientError) as refused:
            await ses.delete_email_identity(EmailIdentity="new.example")
        assert error_of(refused) == ("NotFoundException", 404, "Email identity new.example does not exist.")
        again = await ses.create_email_identity(EmailIdentity="new.example")
        assert again["DkimAttributes"]["Tokens"] == created["DkimAttributes"]["Tokens"]

    play(story)


def test_pending_identities_do_not_send_and_deleted_ones_no_more(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await world.send()
        await ses.delete_email_identity(EmailIdentity="shared.example")
        await ses.create_email_identity(EmailIdentity="shared.example")
        await ses.create_email_identity(EmailIdentity="hello@shared.example")
        address = await ses.get_email_identity(EmailIdentity="hello@shared.example")
        assert (address["IdentityType"], address["VerificationStatus"]) == ("EMAIL_ADDRESS", "PENDING")
        assert address["DkimAttributes"]["Status"] == "NOT_STARTED"
        with pytest.raises(ClientError) as refused:
            await world.send()
        code, _, text = error_of(refused)
        assert code == "MessageRejected"
        assert str(text).startswith("Email address is not verified. ")

    play(story)


@pytest.mark.parametrize(
    "name", ["", "localhost", "bücher.example", "a..example", "-a.example", "a b.example", "x@y", "a/b@c.d", "@c.d"]
)
def test_names_that_are_none(play: Any, name: str) -> None:
    identities = Identities(Account("operator", ()), "eu-west-1", datetime.now(UTC))
    with pytest.raises(Refusal) as refused:
        identities.create(name, datetime.now(UTC), None, {})
    assert refused.value.code == "BadRequestException"


def test_there_is_an_end_to_them() -> None:
    identities = Identities(
        Account("operator", tuple(f"d{n}.example" for n in range(9_999))), "eu-west-1", datetime.now(UTC)
    )
    identities.create("last.example", datetime.now(UTC), None, {})
    with pytest.raises(Refusal) as refused:
        identities.create("more.example", datetime.now(UTC), None, {})
    assert refused.value.code == "LimitExceededException"


def test_mail_from(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await ses.create_email_identity(EmailIdentity="new.example")

        async def put(identity: str, **wanted: str) -> Any:
            await ses.put_email_identity_mail_from_attributes(EmailIdentity=identity, **wanted)
            return (await ses.get_email_identity(EmailIdentity=identity))["MailFromAttributes"]

        assert await put("new.example", MailFromDomain="Send.new.example", BehaviorOnMxFailure="REJECT_MESSAGE") == {
            "MailFromDomain": "send.new.example",
            "MailFromDomainStatus": "PENDING",
            "BehaviorOnMxFailure": "REJECT_MESSAGE",
        }
        assert "MailFromDomain" not in await put("new.example")
        assert (await put("shared.example", MailFromDomain="m.shared.example"))["MailFromDomainStatus"] == "PENDING"
        assert (await put("shared.example", MailFromDomain="send.shared.example"))["MailFromDomainStatus"] == "SUCCESS"
        for wrong in ("new.example", "send.other.example", "xnew.example", "-.new.example"):
            with pytest.raises(ses.exceptions.BadRequestException, match="is not subdomain of the domain"):
                await put("new.example", MailFromDomain=wrong)
        with pytest.raises(ses.exceptions.BadRequestException, match="BehaviorOnMxFailure"):
            await put("new.example", MailFromDomain="send.new.example", BehaviorOnMxFailure="EXPLODE")
        with pytest.raises(ses.exceptions.NotFoundException):
            await put("none.example", MailFromDomain="send.none.example")

    play(story)


def test_listed_page_by_page(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2", "customer")
        for number in range(5):
            await ses.create_email_identity(EmailIdentity=f"d{number}.example")
        names: list[str] = []
        sizes, more = [], {}
        while True:
            page = await ses.list_email_identities(PageSize=2, **more)
            names += [each["IdentityName"] for each in page["EmailIdentities"]]
            sizes.append(len(page["EmailIdentities"]))
            if "NextToken" not in page:
                break
            more = {"NextToken": page["NextToken"]}
        assert names == ["byoc.example", *(f"d{number}.example" for number in range(5))]
        assert sizes == [2, 2, 2]
        whole = await ses.list_email_identities()
        assert whole["EmailIdentities"][0] == {
            "IdentityType": "DOMAIN",
            "IdentityName": "byoc.example",
            "SendingEnabled": True,
            "VerificationStatus": "SUCCESS",
        }
        pending = await ses.list_email_identities(
            Filter={"VERIFICATION_STATUS": "PENDING", "IDENTITY_NAME_CONTAINS": "D3"}
        )
        assert [each["IdentityName"] for each in pending["EmailIdentities"]] == ["d3.example"]
        for wrong in ({"PageSize": 1001}, {"NextToken": "?"}, {"Filter": {"COLOUR": "red"}}):
            with pytest.raises(ClientError, match="BadRequestException"):
                await ses.list_email_identities(**wrong)

    play(story)


def test_older_clients_list_by_get(play: Any) -> None:
    async def story(world: Any) -> None:
        scope = "AWS4-HMAC-SHA256 Credential=operator/20260101/eu-west-1/ses/aws4_request, x"
        for path, member in (("identities", "EmailIdentities"), ("configuration-sets", "ConfigurationSets")):
            url = f"{world.url}/v2/email/{path}"
            async with world.http.get(url, params={"PageSize": "1"}, headers={"Authorization": scope}) as response:
                assert response.status == 200
                assert member in await response.json()
            async with world.http.get(url, params={"PageSize": "x"}, headers={"Authorization": scope}) as response:
                assert (response.status, response.headers["x-amzn-ErrorType"]) == (400, "BadRequestException")

    play(story)


def test_only_easy_dkim(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        easy = {"NextSigningKeyLength": "RSA_2048_BIT"}
        await ses.create_email_identity(EmailIdentity="easy.example", DkimSigningAttributes=easy)
        own = {"DomainSigningSelector": "s", "DomainSigningPrivateKey": "aGk="}
        with pytest.raises(ses.exceptions.BadRequestException, match="Easy DKIM"):
            await ses.create_email_identity(EmailIdentity="own.example", DkimSigningAttributes=own)
        with pytest.raises(ses.exceptions.BadRequestException, match="tag"):
            await ses.create_email_identity(EmailIdentity="t.example", Tags=[{"Key": "k" * 129, "Value": "v"}])

    play(story)


def test_regions_are_bounded(play: Any) -> None:
    async def story(world: Any) -> None:
        for number in range(41):
            scope = f"AWS4-HMAC-SHA256 Credential=operator/20260101/no-where-{number}/ses/aws4_request, x"
            async with world.http.get(f"{world.url}/v2/email/account", headers={"Authorization": scope}) as response:
                assert response.status == (200 if number < 40 else 400)
        assert (await (await world.client("sesv2", "customer")).get_account())["SendingEnabled"]

    play(story)
