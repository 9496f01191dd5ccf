"""What SNS never sent changes nothing, and makes nobody ask anywhere (the issue's fourth point)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.feedback import sns
from tests.feedback.posted import Posted, outside, play
from tests.feedback.sns import CERTIFICATE, HOST, PEM, TOPIC, Members, header, notification, signed, stamp
from tests.feedback.sns_server import file

NOW = datetime.now(UTC)
Made = tuple[bytes, dict[str, str]]
Forgery = Callable[[Members], Made]


def whole(members: Members, **said: str) -> Made:
    """With the header that goes with it, but for what `said` says otherwise."""
    more = {f"x-amz-sns-{name.replace('_', '-')}": value for name, value in said.items()}
    return json.dumps(members).encode(), header(members) | more


def altered(**changes: Any) -> Forgery:
    """After it was signed. None: left out."""
    return lambda good: whole({name: value for name, value in (good | changes).items() if value is not None})


def again(**changes: Any) -> Forgery:
    """Signed as it is then, by SNS."""

    def forge(good: Members) -> Made:
        bare = {name: value for name, value in good.items() if not name.startswith("Sign")}
        return whole(signed(bare | changes))

    return forge


def at(url: str) -> Forgery:
    return altered(SigningCertURL=url)


def elsewhere(good: Members) -> Members:
    return good | {"TopicArn": TOPIC + "-2"}


def moved(good: Members) -> Made:
    """The Subject into the MessageId: the octets that are signed stay the same."""
    return altered(MessageId=f"{good['MessageId']}\nSubject\n{SUBJECT}", Subject=None)(good)[0], header(good)


def served(name: str) -> str:
    return f"https://{HOST}/SimpleNotificationService-{name}.pem"


SUBJECT = "Amazon SES Email Event Notification"
# By name: how it is made of a good post with a Subject, and how it is answered. 403 and 400 are not repeated by SNS.
FORGERIES: dict[str, tuple[Forgery, int, str]] = {
    # where the certificate is
    "another host": (at(f"https://evil.example{PEM}"), 403, "forged"),
    "S3": (at(f"https://s3.amazonaws.com{PEM}"), 403, "forged"),
    "a bucket": (at(f"https://sns.s3.eu-west-1.amazonaws.com{PEM}"), 403, "forged"),
    "another region": (at(f"https://sns.us-east-1.amazonaws.com{PEM}"), 403, "forged"),
    "userinfo": (at(f"https://{HOST}@127.0.0.2{PEM}"), 403, "forged"),
    "userinfo before it": (at(f"https://a:b@{HOST}{PEM}"), 403, "forged"),
    "port": (at(f"https://{HOST}:444{PEM}"), 403, "forged"),
    "plain": (at(f"http://{HOST}{PEM}"), 403, "forged"),
    "metadata": (at("http://169.254.169.254/SimpleNotificationService-12345678.pem"), 403, "forged"),
    "query": (at(f"{CERTIFICATE}?x"), 403, "forged"),
    "fragment": (at(f"{CERTIFICATE}#x"), 403, "forged"),
    "two slashes": (at(f"https://{HOST}/{PEM}"), 403, "forged"),
    "escaped dots": (at(f"https://{HOST}/%2e%2e{PEM}"), 403, "forged"),
    "another file": (at(f"https://{HOST}/x.pem"), 403, "forged"),
    "a list of URLs": (altered(SigningCertURL=[CERTIFICATE]), 400, "malformed"),
    "no URL": (altered(SigningCertURL=None), 400, "malformed"),
    # what is there
    "a redirect": (at(served("redirected")), 503, "unavailable"),
    "another's": (at(served("another1")), 403, "forged"),
    "of two names": (at(served("twonames")), 403, "forged"),
    "expired": (at(served("expired1")), 403, "forged"),
    "not yet valid": (at(served("tooearly")), 403, "forged"),
    "no certificate": (at(served("nocertif")), 403, "forged"),
    # whose it is
    "another topic": (lambda good: whole(elsewhere(good)), 403, "stranger"),
    "another topic, signed": (again(TopicArn=TOPIC + "-2"), 403, "stranger"),
    "another account's": (again(TopicArn=TOPIC.replace("1234", "4321")), 403, "stranger"),
    "a topic in the header": (lambda good: whole(elsewhere(good), topic_arn=TOPIC), 400, "malformed"),
    # when
    "a day old": (again(Timestamp=stamp(NOW - timedelta(hours=24, minutes=1))), 403, "stale"),
    "of 2012": (again(Timestamp="2012-04-25T21:49:25.719Z"), 403, "stale"),
    "of tomorrow": (again(Timestamp=stamp(NOW + timedelta(days=1))), 403, "stale"),
    "of never": (again(Timestamp="2026-02-30T00:00:00.000Z"), 400, "malformed"),
    "of another zone": (again(Timestamp="2026-02-28T00:00:00.000+02:00"), 400, "malformed"),
    "an older one renewed": (altered(Timestamp=stamp(NOW)), 403, "forged"),
    # what it says
    "altered Message": (altered(Message='{"eventType": "Complaint"}'), 403, "forged"),
    "altered Subject": (altered(Subject="Another"), 403, "forged"),
    "without its Subject": (altered(Subject=None), 403, "forged"),
    "a moved Subject": (moved, 400, "malformed"),
    "another MessageId": (altered(MessageId="22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"), 403, "forged"),
    "another Type": (altered(Type="UnsubscribeConfirmation", Token="a", SubscribeURL="https://a"), 403, "forged"),
    "an unknown Type": (altered(Type="Confirmation"), 400, "malformed"),
    "a Message that is JSON": (altered(Message={"eventType": "Bounce"}), 400, "malformed"),
    "half a character": (altered(Message="\ud800"), 400, "malformed"),
    # how it is signed
    "unsigned": (altered(Signature=None), 400, "malformed"),
    "an empty signature": (altered(Signature=""), 403, "forged"),
    "no base64": (altered(Signature="é"), 400, "malformed"),
    "a long signature": (altered(Signature="A" * 4096), 400, "malformed"),
    "another version": (altered(SignatureVersion="1"), 403, "forged"),
    "version 3": (altered(SignatureVersion="3"), 400, "malformed"),
    "version 2 as a number": (altered(SignatureVersion=2), 400, "malformed"),
    # how it is posted
    "raw": (lambda good: (str(good["Message"]).encode(), header(good) | {"x-amz-sns-rawdelivery": "true"}), 400, "raw"),
    "raw, and enveloped": (lambda good: whole(good, rawdelivery="true"), 400, "raw"),
    "raw, by nobody": (lambda good: (str(good["Message"]).encode(), {}), 400, "malformed"),
    "no header": (lambda good: (whole(good)[0], {}), 400, "malformed"),
    "another Type in the header": (lambda good: whole(good, message_type="SubscriptionConfirmation"), 400, "malformed"),
    "another id in the header": (lambda good: whole(good, message_id="1"), 400, "malformed"),
    "two Messages": (lambda good: (b'{"Message": "x", ' + whole(good)[0][1:], header(good)), 400, "bad_request"),
    "two megabytes": (lambda good: (whole(good | {"x": "x" * (2 << 20)})[0], header(good)), 413, "too_large"),
    "deep": (lambda good: (b'{"x": ' * 5000 + b"1" + b"}" * 5000, header(good)), 400, "bad_request"),
    "compressed": (
        lambda good: (whole(good)[0], header(good) | {"Content-Encoding": "gzip"}),
        415,
        "unsupported_media",
    ),
    "no JSON": (lambda good: (b"Message=x", header(good)), 400, "bad_request"),
    "a list": (lambda good: (b"[]", header(good)), 400, "bad_request"),
    "nothing": (lambda good: (b"", header(good)), 400, "bad_request"),
}
SERVED = {
    "redirected": b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.2:1/x.pem\r\nContent-Length: 0\r\n\r\n",
    "another1": file("other.pem"),
    "twonames": file("two.pem"),
    "expired1": file("expired.pem"),
    "tooearly": file("early.pem"),
    "nocertif": file("make.py"),
}


async def good(scene: Posted) -> Members:
    """A post that is believed, with a Subject: a message of ours bounced."""
    return signed(notification(await scene.bounced(), Subject=SUBJECT))


def test_no_forgery_changes_anything_and_the_good_one_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(scene: Posted) -> None:
        post = await good(scene)
        scene.aws.answers |= {served(name).removeprefix(f"https://{HOST}"): said for name, said in SERVED.items()}
        before = await scene.everything()
        told: dict[str, tuple[int, str]] = {}
        with outside(monkeypatch) as reached:
            for name, (forge, _, _) in FORGERIES.items():
                octets, said = forge(post)
                counted = scene.counted()
                answer = await scene.post(octets, said)
                [why] = [each for each, count in scene.counted().items() if count != counted.get(each, 0)]
                told[name] = (answer.status, why)
        assert told == {name: (status, why) for name, (_, status, why) in FORGERIES.items()}
        assert await scene.everything() == before
        assert reached == []
        assert set(scene.names.asked) == {(HOST, 443)}
        assert {line.split()[1] for line in scene.aws.asked} == {PEM} | {
            served(name).removeprefix(f"https://{HOST}") for name in SERVED
        }
        assert scene.stand_in.asked == []
        assert scene.push.faults() == {}
        for expected in (b"heard", b"repeated", b"repeated"):
            assert (await scene.post(post)).body == expected
        after = await scene.everything()
        assert [len(after[table]) - len(before[table]) for table in ("heard", "suppressions")] == [1, 1]

    play(tmp_path, story)


def test_what_a_forgery_differs_from_is_believed(tmp_path: Path) -> None:
    """Each is refused for what was done to it: without the headers that may be missing, it is heard."""

    async def story(scene: Posted) -> None:
        post = await good(scene)
        octets, said = whole(post)
        kind = {"x-amz-sns-message-type": said["x-amz-sns-message-type"], "Content-Type": "application/json"}
        assert (await scene.post(octets, kind)).body == b"heard"

    play(tmp_path, story)


def test_sha_1_is_a_forgery_where_sha_256_is_asked_for(tmp_path: Path) -> None:
    async def story(scene: Posted) -> None:
        post = await good(scene)
        before = await scene.everything()
        bare = {name: value for name, value in post.items() if not name.startswith("Sign")}
        assert (await scene.post(signed(bare, "1"))).status == 403
        assert await scene.everything() == before
        assert (await scene.post(post)).body == b"heard"

    play(tmp_path, story, only_signature_2=True)


def test_a_replay_after_a_day_is_stale(tmp_path: Path) -> None:
    """Within the day, the event counts once, whoever remembers the post."""
    moment = [datetime.now(UTC)]

    async def story(scene: Posted) -> None:
        post = await good(scene)
        assert (await scene.post(post)).body == b"heard"
        after = await scene.everything()
        scene.push._taken.clear()  # a restart
        assert (await scene.post(post)).body == b"heard"
        moment[0] += timedelta(hours=24, minutes=1)
        scene.push._taken.clear()
        answer = await scene.post(post)
        assert (answer.status, scene.counted()["stale"]) == (403, 1)
        assert await scene.everything() == after

    play(tmp_path, story, now=lambda: moment[0])


def test_forged_confirmations_confirm_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Posted) -> None:
        bare = sns.confirmation(topic=sns.OTHER_TOPIC)
        post = signed(bare, url=sns.OTHER_CERTIFICATE)
        theirs = sns.confirmation(topic=TOPIC + "-2")
        with outside(monkeypatch) as reached:
            for forged in (
                post | {"Token": "another"},
                post | {"SubscribeURL": "https://evil.example"},
                post | {"Type": "UnsubscribeConfirmation"},
                post | {"TopicArn": TOPIC},
                signed(theirs, url=sns.OTHER_CERTIFICATE),
                signed(bare, url=CERTIFICATE),  # another region's
                signed(bare, url=scene.stand_in.url + PEM),
            ):
                assert (await scene.post(forged)).status == 403
        assert reached == []
        assert "POST / HTTP/1.1" not in scene.stand_in.asked
        assert scene.push.faults() == {}

    play(tmp_path, story)


def test_a_flood_of_certificates_makes_few_fetches(tmp_path: Path) -> None:
    async def story(scene: Posted) -> None:
        post = await good(scene)
        assert (await scene.post(post)).body == b"heard"
        for number in range(60):
            answer = await scene.post(*whole(post | {"SigningCertURL": served(f"{number:08}")}))
            assert answer.status == 503
        assert len(scene.aws.asked) == 10  # a minute, of which one was the good one
        again = signed({name: value for name, value in post.items() if not name.startswith("Sign")})
        assert (await scene.post(again)).status == 200  # what is known needs none

    play(tmp_path, story)
