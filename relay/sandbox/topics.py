"""The SNS topics of one account in one region, and who is subscribed to them. Sends nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from uuid import uuid4

from relay.sandbox import topic_attributes
from relay.sandbox.arns import Arn, read_arn
from relay.sandbox.policies import Policy
from relay.sandbox.refusals import Refusal
from relay.sandbox.tags import Tags

PUSHED = ("http", "https")
_PROTOCOLS = ("sqs", *PUSHED)
_MOST = 100
_MOST_SUBSCRIPTIONS = 100  # of a topic
_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")


class Subscription:
    """Who hears of what is published. It counts from when it is confirmed, with `token`."""

    def __init__(self, topic: Arn, protocol: str, endpoint: str) -> None:
        self.topic = topic
        self.id = str(uuid4())
        self.protocol = protocol
        self.endpoint = endpoint
        self.token = uuid4().hex * 4
        self.is_confirmed = False
        self.attributes: dict[str, str] = {}

    @property
    def arn(self) -> str:
        return f"{self.topic}:{self.id}"

    @property
    def is_raw(self) -> bool:
        return self.attributes.get("RawMessageDelivery") == "true"

    @property
    def dead_letters(self) -> str | None:
        """The ARN of the queue that takes what cannot be delivered."""
        text = self.attributes.get("RedrivePolicy")
        return None if text is None else str(json.loads(text)["deadLetterTargetArn"])

    def change(self, name: str, value: str) -> None:
        """Set an attribute; an empty one is none. Raises Refusal."""
        topic_attributes.check_subscription(name, value)
        self.attributes[name] = value
        if not value:
            del self.attributes[name]


class Topic:
    """A standard topic. `policy` says which services may publish."""

    def __init__(self, arn: Arn) -> None:
        self.arn = arn
        self.attributes: dict[str, str] = {}
        self.tags = Tags()
        self.subscriptions: dict[str, Subscription] = {}  # by ARN
        self.deleted = 0  # subscriptions
        self.policy = Policy(self.policy_text)

    @property
    def policy_text(self) -> str:
        return self.attributes.get("Policy") or topic_attributes.default_policy(self.arn)

    @property
    def signature_version(self) -> int:
        return int(self.attributes.get("SignatureVersion", "1"))

    def change(self, name: str, value: str) -> None:
        """Set an attribute; an empty one is the default. Raises Refusal."""
        topic_attributes.check_topic(name, value)
        policy = Policy(value or topic_attributes.default_policy(self.arn)) if name == "Policy" else self.policy
        self.attributes[name], self.policy = value, policy
        if not value:
            del self.attributes[name]

    def subscribe(self, protocol: str, endpoint: str, attributes: Mapping[str, str]) -> Subscription:
        """The one with that endpoint, which may be there already. Raises Refusal."""
        _check_endpoint(protocol, endpoint)
        for known in self.subscriptions.values():
            if (known.protocol, known.endpoint) == (protocol, endpoint):
                if any(known.attributes.get(name, "") != value for name, value in attributes.items()):
                    text = "Invalid parameter: Attributes Reason: Subscription already exists with different attributes"
                    raise Refusal("InvalidParameter", text)
                return known
        if len(self.subscriptions) >= _MOST_SUBSCRIPTIONS:
            raise Refusal("SubscriptionLimitExceeded", f"The sandbox takes {_MOST_SUBSCRIPTIONS} to a topic.")
        made = Subscription(self.arn, protocol, endpoint)
        for name, value in attributes.items():
            made.change(name, value)
        self.subscriptions[made.arn] = made
        return made

    def unsubscribe(self, arn: str) -> None:
        if self.subscriptions.pop(arn, None) is not None:
            self.deleted += 1


class Topics:
    """By name."""

    def __init__(self, region: str, account: str) -> None:
        self._region = region
        self._account = account
        self._held: dict[str, Topic] = {}

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._held.values())

    def find(self, arn: str) -> Topic:
        """Raises Refusal."""
        topic = self.get(read_arn(arn, "sns").name)
        if topic is None or str(topic.arn) != arn:
            raise Refusal("NotFound", "Topic does not exist")
        return topic

    def get(self, name: str) -> Topic | None:
        return self._held.get(name)

    def create(self, name: str, attributes: Mapping[str, str], tags: dict[str, str]) -> Topic:
        """The topic of that name, which may be there already with the same attributes and tags. Raises Refusal."""
        known = self._held.get(name)
        if known is not None:
            if any(known.attributes.get(each, "") != value for each, value in attributes.items()):
                text = "Invalid parameter: Attributes Reason: Topic already exists with different attributes"
                raise Refusal("InvalidParameter", text)
            if tags and known.tags.held != tags:
                text = "Invalid parameter: Tags Reason: Topic already exists with different tags"
                raise Refusal("InvalidParameter", text)
            return known
        if not _NAME.fullmatch(name):
            raise Refusal("InvalidParameter", "Invalid parameter: Topic Name")
        if len(self._held) >= _MOST:
            raise Refusal("TopicLimitExceeded", f"The sandbox gives an account {_MOST} topics in a region.")
        made = Topic(Arn("sns", self._region, self._account, name))
        for each, value in attributes.items():
            made.change(each, value)
        made.tags.put(tags)
        self._held[name] = made
        return made

    def delete(self, topic: Topic) -> None:
        """And its subscriptions with it."""
        self._held.pop(topic.arn.name, None)

    def subscription(self, arn: str) -> tuple[Topic, Subscription]:
        """Raises Refusal."""
        topic = self.get(read_arn(arn, "sns").name.partition(":")[0])
        found = None if topic is None else topic.subscriptions.get(arn)
        if topic is None or found is None:
            raise Refusal("NotFound", "Subscription does not exist")
        return topic, found


def _check_endpoint(protocol: str, endpoint: str) -> None:
    if protocol not in _PROTOCOLS:
        text = f"Invalid parameter: Does not support this protocol string: {protocol[:40]}"
        raise Refusal("InvalidParameter", text)
    if protocol == "sqs":
        read_arn(endpoint, "sqs")
    elif not endpoint.startswith(f"{protocol}://") or len(endpoint) > 2_000:
        raise Refusal("InvalidParameter", "Invalid parameter: Endpoint must match the specified protocol")
