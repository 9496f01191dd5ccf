"""The policies of a topic and of a queue: what they have to let in, and whether they do. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Policy: TypeAlias = Mapping[str, Any]

SES_PUBLISHES = "RelaySesPublishes"
TOPIC_SENDS = "RelayTopicSends"
_STRANGER = "000000000000"  # nobody has this account number


@dataclass(frozen=True, slots=True)
class Visit:
    """Who comes with what: a service of AWS, on behalf of the thing `source` that the account `number` owns."""

    service: str
    action: str
    resource: str
    source: str
    number: str

    @property
    def by_a_stranger(self) -> Visit:
        """The same, for something of another account."""
        source = self.source.replace(f":{self.number}:", f":{_STRANGER}:")
        return Visit(self.service, self.action, self.resource, source, _STRANGER)


def publishing(topic: str, configuration_set: str, number: str) -> Visit:
    """SES publishes an event of a configuration set, both by their ARNs (SES fact 4)."""
    return Visit("ses.amazonaws.com", "sns:Publish", topic, configuration_set, number)


def sending(queue: str, topic: str, number: str) -> Visit:
    """SNS puts a notification of a topic into a queue, both by their ARNs (SES fact 5.3)."""
    return Visit("sns.amazonaws.com", "sqs:SendMessage", queue, topic, number)


def topic_statement(topic: str, configuration_sets: Iterable[str], number: str) -> Policy:
    """SES may publish the events of these configuration sets, and of no others."""
    return {
        "Sid": SES_PUBLISHES,
        "Effect": "Allow",
        "Principal": {"Service": "ses.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": topic,
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": number, "AWS:SourceArn": sorted(set(configuration_sets))},
        },
    }


def queue_statement(queue: str, topic: str) -> Policy:
    """This topic may put messages into the queue, and no other."""
    return {
        "Sid": TOPIC_SENDS,
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }


def with_statement(policy: Policy | None, statement: Policy) -> str:
    """The policy with this statement in place of the one of its Sid, and all others as they are: JSON."""
    others = [each for each in _statements(policy) if each.get("Sid") != statement["Sid"]]
    kept = {name: value for name, value in (policy or {}).items() if name != "Statement"}
    return json.dumps({"Version": "2012-10-17"} | kept | {"Statement": [*others, statement]}, sort_keys=True)


def read_policy(text: str | None) -> Policy | None:
    """What an attribute holds; None where that is no policy."""
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def permits(policy: Policy | None, visit: Visit) -> bool:
    """Whether the policy lets a visit in. What it says in words not known here allows nothing, and forbids nothing."""
    applying = [each.get("Effect") for each in _statements(policy) if _applies(each, visit)]
    return "Allow" in applying and "Deny" not in applying


def _statements(policy: Policy | None) -> list[Policy]:
    found = (policy or {}).get("Statement")
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict)]


def _applies(statement: Policy, visit: Visit) -> bool:
    return (
        _is_meant(statement.get("Principal"), visit.service)
        and _fits(statement.get("Action"), visit.action.lower(), is_lower=True)
        and _fits(statement.get("Resource", "*"), visit.resource)
        and _holds(statement.get("Condition") or {}, visit)
    )


def _is_meant(principal: Any, service: str) -> bool:
    if not isinstance(principal, dict):
        return bool(principal == "*")
    return "*" in _texts(principal.get("AWS")) or bool({service, "*"} & {*_texts(principal.get("Service"))})


def _fits(patterns: Any, text: str, *, is_lower: bool = False) -> bool:
    return any(_like(each.lower() if is_lower else each, text) for each in _texts(patterns))


def _holds(conditions: Any, visit: Visit) -> bool:
    # Not aws:SourceOwner, which the policy that SNS gives a new topic asks for: nobody promises that SES brings it.
    said = {
        "aws:sourcearn": visit.source,
        "aws:sourceaccount": visit.number,
        "aws:securetransport": "true",
    }
    if not isinstance(conditions, dict):
        return False
    return all(
        isinstance(keys, dict) and all(_is_true(operator, said.get(key.lower()), keys[key]) for key in keys)
        for operator, keys in conditions.items()
    )


def _is_true(operator: str, value: str | None, wanted: Any) -> bool:
    name = operator.lower()
    if value is None:
        return name.endswith("ifexists")
    match name.removesuffix("ifexists"):
        case "stringequals":
            return value in _texts(wanted)
        case "stringequalsignorecase" | "bool":
            return value.lower() in map(str.lower, _texts(wanted))
        case "stringlike" | "arnlike" | "arnequals":  # the last two are the same
            return _fits(wanted, value)
    return False


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in values if each is not None]


def _like(pattern: str, text: str) -> bool:
    parts = ("." if each == "?" else ".*" if each == "*" else re.escape(each) for each in re.split(r"([*?])", pattern))
    return re.fullmatch("".join(parts), text) is not None
