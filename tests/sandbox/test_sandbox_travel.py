"""Events that a script disturbs on their way, and those that a test tells of."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from typing import Any

import pytest

from relay.sandbox import details
from relay.sandbox.destinations import TYPES
from relay.sandbox.events import Event
from relay.sandbox.faults import BadScript, read_script
from relay.sandbox.simulator import has_virus
from relay.sandbox.travel import Transit, Travel

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STAND" + b"ARD-ANTIVIRUS-TEST-FILE!$H+H*"
COMPLAINT = "complaint@simulator.amazonses.com"


async def bodies(world: Any) -> list[str]:
    sqs = await world.client("sqs")
    url = f"{world.url}/operator/relay-events"
    answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [message["Body"] for message in answer.get("Messages", [])]


async def types(world: Any) -> list[str]:
    return [json.loads(json.loads(body)["Message"])["eventType"] for body in await bodies(world)]


async def tell(world: Any, **report: Any) -> tuple[int, Any]:
    async with world.http.post(f"{world.url}/events", json=report) as response:
        return response.status, await response.json()


async def clear(world: Any) -> None:
    async with world.http.delete(f"{world.url}/faults") as response:
        assert response.status == 204


def test_dropped_and_doubled(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(account="operator", events={"drop": ["Delivery"], "duplicate": 1})
        await world.send(to=COMPLAINT, ConfigurationSetName="relay")
        assert await types(world) == ["Send", "Send", "Complaint", "Complaint"]
        await world.script(events={"drop": []})  # of several the newest counts, member by member
        await world.send(ConfigurationSetName="relay")
        assert await types(world) == ["Send", "Send", "Delivery", "Delivery"]
        async with world.http.get(f"{world.url}/faults") as response:
            first, second = await response.json()
        assert first == {"account": "operator", "events": {"drop": ["Delivery"], "duplicate": 1}}
        assert second == {"account": None, "events": {"drop": []}}

    play(story)


def test_raw_and_broken(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(events={"raw": True, "drop": ["Delivery"]})
        await world.send(ConfigurationSetName="relay")
        [raw] = await bodies(world)
        assert json.loads(raw)["eventType"] == "Send"
        await clear(world)
        await world.script(events={"corrupt": True})
        await world.send(ConfigurationSetName="relay")
        for body in await bodies(world):
            with pytest.raises(json.JSONDecodeError):
                json.loads(json.loads(body)["Message"])

    play(story)


def test_withheld_until_the_script_ends(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(account="operator", events={"withhold": True})
        await world.send(ConfigurationSetName="relay")
        await world.send(ConfigurationSetName="relay", account="customer", raw=b"From: a@byoc.example\r\n\r\n")
        assert world.queue("customer").counts() == (2, 0)
        await world.script(account="customer", events={"withhold": True})
        assert await types(world) == []
        await clear(world)
        assert await types(world) == ["Send", "Delivery"]

    play(story)


def test_withheld_for_a_time_and_late(play: Any) -> None:
    async def story(world: Any) -> None:
        sqs = await world.client("sqs")
        url = f"{world.url}/operator/relay-events"
        for script in ({"events": {"withhold": True}, "for": 0.3}, {"events": {"delay": 0.3}}):
            began = time.monotonic()
            await world.script(**script)
            await world.send(ConfigurationSetName="relay")
            for _ in range(2):
                answer = await sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MaxNumberOfMessages=1)
                assert len(answer["Messages"]) == 1
                assert time.monotonic() - began > 0.3

    play(story)


def test_shuffled_events_lose_their_order_and_no_more() -> None:
    random.seed(7)
    events = [Event(kind, "{}") for kind in details.KINDS]
    chosen = Travel(shuffle=True).chosen(events)
    assert chosen != events
    assert sorted(chosen, key=events.index) == events
    assert {Travel(delay=2.0).pause(), Travel().pause()} == {2.0, 0.0}
    assert len({Travel(delay=2.0, shuffle=True).pause() for _ in range(5)}) == 5


def test_so_many_are_on_their_way_and_what_is_more_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.sandbox.travel._MOST_HELD", 2)
    arrived: list[int] = []
    transit = Transit(lambda account: False)
    for number in range(3):
        transit.send("operator", Travel(withhold=True), lambda number=number: arrived.append(number))  # type: ignore[misc]
    assert arrived == [2]
    transit.release()
    assert arrived == [2, 0, 1]


def test_stopping_leaves_nothing_behind() -> None:
    async def story() -> None:
        transit = Transit(lambda account: True)
        transit.send("operator", Travel(delay=60), lambda: None)
        transit.release_in(60)
        transit.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ({"events": {}}, "events: must be an object with some of duplicate"),
        ({"events": []}, "events: must be an object"),
        ({"events": {"lose": True}}, "events.lose: unknown"),
        ({"events": {"duplicate": 101}}, "events.duplicate: must be 0 to 100 copies"),
        ({"events": {"delay": -1}}, "events.delay: must be 0 to 3600 seconds"),
        ({"events": {"drop": ["SEND"]}}, "events.drop: must be a list with some of Send"),
        ({"events": {"drop": [["Send"]]}}, "events.drop: must be a list"),
        ({"events": {"raw": 1}}, "events.raw: must be true or false"),
        ({"events": {"raw": True}, "times": 1}, "times: does not go with events"),
        ({"events": {"raw": True}, "fault": "hang"}, "fault: does not go with events"),
        ({"events": {"raw": True}, "set": {"rate": 1}}, "events: does not go with set"),
    ],
)
def test_scripts_that_cannot_be_played(script: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadScript) as bad:
        read_script(json.dumps(script).encode(), {"operator"})
    assert any(each.startswith(fault) for each in bad.value.faults), bad.value.faults


def test_every_type_of_event_can_be_told_and_chosen() -> None:
    assert set(details.KINDS) == set(TYPES)


@pytest.mark.parametrize("kind", details.KINDS)
def test_what_happens_later_is_told(play: Any, kind: str) -> None:
    async def story(world: Any) -> None:
        tags = [{"Name": "relay_id", "Value": "a1"}]
        id = await world.send(ConfigurationSetName="relay", EmailTags=tags)
        await types(world)
        status, told = await tell(world, message=id, type=kind)
        assert (status, told["eventType"], told["mail"]["messageId"]) == (201, kind, id)
        assert told["mail"]["tags"]["relay_id"] == ["a1"]
        assert set(told) == {"eventType", "mail", details.KINDS[kind][0]}
        assert [json.loads(json.loads(body)["Message"]) for body in await bodies(world)] == [told]

    play(story)


def test_a_report_says_what_is_otherwise(play: Any) -> None:
    async def story(world: Any) -> None:
        id = await world.send(to="x@d.test y@d.test", ConfigurationSetName="relay")
        detail = {"bounceType": "Transient", "bounceSubType": "MailboxFull", "reportingMTA": None}
        _, told = await tell(world, message=id, type="Bounce", recipients=["x@d.test"], detail=detail)
        assert (told["bounce"]["bounceType"], told["bounce"]["bounceSubType"]) == ("Transient", "MailboxFull")
        assert [each["emailAddress"] for each in told["bounce"]["bouncedRecipients"]] == ["x@d.test"]
        assert "reportingMTA" not in told["bounce"]

    play(story)


def test_reports_that_cannot_be(play: Any) -> None:
    async def story(world: Any) -> None:
        off = {"Tracking": {"OpenTrackingEnabled": "DISABLED"}}
        silent = await world.send()
        untracked = await world.send(ConfigurationSetName="relay", ConfigurationOverrides=off)
        for report, fault in (
            ({"message": "x", "type": "Open"}, "message: must be the id"),
            ({"message": silent, "type": "Open"}, "message: the mail has no configuration set"),
            ({"message": untracked, "type": "Open"}, "type: the mail was sent with OpenTrackingEnabled DISABLED"),
            ({"message": untracked, "type": "OPEN"}, "type: must be one of"),
            ({"message": untracked, "type": ["Open"]}, "type: must be one of"),
            ({"message": untracked, "type": "Click", "recipients": "x"}, "recipients: must be"),
            ({"message": untracked, "type": "Click", "detail": []}, "detail: must be an object"),
            ({"message": untracked, "type": "Click", "more": 1}, "more: unknown"),
        ):
            status, answer = await tell(world, **report)
            assert status == 400
            assert answer["faults"][0].startswith(fault), answer
        async with world.http.post(f"{world.url}/events", data=b"[]") as response:
            assert response.status == 400
        assert len(await bodies(world)) == 2

    play(story)


@pytest.mark.parametrize("attached", [EICAR, base64.encodebytes(EICAR).replace(b"\n", b"\r\n")])
def test_a_virus_is_accepted_and_then_rejected(play: Any, raw: bytes, attached: bytes) -> None:
    async def story(world: Any) -> None:
        await world.send(raw + attached, ConfigurationSetName="relay")
        assert await types(world) == ["Send", "Reject"]

    assert not has_virus(raw)
    play(story)


def test_identities_can_lose_what_they_had(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        lost = {"unverified": ["shared.example"], "mail_from_failed": ["shared.example"]}
        await world.script(account="operator", set=lost)
        shown = await ses.get_email_identity(EmailIdentity="shared.example")
        assert (shown["VerificationStatus"], shown["VerifiedForSendingStatus"]) == ("FAILED", False)
        assert shown["MailFromAttributes"]["MailFromDomainStatus"] == "FAILED"
        assert shown["DkimAttributes"]["Status"] == "FAILED"
        listed = (await ses.list_email_identities())["EmailIdentities"]
        assert {each["IdentityName"]: each["SendingEnabled"] for each in listed}["shared.example"] is False
        with pytest.raises(ses.exceptions.MessageRejected, match="not verified"):
            await world.send()
        await clear(world)
        await world.script(set={"dkim_failed": ["shared.example"], "sent": 9_999_998})
        shown = await ses.get_email_identity(EmailIdentity="shared.example")
        assert (shown["VerificationStatus"], shown["DkimAttributes"]["Status"]) == ("SUCCESS", "FAILED")
        await world.send()
        assert (await ses.get_account())["SendQuota"]["SentLast24Hours"] == 9_999_999
        with pytest.raises(ses.exceptions.LimitExceededException):
            await world.send(to="a@d.test b@d.test")

    play(story)
