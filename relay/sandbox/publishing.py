"""Which way the events of a mail go: by the destinations of its configuration set; or, while its account has none in
that region, straight into the queue `relay-events`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from relay.sandbox import topic_attributes
from relay.sandbox.arns import Arn
from relay.sandbox.cloud import Cloud
from relay.sandbox.events import Event
from relay.sandbox.notifications import notification, unsigned, unsubscription
from relay.sandbox.policies import Asking
from relay.sandbox.queue_list import BUILT_IN
from relay.sandbox.regions import Region
from relay.sandbox.topics import Topic
from relay.sandbox.travel import Travel

SUBJECT = "Amazon SES Email Event Notification"


def publish(cloud: Cloud, region: Region, set_name: str, events: Sequence[Event]) -> None:
    """The events of one mail, as the scripts in force let them travel."""
    travel = cloud.faults.travel(region.account)
    if travel is None:
        for event in events:
            deliver(cloud, region, set_name, event)
        return
    for event in travel.chosen(events):
        cloud.transit.send(region.account, travel, partial(deliver, cloud, region, set_name, event, travel))


def deliver(cloud: Cloud, region: Region, set_name: str, event: Event, travel: Travel | None = None) -> None:
    """One event, now. Where AWS would lose it, it is lost, and counted."""
    message = event.message if travel is None else travel.written(event.message)
    is_raw = travel is not None and travel.raw
    if not region.configuration_sets.has_destinations:
        _into_built_in(cloud, region, message, is_raw)
        return
    for destination in region.configuration_sets.wanting(set_name, event.kind):
        topic = cloud.topic(destination.topic)
        reason = why_not(topic, region, set_name)
        if topic is None or reason is not None:
            cloud.office.lost[reason or "topic missing"] += 1
        else:
            cloud.office.publish(topic, message, SUBJECT, is_raw)


def why_not(topic: Topic | None, region: Region, set_name: str) -> str | None:
    """Why SES may not publish to the topic for that configuration set; None when it may."""
    if topic is None or topic.arn.region != region.name:
        return "topic missing"
    source = f"arn:aws:ses:{region.name}:{region.number}:configuration-set/{set_name}"
    if not topic.policy.allows(Asking("ses.amazonaws.com", "sns:Publish", str(topic.arn), source, region.number)):
        return "topic policy"
    return "topic key" if topic_attributes.is_closed_to_services(topic.attributes) else None


def _into_built_in(cloud: Cloud, region: Region, message: str, is_raw: bool) -> None:
    held = region.queues.get(BUILT_IN)
    if held is None:
        cloud.office.lost["queue missing"] += 1
        return
    if not is_raw:
        topic = str(Arn("sns", region.name, region.number, BUILT_IN))
        envelope = notification(topic, message, SUBJECT, str(uuid4()), datetime.now(UTC))
        way_out = unsubscription(region.name, f"{topic}:{BUILT_IN}")
        message = json.dumps(unsigned(envelope, region.name) | {"UnsubscribeURL": way_out})
    held.queue.put(message)
