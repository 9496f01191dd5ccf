"""Golden vectors: signatures that OpenSSL made, of both versions, with and without Subject (the issue's fourth point)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.feedback.sns.posts import Sort, read
from relay.feedback.sns.signatures import Certificate, NotSns
from tests.feedback.sns import CERTIFICATE, GOLDEN, TOPIC, header

NAMES = ["notification", "subject", "subscription", "unsubscription"]
SIGNED = {"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
NOW = datetime(2026, 1, 5, 12, 1, tzinfo=UTC)


def members(name: str, version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{name}-{version}.json").read_text())
    return found


def certificate(name: str = "sns.pem") -> Certificate:
    return Certificate((GOLDEN / name).read_bytes())


def is_signed(found: dict[str, Any], name: str = "sns.pem") -> bool:
    post = read(header(found), found)
    return certificate(name).has_signed(post.signed, post.signature, post.version)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_signed_is_believed(name: str, version: str) -> None:
    found = members(name, version)
    post = read(header(found), found)
    assert (post.topic, post.version, post.certificate_url) == (TOPIC, version, CERTIFICATE)
    assert post.at == datetime(2026, 1, 5, 12, 0, 1, 234000, UTC)
    assert post.message == found["Message"]
    assert post.token == found.get("Token", "")
    assert (post.sort is Sort.NOTIFICATION) == (name in {"notification", "subject"})
    assert is_signed(found)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_altered_is_not(name: str, version: str) -> None:
    whole = members(name, version)
    for changed in sorted(SIGNED & whole.keys() - {"Type"}):
        old = whole[changed]
        new = {"Timestamp": old.replace("2026", "2025"), "TopicArn": f"{old}2"}.get(changed, f"{old}x")
        assert not is_signed(whole | {changed: new}), changed
    other = "1" if version == "2" else "2"
    assert not is_signed(whole | {"SignatureVersion": other})
    assert not is_signed(whole | {"Signature": members(name, other)["Signature"]})
    assert not is_signed(whole | {"Signature": ""})
    assert is_signed(whole | {"UnsubscribeURL": "x", "MessageAttributes": {}})  # no part of what is signed, nor used


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_subject_is_signed_where_it_is_there(version: str) -> None:
    with_one, without = members("subject", version), members("notification", version)
    assert not is_signed(without | {"Subject": with_one["Subject"]})
    assert not is_signed({name: value for name, value in with_one.items() if name != "Subject"})
    assert not is_signed(with_one | {"Subject": ""})
    assert not is_signed(without | {"Subject": ""})
    assert is_signed(without | {"Subject": None})


def test_what_is_signed_cannot_be_cut_in_other_places() -> None:
    """A Subject that is moved into the MessageId leaves the same octets to sign, and would be another post."""
    found = members("subject", "2")
    subject = found.pop("Subject")
    with pytest.raises(Problem) as caught:
        read({}, found | {"MessageId": f"{found['MessageId']}\nSubject\n{subject}"})
    assert caught.value.kind is Kind.BAD_REQUEST
    with pytest.raises(Problem):
        read(header(found), found | {"Subject": "a\nTimestamp\nb"})


@pytest.mark.parametrize(("name", "is_valid"), [("sns.pem", True), ("expired.pem", False), ("early.pem", False)])
def test_a_certificate_is_for_a_time(name: str, is_valid: bool) -> None:
    assert certificate(name).is_valid(NOW) is is_valid


@pytest.mark.parametrize("name", ["other.pem", "two.pem", "key.pem", "make.py"])
def test_a_certificate_of_somebody_else_is_none(name: str) -> None:
    with pytest.raises(NotSns):
        certificate(name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
WHOLE = members("subject", "2")
TOLD_BY = (SIGNED & WHOLE.keys()) | {"Signature", "SignatureVersion"}


@given(st.dictionaries(st.sampled_from(sorted({*WHOLE, "Token"})), JSON))
def test_whatever_is_posted_is_a_post_or_a_problem(changes: dict[str, Any]) -> None:
    found = WHOLE | changes
    try:
        post = read({"x-amz-sns-message-type": "Notification"}, found)
    except Problem as problem:
        assert (problem.kind, problem.aspect) == (Kind.BAD_REQUEST, "malformed")
        return
    is_same = all(found[name] == WHOLE[name] for name in TOLD_BY)
    assert certificate().has_signed(post.signed, post.signature, post.version) == is_same
