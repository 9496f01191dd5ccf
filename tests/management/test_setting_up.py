"""Setting an SES account up for its events, against the sandbox: made, mended, refused, left alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from relay.declared import AccountFields, Via
from relay.errors import Kind
from relay.management import setting_up
from relay.management.desk import Desk
from relay.management.reaching import access_of, session_name
from relay.management.setting_up import Asked, Setup, State, Step, doing, tracked
from relay.message import Stream
from relay.ses import aws
from relay.ses.aws import Aws, asking
from relay.ses.call import Call, Service
from relay.ses.errors import SesProblem
from relay.ses.policies import setup_policy
from relay.store.directory import accounts
from relay.store.directory.audit import FILE
from tests import databases
from tests.management.scene import ACTOR, OWNED, Scene
from tests.management.scene import play as play_scene
from tests.ses.sts_server import running as running_sts

SET = "relay-transactional"
PUSH = "https://127.0.0.1:1"  # nobody is there


class Stage:
    """A scene, and the account `operator` in it being set up."""

    def __init__(self, scene: Scene, aws: Aws) -> None:
        self.scene = scene
        self.aws = aws
        self.told: list[Step] = []

    async def set_up(self, asked: Asked = setting_up.USUAL, *, is_dry: bool = False, name: str = "operator") -> Setup:
        account = await self.scene.store.read(lambda db: accounts.find(db, name))
        return await self.scene.desk.set_up(ACTOR, account, asked, is_dry=is_dry, told=self.told.append)

    async def ask(self, service: Service, operation: str, **request: Any) -> dict[str, Any]:
        return await self.aws.ask(Call(service, operation, request))

    async def queue_url(self, name: str = "relay-events") -> str:
        return str((await self.ask(Service.SQS, "get_queue_url", QueueName=name))["QueueUrl"])

    async def topic(self) -> str:
        return str((await self.ask(Service.SNS, "create_topic", Name="relay-events"))["TopicArn"])

    async def subscription(self) -> dict[str, Any]:
        answer = await self.ask(Service.SNS, "list_subscriptions_by_topic", TopicArn=await self.topic())
        [found] = answer["Subscriptions"]
        return dict(found)

    async def events(self) -> list[dict[str, Any]]:
        """What has come to the queue until now."""
        request = {"QueueUrl": await self.queue_url(), "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1}
        answer = await self.ask(Service.SQS, "receive_message", **request)
        return [json.loads(each["Body"]) for each in answer.get("Messages") or ()]


Story = Callable[[Stage], Awaitable[None]]
Play = Callable[[Story], None]


@pytest.fixture
def url(tmp_path: Path) -> URL:
    return databases.sqlite(tmp_path)


@pytest.fixture
def play(url: URL, monkeypatch: pytest.MonkeyPatch) -> Play:
    monkeypatch.setattr(aws, "PACE", 0.0)
    monkeypatch.setattr(aws, "PATIENCE", (0.01, 0.01))
    monkeypatch.setattr(doing, "NOTICED", 0.0)
    monkeypatch.setattr(doing, "SETTLING", (0.01, 0.01))

    async def whole(scene: Scene, story: Story) -> None:
        account = await scene.store.read(lambda db: accounts.find(db, "operator"))
        async with asking(scene.clients, access_of(account, scene.store.sealer)) as opened:
            await story(Stage(scene, opened))

    def run(story: Story) -> None:
        with running_sts() as sts:
            sts.refusal = (403, "InvalidClientTokenId", "The security token included in the request is invalid.")
            play_scene(url, lambda scene: whole(scene, story), sts_url=sts.url)

    return run


def actions(found: Setup) -> list[str]:
    return [step.doing.action for step in found.steps]


def test_everything_is_made_once_and_events_come(play: Play) -> None:
    async def story(stage: Stage) -> None:
        await stage.scene.add(OWNED, is_vouched=True)
        first = await stage.set_up()
        assert (first.is_whole, first.done, stage.told) == (True, len(first.steps), first.steps)
        allowed = json.dumps(setup_policy("eu-west-1", first.number or ""))
        for step in first.steps:
            assert step.doing.action in allowed or step.doing.action == "domain.change", step
        domain = await stage.scene.find(OWNED)
        assert domain.configuration_sets == {each: f"relay-{each.value}" for each in Stream}

        second = await stage.set_up()
        assert (second.steps, second.left, second.is_whole) == ([], [], True)
        assert {each.state for each in second.matters} == {State.FINE}
        answer = await stage.ask(Service.SQS, "list_queue_tags", QueueUrl=await stage.queue_url())
        assert answer["Tags"] == {"relay-installation": session_name(stage.scene.store.sealer)}

        raw = f"From: hello@{OWNED}\r\nTo: ann@dest.example\r\n\r\nHi.\r\n".encode()
        request: dict[str, Any] = {
            "Content": {"Raw": {"Data": raw}},
            "Destination": {"ToAddresses": ["ann@dest.example"]},
            "ConfigurationSetName": "relay-shared",
        }
        await stage.events()  # the notice that SES has tried the topic
        sent = await stage.ask(Service.SES, "send_email", **request)
        heard = [json.loads(each["Message"]) for each in await stage.events() if each["Message"].startswith("{")]
        assert [each["eventType"] for each in heard] == ["Send", "Delivery"]
        assert {each["mail"]["messageId"] for each in heard} == {sent["MessageId"]}

    play(story)


def test_a_dry_run_changes_nothing(play: Play) -> None:
    async def story(stage: Stage) -> None:
        domain = await stage.scene.add(OWNED, is_vouched=True)
        first, second = await stage.set_up(is_dry=True), await stage.set_up(is_dry=True)
        assert actions(first) == actions(second)
        assert (first.done, first.is_whole, stage.told) == (0, False, [])
        assert (await stage.scene.find(OWNED)).configuration_sets == domain.configuration_sets
        made = await stage.set_up()
        assert actions(made) == actions(first)

    play(story)


async def lose_policy(stage: Stage) -> None:
    url = await stage.queue_url()
    await stage.ask(Service.SQS, "set_queue_attributes", QueueUrl=url, Attributes={"Policy": ""})


async def forget_dead(stage: Stage) -> None:
    await stage.ask(Service.SQS, "delete_queue", QueueUrl=await stage.queue_url("relay-events-dead"))


async def hurry(stage: Stage) -> None:
    attributes = {"VisibilityTimeout": "1", "RedrivePolicy": ""}
    await stage.ask(Service.SQS, "set_queue_attributes", QueueUrl=await stage.queue_url(), Attributes=attributes)


async def lose_topic(stage: Stage) -> None:
    await stage.ask(Service.SNS, "delete_topic", TopicArn=await stage.topic())


async def shut_topic(stage: Stage) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    request = {"TopicArn": await stage.topic(), "AttributeName": "Policy", "AttributeValue": policy}
    await stage.ask(Service.SNS, "set_topic_attributes", **request)


async def unsubscribe(stage: Stage) -> None:
    await stage.ask(Service.SNS, "unsubscribe", SubscriptionArn=(await stage.subscription())["SubscriptionArn"])


async def make_raw(stage: Stage) -> None:
    arn = (await stage.subscription())["SubscriptionArn"]
    request = {"SubscriptionArn": arn, "AttributeName": "RawMessageDelivery", "AttributeValue": "true"}
    await stage.ask(Service.SNS, "set_subscription_attributes", **request)


async def lose_set(stage: Stage) -> None:
    await stage.ask(Service.SES, "delete_configuration_set", ConfigurationSetName=SET)


async def lose_destination(stage: Stage) -> None:
    request = {"ConfigurationSetName": SET, "EventDestinationName": "relay-events"}
    await stage.ask(Service.SES, "delete_configuration_set_event_destination", **request)


async def deafen(stage: Stage) -> None:
    request = {
        "ConfigurationSetName": SET,
        "EventDestinationName": "relay-events",
        "EventDestination": {
            "Enabled": False,
            "MatchingEventTypes": ["SEND"],
            "SnsDestination": {"TopicArn": await stage.topic()},
        },
    }
    await stage.ask(Service.SES, "update_configuration_set_event_destination", **request)


# fmt: off
HARMS: list[tuple[Story, list[str]]] = [
    (lose_policy,      ["sqs:SetQueueAttributes"]),
    (forget_dead,      ["sqs:CreateQueue"]),
    (hurry,            ["sqs:SetQueueAttributes"]),
    (lose_topic,       ["sns:CreateTopic", "sns:Subscribe"]),
    (shut_topic,       ["sns:SetTopicAttributes"]),
    (unsubscribe,      ["sns:Subscribe"]),
    (make_raw,         ["sns:SetSubscriptionAttributes"]),
    (lose_set,         ["ses:CreateConfigurationSet", "ses:CreateConfigurationSetEventDestination"]),
    (lose_destination, ["ses:CreateConfigurationSetEventDestination"]),
    (deafen,           ["ses:UpdateConfigurationSetEventDestination"]),
]
# fmt: on


def test_what_broke_is_mended_and_nothing_else(play: Play) -> None:
    async def story(stage: Stage) -> None:
        await stage.set_up()
        for harm, mended in HARMS:
            await harm(stage)
            found = await stage.set_up()
            assert (harm.__name__, actions(found)) == (harm.__name__, mended)
            assert found.is_whole
            assert (await stage.set_up()).steps == []

    play(story)


def test_tracking_as_asked(play: Play) -> None:
    async def story(stage: Stage) -> None:
        async def types(name: str) -> set[str]:
            request = {"ConfigurationSetName": name}
            answer = await stage.ask(Service.SES, "get_configuration_set_event_destinations", **request)
            return {*answer["EventDestinations"][0]["MatchingEventTypes"]} & {"OPEN", "CLICK"}

        await stage.set_up(Asked(tracking=tracked(["broadcast=opens,clicks"])))
        assert (await types("relay-broadcast"), await types(SET)) == ({"OPEN", "CLICK"}, set())
        assert (await stage.set_up()).steps == []  # nobody spoke of it: it stays
        await stage.set_up(Asked(tracking=tracked(["broadcast=clicks"])))
        assert await types("relay-broadcast") == {"CLICK"}
        await stage.set_up(Asked(tracking=tracked(["broadcast=none"])))
        assert await types("relay-broadcast") == set()

    play(story)


def test_a_refusal_names_the_permission_and_ends_it_there(play: Play) -> None:
    async def story(stage: Stage) -> None:
        stage.scene.fail("CreateTopic", "AuthorizationError", "no")
        found = await stage.set_up()
        assert found.refused is not None
        assert found.refused.remedy == "allow sns:CreateTopic to the credentials of account operator"
        stage.told.clear()

        text = "User: arn:aws:iam::1:user/r is not authorized to perform: ses:CreateConfigurationSet on resource: x"
        stage.scene.fail("CreateConfigurationSet", "AccessDeniedException", text)
        found = await stage.set_up()
        assert found.refused is not None
        assert found.refused.action == "ses:CreateConfigurationSet"
        assert "allow ses:CreateConfigurationSet on x in a policy of arn:aws:iam::1:user/r" in found.refused.remedy
        assert found.steps[found.done] is found.refused.step
        assert (found.is_whole, len(stage.told)) == (False, found.done)
        assert found.as_json()["refused"]["action"] == "ses:CreateConfigurationSet"
        again = await stage.set_up()
        assert again.steps == list(found.steps[found.done :])
        assert again.is_whole

    play(story)


def test_throttling_is_waited_for_but_not_without_end(play: Play) -> None:
    async def story(stage: Stage) -> None:
        for operation in ("GetConfigurationSet", "CreateConfigurationSetEventDestination"):
            stage.scene.fail(operation, "TooManyRequestsException", times=2)
        assert (await stage.set_up()).is_whole
        stage.scene.fail("GetConfigurationSet", "TooManyRequestsException", times=None)
        with pytest.raises(SesProblem) as caught:
            await stage.set_up()
        assert caught.value.kind is Kind.SES_THROTTLED

    play(story)


def test_what_was_just_made_is_waited_for(play: Play) -> None:
    async def story(stage: Stage) -> None:
        stage.scene.fail("CreateConfigurationSetEventDestination", "BadRequestException", "no such topic yet", times=2)
        assert (await stage.set_up()).is_whole
        await lose_destination(stage)
        stage.scene.fail("CreateConfigurationSetEventDestination", "BadRequestException", "no such topic", times=None)
        refused = (await stage.set_up()).refused
        assert refused is not None
        assert (refused.said, refused.remedy) == ("BadRequestException: no such topic", "")

    play(story)


def test_without_a_look_nothing_is_done_but_a_plan_is_shown(play: Play) -> None:
    async def story(stage: Stage) -> None:
        text = "User: u is not authorized to perform: ses:GetConfigurationSet"
        stage.scene.fail("GetConfigurationSet", "AccessDeniedException", text, times=None)
        dry, found = await stage.set_up(is_dry=True), await stage.set_up()
        assert (actions(dry), found.done, stage.told) == (actions(found), 0, [])
        assert "sqs:CreateQueue" in actions(dry)
        assert not any(each.startswith("ses:") for each in actions(dry))
        assert [each.state for each in found.left] == [State.UNSEEN] * 3
        assert "ses:GetConfigurationSet" in found.left[0].said

    play(story)


def test_what_another_installation_has_stays_as_it_is(play: Play) -> None:
    async def story(stage: Stage) -> None:
        tags = {"relay-installation": "relay-other"}
        await stage.ask(Service.SQS, "tag_queue", QueueUrl=await stage.queue_url(), Tags=tags)
        found = await stage.set_up()
        assert (found.steps, found.is_whole) == ([], False)
        [taken] = [each for each in found.left if each.state is State.TAKEN]
        assert taken.said == "it is of another installation, relay-other"
        fields = {"feedback": {"queue": "relay-two"}}
        await stage.scene.account("another", **fields)
        assert (await stage.set_up(name="another")).is_whole

    play(story)


def test_the_number_of_an_account_that_nothing_says(play: Play) -> None:
    """Neither a queue, nor STS, which takes nobody: making the topic says it."""

    async def story(stage: Stage) -> None:
        elsewhere = stage.scene.sandbox.url.replace("127.0.0.1", "localhost")  # so that the sandbox is not STS as well
        await stage.scene.account("another", feedback={"queue": "mine", "endpoint_url": elsewhere})
        dry = await stage.set_up(is_dry=True, name="another")
        assert dry.number is None
        found = await stage.set_up(name="another")
        assert (found.number or "").isdigit()
        assert found.is_whole
        assert (await stage.set_up(name="another")).steps == []

    play(story)


def test_a_stand_in_for_all_of_aws_knows_its_own_keys(play: Play) -> None:
    """STS elsewhere takes nobody here."""

    async def story(stage: Stage) -> None:
        account = await stage.scene.store.read(lambda db: accounts.find(db, "operator"))
        caller = (await stage.scene.desk.prove_account(account)).caller
        assert caller is not None
        assert caller.account_number == (await stage.set_up(is_dry=True)).number

    play(story)


def test_push(play: Play) -> None:
    async def story(stage: Stage) -> None:
        found = await stage.set_up(Asked(push=PUSH))
        assert found.is_whole
        assert [each for each in actions(found) if "sqs" in each] == []
        account = await stage.scene.store.read(lambda db: accounts.find(db, "operator"))
        assert (account.feedback.via, account.feedback.topics) == (Via.SNS, (await stage.topic(),))
        subscription = await stage.subscription()
        assert (subscription["Protocol"], subscription["Endpoint"]) == ("https", f"{PUSH}/api/ses-notifications")
        again = await stage.set_up(Asked(push=PUSH))
        assert actions(again) == ["sns:Subscribe"]  # until it is confirmed, SNS is asked to ask again

    play(story)


def test_what_the_file_declares_is_said_in_lines(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store, fields = stage.scene.store, {"region": "eu-west-1", "endpoint_url": stage.scene.sandbox.url}
        keys = {"access_key_id": "another", "secret_access_key": "0123456789abcdef"}
        filed = AccountFields.model_validate(fields | {"credentials": keys})
        await store.change(lambda db: accounts.add(db, store.sealer, FILE, "filed", filed))
        await stage.scene.declare("filed.example", account="filed", configuration_sets={"shared": "mine"})
        found = await stage.set_up(Asked(push=PUSH), name="filed")
        assert found.done == len(found.steps)
        topic = f"arn:aws:sns:eu-west-1:{found.number}:relay-events"
        assert found.lines == {
            "ses_accounts": {"filed": {"feedback": {"via": "sns", "topics": [topic]}}},
            "domains": {
                "filed.example": {
                    "configuration_sets": {
                        "shared": "mine",
                        "transactional": "relay-transactional",
                        "broadcast": "relay-broadcast",
                    }
                }
            },
        }
        assert "sns:Subscribe" not in actions(found)
        assert "let mine publish" in str([step.said for step in found.steps])

    play(story)


def test_feedback_mail_is_stopped_only_when_asked(play: Play) -> None:
    async def story(stage: Stage) -> None:
        await stage.scene.add(OWNED, is_vouched=True)
        assert "ses:PutEmailIdentityFeedbackAttributes" not in actions(await stage.set_up())
        asked = Asked(is_stopping_mail=True)
        assert actions(await stage.set_up(asked)) == ["ses:PutEmailIdentityFeedbackAttributes"]
        answer = await stage.ask(Service.SES, "get_email_identity", EmailIdentity=OWNED)
        assert answer["FeedbackForwardingStatus"] is False
        assert (await stage.set_up(asked)).steps == []

    play(story)


def test_two_at_once_do_each_other_no_harm(play: Play) -> None:
    async def story(stage: Stage) -> None:
        await asyncio.gather(stage.set_up(), stage.set_up())
        assert (await stage.set_up()).is_whole

    play(story)


def test_for_whoever_examines_an_installation(play: Play) -> None:
    async def story(stage: Stage) -> None:
        desk: Desk = stage.scene.desk
        account = await stage.scene.store.read(lambda db: accounts.find(db, "operator"))
        await stage.set_up()
        assert all(each.is_ok for each in await desk.look_at_setup(account))
        await deafen(stage)
        [bad] = [each for each in await desk.look_at_setup(account) if not each.is_ok]
        assert (bad.check, bad.said) == (f"event destination of {SET}", "it is disabled")
        assert bad.remedy == "`relay account setup operator` mends it"

    play(story)
