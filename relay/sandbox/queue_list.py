"""The queues of one account in one region, by name."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping

from relay.sandbox import queue_attributes
from relay.sandbox.arns import Arn
from relay.sandbox.policies import Policy
from relay.sandbox.queues import Item, Queue, Redrive
from relay.sandbox.refusals import Refusal
from relay.sandbox.tags import Tags

BUILT_IN = "relay-events"
_MOST = 100
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Held:
    """A queue with its attributes and tags. `policy` is None where nobody but its account may do anything."""

    def __init__(self, arn: Arn) -> None:
        self.arn = arn
        self.queue = Queue()
        self.attributes: dict[str, str] = {}
        self.policy: Policy | None = None
        self.tags = Tags()
        self.created_at = self.changed_at = int(time.time())

    @property
    def visibility(self) -> int:
        """Seconds."""
        return int(self.shown("VisibilityTimeout"))

    @property
    def wait(self) -> int:
        """Seconds that a receive waits when it does not say."""
        return int(self.shown("ReceiveMessageWaitTimeSeconds"))

    def shown(self, name: str) -> str:
        return self.attributes.get(name) or queue_attributes.DEFAULTS.get(name, "")


class Queues:
    """By name. `relay-events` is there from the start, as if somebody had made it by hand."""

    def __init__(self, region: str, account: str) -> None:
        self._region = region
        self._account = account
        self._held: dict[str, Held] = {}
        self.create(BUILT_IN, {}, {})

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held.values())

    def find(self, name: str) -> Held:
        """Raises Refusal."""
        held = self._held.get(name)
        if held is None:
            raise Refusal("QueueDoesNotExist")
        return held

    def get(self, name: str) -> Held | None:
        return self._held.get(name)

    def create(self, name: str, attributes: Mapping[str, object], tags: dict[str, str]) -> Held:
        """The queue of that name, which may be there already with the same attributes. Raises Refusal."""
        checked = queue_attributes.check(attributes)
        known = self._held.get(name)
        if known is not None:
            for each, value in checked.items():
                if known.shown(each) != value:
                    text = f"A queue already exists with the same name and a different value for attribute {each}"
                    raise Refusal("QueueNameExists", text)
            return known
        if not _NAME.fullmatch(name):
            text = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
            raise Refusal("InvalidParameterValueException", text)
        if len(self._held) >= _MOST:
            raise Refusal("OverLimit", f"The sandbox gives an account {_MOST} queues in a region.")
        held = Held(Arn("sqs", self._region, self._account, name))
        held.tags.put(tags)
        self._set(held, checked)
        self._held[name] = held
        return held

    def change(self, held: Held, attributes: Mapping[str, object]) -> None:
        """Set some attributes; an empty policy or key is none. Raises Refusal, and nothing is changed then."""
        self._set(held, queue_attributes.check(attributes))

    def delete(self, held: Held) -> None:
        self._held.pop(held.arn.name, None)

    def _set(self, held: Held, checked: dict[str, str]) -> None:
        redrive = self._redrive(checked["RedrivePolicy"]) if checked.get("RedrivePolicy") else None
        if "RedrivePolicy" in checked:
            held.queue.redrive = redrive
        if "Policy" in checked:
            held.policy = Policy(checked["Policy"]) if checked["Policy"] else None
        held.attributes = {name: value for name, value in {**held.attributes, **checked}.items() if value}
        held.changed_at = int(time.time())

    def _redrive(self, text: str) -> Redrive:
        target, after = queue_attributes.read_redrive(text)
        name = target.rpartition(":")[2]
        if name not in self._held or str(self._held[name].arn) != target:
            raise queue_attributes.no_dead_letters(text)

        def bury(item: Item) -> None:
            dead = self._held.get(name)  # gone: so is the message
            if dead is not None:
                dead.queue.add(item)

        return Redrive(after, bury)
