"""Identities verified by what a DNS server on loopback says."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.sandbox.identities import Status
from relay.sandbox.lookups import Found, read_nameserver
from relay.sandbox.verification import after, dkim_error, mail_from_error
from tests.dns_server import REFUSED, DnsServer, records

RAW = b"From: Shop <hello@%s>\r\nTo: Ann <ann@one.test>\r\nSubject: Hello\r\n\r\nHi.\r\n"
HOST = "feedback-smtp.eu-west-1.amazonses.com"
ALL = Found(("a.dkim.amazonses.com",))
SPF = Found(("v=spf1 include:amazonses.com ~all",))


def publish(server: DnsServer, domain: str, tokens: list[str]) -> None:
    for token in tokens:
        server.zone[f"{token}._domainkey.{domain}"] = records(f"CNAME {token}.dkim.amazonses.com.")


def test_a_domain_is_verified_by_its_records(play: Any) -> None:
    with DnsServer() as server:

        async def story(world: Any) -> None:
            ses = await world.client("sesv2")

            async def status() -> tuple[str, str, bool, str | None]:
                found = await ses.get_email_identity(EmailIdentity="new.example")
                dkim, error = found["DkimAttributes"]["Status"], found["VerificationInfo"].get("ErrorType")
                assert found["VerificationInfo"]["LastCheckedTimestamp"]
                return found["VerificationStatus"], dkim, found["VerifiedForSendingStatus"], error

            created = await ses.create_email_identity(EmailIdentity="new.example")
            tokens = created["DkimAttributes"]["Tokens"]
            pending = ("PENDING", "PENDING", False, "HOST_NOT_FOUND")
            assert await status() == pending
            publish(server, "new.example", tokens[:2])
            assert await status() == pending
            with pytest.raises(ClientError, match="Email address is not verified"):
                await world.send(RAW % b"new.example")
            publish(server, "new.example", tokens)
            assert await status() == ("SUCCESS", "SUCCESS", True, None)
            await world.send(RAW % b"new.example")
            await world.send(RAW % b"news.new.example")
            listed = await ses.list_email_identities(Filter={"IDENTITY_NAME_CONTAINS": "new.example"})
            assert listed["EmailIdentities"][0]["SendingEnabled"] is True
            server.otherwise = REFUSED
            del server.zone[f"{tokens[0]}._domainkey.new.example"]
            assert await status() == ("TEMPORARY_FAILURE", "TEMPORARY_FAILURE", True, "DNS_SERVER_ERROR")
            await world.send(RAW % b"new.example")
            server.zone[f"{tokens[0]}._domainkey.new.example"] = records("CNAME other.example.")
            assert await status() == ("PENDING", "PENDING", False, "INVALID_VALUE")
            with pytest.raises(ClientError, match="Email address is not verified"):
                await world.send(RAW % b"new.example")

        play(story, nameserver=server.nameserver)


def test_a_mail_from_is_verified_by_its_records(play: Any) -> None:
    with DnsServer() as server:

        async def story(world: Any) -> None:
            ses = await world.client("sesv2")

            async def status(identity: str = "new.example") -> str:
                found = await ses.get_email_identity(EmailIdentity=identity)
                return str(found["MailFromAttributes"]["MailFromDomainStatus"])

            await ses.create_email_identity(EmailIdentity="new.example")
            await ses.put_email_identity_mail_from_attributes(
                EmailIdentity="new.example", MailFromDomain="send.new.example"
            )
            assert await status() == "PENDING"
            right = (f"MX 10 {HOST}.", 'TXT "v=spf1 include:amazonses" ".com ~all"', 'TXT "other"')
            server.zone["send.new.example"] = records(*right)
            assert await status() == "SUCCESS"
            server.zone["send.new.example"] = records(*right, "MX 20 mx.new.example.")
            assert await status() == "PENDING"
            # What an account was born with is not looked up; what it was given since, is.
            assert await status("shared.example") == "SUCCESS"
            await ses.put_email_identity_mail_from_attributes(
                EmailIdentity="shared.example", MailFromDomain="bounce.shared.example"
            )
            assert await status("shared.example") == "PENDING"
            server.zone["bounce.shared.example"] = records(*right)
            assert await status("shared.example") == "SUCCESS"
            found = await ses.get_email_identity(EmailIdentity="shared.example")
            assert found["VerificationStatus"] == "SUCCESS"
            assert not [
                name for name, _ in server.asked if name.startswith("send.shared") or "_domainkey.shared" in name
            ]

        play(story, nameserver=server.nameserver)


def test_an_address_stays_pending(play: Any) -> None:
    with DnsServer() as server:

        async def story(world: Any) -> None:
            ses = await world.client("sesv2")
            await ses.create_email_identity(EmailIdentity="ann@new.example")
            found = await ses.get_email_identity(EmailIdentity="ann@new.example")
            assert (found["VerificationStatus"], found["VerifiedForSendingStatus"]) == ("PENDING", False)

        play(story, nameserver=server.nameserver)


@pytest.mark.parametrize("prefix", ["a.", "a" * 63 + "."])
def test_names_too_long_for_the_dns_are_not_found(play: Any, prefix: str) -> None:
    domain = prefix * (240 // len(prefix)) + "new.example"

    with DnsServer() as server:

        async def story(world: Any) -> None:
            ses = await world.client("sesv2")
            await ses.create_email_identity(EmailIdentity=domain[-250:].lstrip("."))
            found = await ses.get_email_identity(EmailIdentity=domain[-250:].lstrip("."))
            assert found["VerificationInfo"]["ErrorType"] == "HOST_NOT_FOUND"

        play(story, nameserver=server.nameserver)


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (ALL, None),
        (Found(("b.dkim.amazonses.com",)), "INVALID_VALUE"),
        (Found(error="TYPE_NOT_FOUND"), "TYPE_NOT_FOUND"),
        (Found(error="DNS_SERVER_ERROR"), "DNS_SERVER_ERROR"),
    ],
)
def test_dkim(found: Found, error: str | None) -> None:
    assert dkim_error(["a"], [found]) == error
    assert dkim_error(["a", "a"], [ALL, found]) == error


@pytest.mark.parametrize(
    ("mx", "txt", "error"),
    [
        (Found((f"10 {HOST}",)), SPF, None),
        (Found((f"10 {HOST}",)), Found(("google", "v=spf1 a include:amazonses.com -all")), None),
        (Found((f"20 {HOST}",)), SPF, "INVALID_VALUE"),
        (Found(("10 feedback-smtp.us-east-1.amazonses.com",)), SPF, "INVALID_VALUE"),
        (Found((f"10 {HOST}", "20 mx.example")), SPF, "INVALID_VALUE"),
        (Found((f"10 {HOST}",)), Found(("include:amazonses.com",)), "INVALID_VALUE"),
        (Found((f"10 {HOST}",)), Found(("v=spf1 include:amazonses.com.evil ~all",)), "INVALID_VALUE"),
        (Found(error="HOST_NOT_FOUND"), SPF, "HOST_NOT_FOUND"),
        (Found((f"10 {HOST}",)), Found(error="TYPE_NOT_FOUND"), "TYPE_NOT_FOUND"),
    ],
)
def test_mail_from(mx: Found, txt: Found, error: str | None) -> None:
    assert mail_from_error("eu-west-1", mx, txt) == error


@pytest.mark.parametrize(
    ("before", "error", "status"),
    [
        (Status.PENDING, None, Status.SUCCESS),
        (Status.PENDING, "HOST_NOT_FOUND", Status.PENDING),
        (Status.PENDING, "DNS_SERVER_ERROR", Status.PENDING),
        (Status.SUCCESS, "HOST_NOT_FOUND", Status.PENDING),
        (Status.SUCCESS, "DNS_SERVER_ERROR", Status.TEMPORARY_FAILURE),
        (Status.TEMPORARY_FAILURE, "DNS_SERVER_ERROR", Status.TEMPORARY_FAILURE),
        (Status.TEMPORARY_FAILURE, None, Status.SUCCESS),
        (Status.TEMPORARY_FAILURE, "INVALID_VALUE", Status.PENDING),
    ],
)
def test_statuses(before: Status, error: str | None, status: Status) -> None:
    assert after(before, error) is status


def test_nameservers() -> None:
    assert read_nameserver("127.0.0.1:5353") == ("127.0.0.1", 5353)
    assert read_nameserver("[::1]:53") == ("::1", 53)
    for wrong in ("", "127.0.0.1", "localhost:53", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x"):
        with pytest.raises(ValueError, match="nameserver"):
            read_nameserver(wrong)
