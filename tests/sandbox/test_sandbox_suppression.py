"""The account's suppression list as aiobotocore sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.sandbox.refusals import Refusal
from relay.sandbox.suppression import SuppressionList

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def test_put_found_and_deleted(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await ses.put_suppressed_destination(EmailAddress="Ann/b+c@ONE.test", Reason="BOUNCE")
        found = (await ses.get_suppressed_destination(EmailAddress="Ann/b+c@one.TEST"))["SuppressedDestination"]
        assert abs(found.pop("LastUpdateTime") - datetime.now(UTC)) < timedelta(minutes=1)
        assert found == {"EmailAddress": "Ann/b+c@one.test", "Reason": "BOUNCE"}
        await ses.put_suppressed_destination(EmailAddress="Ann/b+c@one.test", Reason="COMPLAINT")
        [listed] = (await ses.list_suppressed_destinations())["SuppressedDestinationSummaries"]
        assert listed["Reason"] == "COMPLAINT"
        with pytest.raises(ClientError) as refused:
            await ses.get_suppressed_destination(EmailAddress="ann/b+c@one.test")
        assert refused.value.response["Error"] == {
            "Code": "NotFoundException",
            "Message": "Email address ann/b+c@one.test does not exist on your suppression list.",
        }
        await ses.delete_suppressed_destination(EmailAddress="Ann/b+c@one.test")
        with pytest.raises(ses.exceptions.NotFoundException):
            await ses.delete_suppressed_destination(EmailAddress="Ann/b+c@one.test")
        for wrong in ({"EmailAddress": "ann", "Reason": "BOUNCE"}, {"EmailAddress": "a@b.c", "Reason": "MOOD"}):
            with pytest.raises(ses.exceptions.BadRequestException):
                await ses.put_suppressed_destination(**wrong)
        with pytest.raises(ses.exceptions.NotFoundException, match="Tenant"):
            await ses.put_suppressed_destination(EmailAddress="a@b.c", Reason="BOUNCE", TenantName="acme")

    play(story)


def test_listed_page_by_page_of_one_region(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        for number in range(7):
            reason = "BOUNCE" if number % 2 else "COMPLAINT"
            await ses.put_suppressed_destination(EmailAddress=f"a{number}@one.test", Reason=reason)

        async def listed(**wanted: Any) -> list[str]:
            addresses, more = [], {}
            while True:
                page = await ses.list_suppressed_destinations(**wanted, **more)
                addresses += [each["EmailAddress"][:2] for each in page["SuppressedDestinationSummaries"]]
                if "NextToken" not in page:
                    return addresses
                more = {"NextToken": page["NextToken"]}

        assert await listed() == await listed(PageSize=3) == [f"a{number}" for number in range(7)]
        assert await listed(PageSize=2, Reasons=["BOUNCE"]) == ["a1", "a3", "a5"]
        assert len(await listed(Reasons=["BOUNCE", "COMPLAINT"])) == 7
        hour = timedelta(hours=1)
        now = datetime.now(UTC)
        assert len(await listed(StartDate=now - hour, EndDate=now + hour)) == 7
        assert await listed(StartDate=now + hour) == await listed(EndDate=now - hour) == []
        with pytest.raises(ses.exceptions.InvalidNextTokenException):
            await ses.list_suppressed_destinations(NextToken="?")
        for wrong in ({"PageSize": -1}, {"Reasons": ["MOOD"]}):
            with pytest.raises(ses.exceptions.BadRequestException):
                await ses.list_suppressed_destinations(**wrong)
        other = await world.client("sesv2", region="us-east-1")
        assert (await other.list_suppressed_destinations())["SuppressedDestinationSummaries"] == []

    play(story)


def test_a_page_survives_deletions() -> None:
    held = SuppressionList()
    for name in "edcba":
        held.put(f"{name}@one.test", "BOUNCE", NOW)
    first, last = held.page("", 2, lambda each: True)
    assert last is not None
    held.delete(last)
    held.put("aa@one.test", "BOUNCE", NOW)
    rest, last = held.page(last, 10, lambda each: True)
    assert [each.address[0] for each in [*first, *rest]] == list("abcde")
    assert last is None


def test_it_is_bounded() -> None:
    held = SuppressionList()
    for number in range(100_000):
        held.put(f"a{number}@one.test", "BOUNCE", NOW)
    held.put("a0@one.test", "COMPLAINT", NOW)
    with pytest.raises(Refusal) as refused:
        held.put("more@one.test", "BOUNCE", NOW)
    assert refused.value.code == "LimitExceededException"
