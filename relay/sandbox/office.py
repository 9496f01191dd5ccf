"""Brings what is published on topics to who is subscribed. What cannot be delivered is lost as at SNS, and counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from relay.sandbox import queue_attributes
from relay.sandbox.arns import Arn, read_arn
from relay.sandbox.notifications import Envelope, confirmation, notification, unsigned, unsubscription
from relay.sandbox.policies import Asking
from relay.sandbox.pushing import Post, Pusher
from relay.sandbox.queue_list import Held
from relay.sandbox.refusals import Refusal
from relay.sandbox.signing import Signer
from relay.sandbox.topic_attributes import read_retries
from relay.sandbox.topics import PUSHED, Subscription, Topic

_AGENT = "Amazon Simple Notification Service Agent"


class Office:
    """`lost` counts, by why, what nobody will ever hear of. `find` says which queue has an ARN."""

    def __init__(self, find: Callable[[Arn], Held | None]) -> None:
        self._find = find
        self.lost = Counter[str]()
        self.pusher = Pusher()
        self.signer = Signer()

    def publish(self, topic: Topic, message: str, subject: str | None, is_raw: bool = False) -> str:
        """To each that has confirmed; the id of the message. `is_raw`: without an envelope, whatever it asked for."""
        id = str(uuid4())
        envelope = notification(str(topic.arn), message, subject, id, datetime.now(UTC))
        for each in topic.subscriptions.values():
            if each.is_confirmed:
                self._deliver(topic, each, envelope, is_raw or each.is_raw)
        return id

    def confirm(self, topic: Topic, subscription: Subscription) -> None:
        """Ask the endpoint whether it wants it. A queue of the topic's account is not asked."""
        if subscription.protocol == "sqs" and read_arn(subscription.endpoint, "sqs").account == topic.arn.account:
            subscription.is_confirmed = True
            return
        self._deliver(topic, subscription, confirmation(str(topic.arn), topic.arn.region, subscription.token), False)

    def _deliver(self, topic: Topic, subscription: Subscription, envelope: Envelope, is_raw: bool) -> None:
        lost = partial(self._bury, topic, subscription, envelope)
        if subscription.protocol in PUSHED:
            self.pusher.send(self._post(topic, subscription, envelope, is_raw, lost))
            return
        body = envelope["Message"] if is_raw else self._for_queue(topic, subscription, envelope)
        reason = self._put(topic, subscription.endpoint, body)
        if reason is not None:
            lost(reason)

    def _for_queue(self, topic: Topic, subscription: Subscription, envelope: Envelope) -> str:
        return json.dumps(_with_way_out(unsigned(envelope, topic.arn.region), topic, subscription))

    def _post(
        self, topic: Topic, subscription: Subscription, envelope: Envelope, is_raw: bool, lost: Callable[[str], None]
    ) -> Post:
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "User-Agent": _AGENT,
            "x-amz-sns-message-type": envelope["Type"],
            "x-amz-sns-message-id": envelope["MessageId"],
            "x-amz-sns-topic-arn": str(topic.arn),
        }
        if envelope["Type"] == "Notification":
            headers["x-amz-sns-subscription-arn"] = subscription.arn
        if is_raw:
            headers["x-amz-sns-rawdelivery"] = "true"
            body = envelope["Message"]
        else:
            signed = self.signer.sign(envelope, topic.arn.region, topic.signature_version)
            body = json.dumps(_with_way_out(signed, topic, subscription))
        retries, apart = read_retries(subscription.attributes.get("DeliveryPolicy"))
        return Post(subscription.endpoint, headers, body.encode(), retries, apart, lost)

    def _bury(self, topic: Topic, subscription: Subscription, envelope: Envelope, reason: str) -> None:
        """Into the dead-letter queue of the subscription, if it has one that takes it; it is lost otherwise."""
        dead = subscription.dead_letters
        body = self._for_queue(topic, subscription, envelope)
        if dead is None or self._put(topic, dead, body) is not None:
            self.lost[reason] += 1

    def _put(self, topic: Topic, queue: str, body: str) -> str | None:
        """Why the queue does not take it; None when it has."""
        try:
            held = self._find(read_arn(queue, "sqs"))
        except Refusal:
            held = None
        if held is None:
            return "queue missing"
        source = str(topic.arn)
        asking = Asking("sns.amazonaws.com", "sqs:SendMessage", str(held.arn), source, topic.arn.account)
        if held.policy is None or not held.policy.allows(asking):
            return "queue policy"
        if queue_attributes.is_closed_to_services(held.attributes):
            return "queue key"
        held.queue.put(body)
        return None


def _with_way_out(envelope: Envelope, topic: Topic, subscription: Subscription) -> Envelope:
    if envelope["Type"] != "Notification":
        return envelope
    return envelope | {"UnsubscribeURL": unsubscription(topic.arn.region, subscription.arn)}
