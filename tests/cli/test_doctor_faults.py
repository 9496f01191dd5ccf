"""`relay doctor` against an installation that is whole, and then with one thing broken at a time."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.management.doctoring.checked import Level
from tests.cli.doctor_scene import ACCOUNT, DOMAIN, Scene, whole
from tests.cli.program import found, run
from tests.dns_server import records

SET = "relay-transactional"
DENIED = "User: arn:aws:iam::1:user/r is not authorized to perform: {} on resource: {}"
SETUP = "`relay account setup operator` mends it"
Looked = dict[str, dict[str, Any]]
Do = Callable[[Scene], object]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with whole(tmp_path_factory.mktemp("doctor")) as made:
        yield made


def examined(scene: Scene, *options: str) -> Looked:
    done = run(scene.folder, "doctor", "--json", *options)
    said = json.loads(done.stdout)
    assert (done.returncode == 0) is said["ok"] is all(each["level"] != "red" for each in said["checks"])
    assert done.returncode in {0, os.EX_UNAVAILABLE}
    assert not (
        named := [each for each in said["checks"] if each["level"] in {"red", "warning"} and not each["remedy"]]
    ), named
    return {each["check"]: each for each in said["checks"]}


def not_well(found: Looked) -> Looked:
    return {check: each for check, each in found.items() if each["level"] in {"red", "warning"}}


def test_a_whole_installation_is_green_and_its_loop_closes(scene: Scene) -> None:
    looked = examined(scene, "--wait", "20s")
    assert not_well(looked) == {}
    for expects in ("delivered", "bounced", "complained"):
        for account in (ACCOUNT, "customer"):
            assert "it was heard of after" in looked[f"account {account}: probe {expects}"]["said"]
    sent = [each for each in scene.world.messages() if "relay_probe" in each["tags"]]
    assert len(sent) == 6
    assert all(b"\r\nX-Relay-Probe: " in each["raw"] for each in sent)
    assert b"Subject: Relay doctor probe" in sent[0]["raw"]
    # Past the queue: nobody is suppressed for them, and they are in nobody's counts.
    assert found(scene.folder, "suppression", "list") == found(scene.folder, "queue", "list") == []


def test_nothing_is_sent_that_was_not_wanted(scene: Scene) -> None:
    before = len(scene.world.messages())
    looked = examined(scene, "--no-send", "--account", ACCOUNT)
    assert "is not proved" in looked[f"account {ACCOUNT}: probes"]["said"]
    assert not [check for check in looked if check.startswith("account customer")]
    assert len(scene.world.messages()) == before
    for_people = run(scene.folder, "doctor", "--no-send").stdout
    assert re.search(r"(?m)^ +ok  domain byoc.example: ", for_people)
    assert re.search(r"(?m)^0 red, 0 warnings, \d+ well, \d not looked at$", for_people)


@dataclass(frozen=True)
class Fault:
    """What is broken, and the line that says so, with some words of its remedy. `undo`: what setting up cannot."""

    name: str
    broken: Do
    check: str
    remedy: str
    level: str = "red"
    said: str = ""
    undo: Do | None = None


def script(**members: Any) -> Do:
    return lambda scene: scene.script(**members)


def change(**members: Any) -> Do:
    return lambda scene: scene.script(set=members)


def used(recipients: int) -> Do:
    """Of a daily quota of 100."""

    def do(scene: Scene) -> None:
        scene.script(set={"daily_quota": 100, "sent": recipients})
        raw = f"From: a@{DOMAIN}\r\nTo: success@simulator.amazonses.com\r\n\r\n".encode()
        with contextlib.suppress(Exception):  # only by then has the sandbox counted the others
            scene.aws("sesv2", "send_email", Content={"Raw": {"Data": raw}})

    return do


def refused(operation: str, action: str) -> Do:
    fault = {"error": "AccessDeniedException", "message": DENIED.format(action, "*")}
    return lambda scene: scene.script(operation=operation, times=None, fault=fault)


def queue(**attributes: str) -> Do:
    return lambda scene: scene.aws("sqs", "set_queue_attributes", QueueUrl=scene.queue, Attributes=attributes)


def topic(name: str, value: str) -> Do:
    return lambda scene: scene.aws(
        "sns", "set_topic_attributes", TopicArn=scene.topic, AttributeName=name, AttributeValue=value
    )


def subscribed(scene: Scene) -> str:
    [seen] = scene.aws("sns", "list_subscriptions_by_topic", TopicArn=scene.topic)["Subscriptions"]
    return str(seen["SubscriptionArn"])


def destination(**changes: Any) -> Do:
    def do(scene: Scene) -> None:
        answer = scene.aws("sesv2", "get_configuration_set_event_destinations", ConfigurationSetName=SET)
        [seen] = answer["EventDestinations"]
        told = {name: seen[name] for name in ("Enabled", "MatchingEventTypes", "SnsDestination")}
        scene.aws(
            "sesv2",
            "update_configuration_set_event_destination",
            ConfigurationSetName=SET,
            EventDestinationName=seen["Name"],
            EventDestination=told | changes,
        )

    return do


def sending(is_on: bool) -> Do:
    return lambda scene: scene.aws(
        "sesv2", "put_configuration_set_sending_options", ConfigurationSetName=SET, SendingEnabled=is_on
    )


def in_dns(name: str, kind: str, *lines: str) -> Do:
    return lambda scene: scene.dns.zone.update({(name, kind): records(*lines)})


def dead(scene: Scene) -> str:
    return f"{scene.queue}-dead"


NOBODY = json.dumps({"Version": "2012-10-17", "Statement": []})
OF = f"account {ACCOUNT}: "

FAULTS = (
    # The way of events.
    Fault(
        "no-queue",
        lambda scene: scene.aws("sqs", "delete_queue", QueueUrl=scene.queue),
        f"{OF}queue relay-events",
        f"{SETUP} (create the queue relay-events",
        said="there is none",
    ),
    Fault("queue-shut", queue(Policy=NOBODY), f"{OF}queue policy of relay-events", "let the topic put events into"),
    Fault(
        "queue-impatient",
        queue(VisibilityTimeout="5"),
        f"{OF}queue relay-events",
        SETUP,
        said="comes again after 5 s, not 120",
    ),
    Fault("queue-forgetful", queue(MessageRetentionPeriod="60"), f"{OF}queue relay-events", "mend the queue"),
    Fault("queue-clings", queue(RedrivePolicy=""), f"{OF}queue relay-events", SETUP, said="nobody can read stays"),
    Fault(
        "queue-locked",
        queue(KmsMasterKeyId="alias/aws/sqs"),
        f"{OF}encryption of relay-events",
        "SSE-SQS",
        undo=queue(KmsMasterKeyId=""),
    ),
    Fault(
        "no-dead-letters",
        lambda scene: scene.aws("sqs", "delete_queue", QueueUrl=dead(scene)),
        f"{OF}dead-letter queue relay-events-dead",
        "create the queue relay-events-dead",
    ),
    Fault(
        "dead-letters",
        lambda scene: scene.aws("sqs", "send_message", QueueUrl=dead(scene), MessageBody="nonsense"),
        f"{OF}events in relay-events",
        "Start DLQ redrive",
        "warning",
        "1 events are in its dead-letter queue",
        undo=lambda scene: scene.aws("sqs", "purge_queue", QueueUrl=dead(scene)),
    ),
    Fault(
        "no-topic",
        lambda scene: scene.aws("sns", "delete_topic", TopicArn=scene.topic),
        f"{OF}topic relay-events",
        f"{SETUP} (create the topic relay-events",
    ),
    Fault("topic-shut", topic("Policy", NOBODY), f"{OF}topic policy of relay-events", "let SES publish to relay-events"),
    Fault(
        "topic-locked",
        topic("KmsMasterKeyId", "alias/aws/sns"),
        f"{OF}encryption of relay-events",
        "one of your own that ses.amazonaws.com may use",
        undo=topic("KmsMasterKeyId", ""),
    ),
    Fault("topic-signs-badly", topic("SignatureVersion", "1"), f"{OF}topic relay-events", "sign relay-events with SHA-256"),
    Fault(
        "no-subscription",
        lambda scene: scene.aws("sns", "unsubscribe", SubscriptionArn=subscribed(scene)),
        f"{OF}subscription of relay-events",
        "subscribe the queue relay-events to the topic",
    ),
    Fault(
        "raw",
        lambda scene: scene.aws(
            "sns",
            "set_subscription_attributes",
            SubscriptionArn=subscribed(scene),
            AttributeName="RawMessageDelivery",
            AttributeValue="true",
        ),
        f"{OF}subscription of relay-events",
        "let SNS keep its envelope",
    ),
    Fault("destination-off", destination(Enabled=False), f"{OF}event destination of {SET}", SETUP, said="it is disabled"),
    Fault(
        "destination-deaf",
        destination(MatchingEventTypes=["SEND"]),
        f"{OF}event destination of {SET}",
        "mend the event destination",
        said="it does not tell of BOUNCE",
    ),
    Fault(
        "no-set",
        lambda scene: scene.aws("sesv2", "delete_configuration_set", ConfigurationSetName=SET),
        f"{OF}configuration set {SET}",
        f"{SETUP} (create the configuration set {SET})",
    ),
    Fault(
        "set-stopped",
        sending(False),
        f"{OF}configuration set {SET}",
        f"let it send again (SES console, Configuration sets, {SET})",
        undo=sending(True),
    ),
    # What AWS grants.
    Fault("key-unknown", script(operation="GetAccount", times=None, fault={"error": "UnrecognizedClientException"}), f"{OF}account", "access key was deleted or deactivated"),
    Fault("denied", refused("GetAccount", "ses:GetAccount"), f"{OF}account", "allow ses:GetAccount in a policy"),
    Fault("out-of-reach", script(operation="GetAccount", times=None, fault="close"), f"{OF}account", "let this machine reach http://127.0.0.1"),
    Fault("beginner", change(production=False), f"{OF}production", "ask AWS for production access in eu-west-1"),
    Fault("paused", change(paused=True), f"{OF}sending", "see the SES console's Account dashboard"),
    Fault("under-review", change(enforcement="PROBATION"), f"{OF}enforcement", "answer AWS's case before SES stops"),
    Fault("shut-down", change(enforcement="SHUTDOWN"), f"{OF}enforcement", "ask for a new review"),
    Fault("used-up", used(100), f"{OF}quota", "ask AWS for a higher quota"),
    Fault("nearly-used-up", used(85), f"{OF}quota left", "in time", "warning", "85% of the daily quota"),
    Fault("clock-off", change(clock=-120), "clock", "NTP", "warning", "120 s ahead of AWS's"),
    Fault("clock-wrong", change(clock=420), "clock", "NTP"),
    # Domains.
    Fault("unverified", change(unverified=[DOMAIN]), f"domain {DOMAIN}: identity", "relay domain dns shared.example"),
    Fault("no-dkim", change(dkim_failed=[DOMAIN]), f"domain {DOMAIN}: DKIM", "._domainkey.shared.example"),
    Fault("no-spf", in_dns(DOMAIN, "TXT"), f"domain {DOMAIN}: SPF", "publish v=spf1 include:amazonses.com", "warning"),
    Fault("no-dmarc", in_dns(f"_dmarc.{DOMAIN}", "TXT"), f"domain {DOMAIN}: DMARC", "publish v=DMARC1; p=none", "warning"),
    # This machine.
    Fault("dns-lies", in_dns("amazon.com", "MX", "MX 0 ."), "DNS", "name servers that know the world", "warning"),
)  # fmt: skip


# -- the loop --------------------------------------------------------------------------------------------------------

ALL = ("delivered", "bounced", "complained")
LOOPS: dict[str, tuple[Do, dict[str, str], str]] = {
    "topic-shut": (
        topic("Policy", NOBODY),
        dict.fromkeys(ALL, "likely lost at the topic policy of relay-events"),
        SETUP,
    ),
    "destination-deaf": (
        destination(MatchingEventTypes=["SEND", "DELIVERY"]),
        dict.fromkeys(("bounced", "complained"), f"likely lost at the event destination of {SET}"),
        SETUP,
    ),
    "lost": (script(events={"drop": ["Bounce"]}), {"bounced": "though each link of the way looks well"}, "--wait"),
    "sending-denied": (
        refused("SendEmail", "ses:SendRawEmail"),
        dict.fromkeys(ALL, "SES does not take it"),
        "allow ses:SendRawEmail",
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_probe_that_does_not_come_back_names_the_likely_link(scene: Scene, name: str) -> None:
    broken, expected, remedy = LOOPS[name]
    broken(scene)
    looked = scene.examined(timedelta(seconds=2))
    scene.mend()
    probes = {check.rpartition(" ")[2]: each for check, each in looked.items() if ": probe " in check}
    assert {expects for expects, each in probes.items() if each.level is Level.RED} == expected.keys()
    for expects, words in expected.items():
        assert words in probes[expects].said
        assert remedy in probes[expects].remedy


# -- what carries it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=[each.name for each in FAULTS])
def test_each_fault_names_its_remedy(scene: Scene, fault: Fault) -> None:
    try:
        fault.broken(scene)
        looked = scene.examined()
        assert fault.check in looked, looked
        shown = looked[fault.check]
        assert shown.level.value == fault.level
        assert fault.remedy in shown.remedy
        assert fault.said in shown.said
        assert not [each for each in looked.values() if each.level in {Level.RED, Level.WARNING} and not each.remedy]
    finally:
        if fault.undo is not None:
            fault.undo(scene)
        scene.mend()


def test_what_may_not_be_looked_at_is_no_fault(scene: Scene) -> None:
    refused("GetTopicAttributes", "sns:GetTopicAttributes")(scene)
    shown = scene.examined()[f"{OF}topic relay-events"]
    scene.mend()
    assert (shown.level, "sns:GetTopicAttributes" in shown.remedy) == (Level.SKIPPED, True)


def test_no_probe_goes_where_nobody_may_send(scene: Scene) -> None:
    run(scene.folder, "account", "pause", "customer", "--reason", "a look at it")
    looked = examined(scene, "--account", "customer")
    run(scene.folder, "account", "resume", "customer")
    assert looked["account customer: probes"]["said"] == "the account is paused"
    assert "a look at it" in looked["account customer"]["said"]


def test_an_account_that_is_not_there(scene: Scene) -> None:
    done = run(scene.folder, "doctor", "--account", "nobody")
    assert (done.returncode, "there is no SES account 'nobody'" in done.stderr) == (os.EX_DATAERR, True)
    done = run(scene.folder, "doctor", "--wait", "soon")
    assert (done.returncode, "--wait" in done.stderr) == (os.EX_DATAERR, True)


def test_no_secret_is_shown(scene: Scene) -> None:
    shown = run(scene.folder, "doctor", "--no-send").stdout + run(scene.folder, "doctor", "--no-send", "--json").stdout
    key = Path(scene.folder / "master.key").read_text().strip() if (scene.folder / "master.key").exists() else "-" * 9
    assert key not in shown
    assert "secret_access_key" not in shown
