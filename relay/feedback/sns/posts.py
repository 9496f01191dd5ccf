"""What SNS posts, read from its JSON and its header (SES fact 5.1). Nothing of it is believed yet. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Literal

from relay.errors import Kind, Problem

TYPE = "x-amz-sns-message-type"
TOPIC = "x-amz-sns-topic-arn"
MESSAGE_ID = "x-amz-sns-message-id"
RAW = "x-amz-sns-rawdelivery"

MALFORMED = "malformed"  # the aspect of what is no post of SNS
_LINE = re.compile(r"[^\x00-\x1f\x7f]{0,4096}")
_MESSAGE_ID = re.compile(r"[0-9A-Za-z-]{1,100}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")
_MOST_SIGNATURE = 2048  # characters of base64: an RSA key of 8,192 bits makes half of that


class Sort(Enum):
    """What a post is about."""

    NOTIFICATION = "Notification"
    SUBSCRIPTION = "SubscriptionConfirmation"
    UNSUBSCRIPTION = "UnsubscribeConfirmation"


# What a signature is over, in this order (SES fact 5.2). A Subject that is not there is left out.
_SIGNED = {
    Sort.NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    Sort.SUBSCRIPTION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_SIGNED[Sort.UNSUBSCRIPTION] = _SIGNED[Sort.SUBSCRIPTION]


@dataclass(frozen=True, slots=True)
class Post:
    """`token`: "" in a notification. `signed`: the octets that the signature is over."""

    sort: Sort
    message_id: str
    topic: str
    at: datetime
    message: str = field(repr=False)
    token: str = field(repr=False)
    version: Literal["1", "2"]
    signature: bytes = field(repr=False)
    certificate_url: str
    signed: bytes = field(repr=False)


def read(header: Mapping[str, str], members: Mapping[str, object]) -> Post:
    """Raises Problem(BAD_REQUEST) for anything but what SNS posts; `header` does not mind case."""
    given = _Members(members)
    try:
        sort = Sort(given.line("Type"))
    except ValueError:
        raise malformed("its Type is none of SNS's") from None
    message_id, topic, moment = given.line("MessageId"), given.line("TopicArn"), given.line("Timestamp")
    # Members are signed one below the other, so a line break in one of them would be read as the next one's beginning.
    for name in _SIGNED[sort]:
        if name != "Message" and (name != "Subject" or members.get(name) is not None):
            given.line(name)
    if not _MESSAGE_ID.fullmatch(message_id):
        raise malformed("its MessageId is none of SNS's")
    for name, said in ((TYPE, sort.value), (TOPIC, topic), (MESSAGE_ID, message_id)):
        if header.get(name, None if name == TYPE else said) != said:
            raise malformed(f"its header {name} says otherwise than its body")
    version = given.line("SignatureVersion")
    if version != "1" and version != "2":
        raise malformed("its SignatureVersion is neither 1 nor 2")
    return Post(
        sort=sort,
        message_id=message_id,
        topic=topic,
        at=_moment(moment),
        message=given.text("Message"),
        token="" if sort is Sort.NOTIFICATION else given.line("Token"),
        version="1" if version == "1" else "2",
        signature=_octets(given.line("Signature")),
        certificate_url=given.line("SigningCertURL"),
        signed=_signed(sort, members),
    )


class _Members:
    """Those of the JSON object, each a text."""

    def __init__(self, members: Mapping[str, object]) -> None:
        self._members = members

    def text(self, name: str) -> str:
        found = self._members.get(name)
        if not isinstance(found, str):
            raise malformed(f"its {name} is missing, or no text")
        return found

    def line(self, name: str) -> str:
        found = self.text(name)
        if not _LINE.fullmatch(found):
            raise malformed(f"its {name} is more than one line")
        return found


def _signed(sort: Sort, members: Mapping[str, object]) -> bytes:
    text = "".join(f"{name}\n{members[name]}\n" for name in _SIGNED[sort] if members.get(name) is not None)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise malformed("it has half a character") from None


def _moment(text: str) -> datetime:
    try:
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        pass
    raise malformed("its Timestamp is no moment")


def _octets(text: str) -> bytes:
    try:
        if len(text) <= _MOST_SIGNATURE:
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise malformed("its Signature is no base64")


def malformed(why: str) -> Problem:
    return Problem(Kind.BAD_REQUEST, f"this is no post of SNS: {why}", aspect=MALFORMED)
