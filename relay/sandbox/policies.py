"""The resource policies of queues and topics: whether one lets another service do something. Knows what AWS services
need of them, and no more of IAM: what it cannot read grants nothing."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass

from relay.sandbox.refusals import Refusal

_LONGEST = 30_720  # characters (SNS; SQS allows less)
_PATTERNS = {"stringlike", "arnlike", "arnequals"}  # the two of ARNs are one (IAM user guide, ARN condition operators)


@dataclass(frozen=True, slots=True)
class Asking:
    """A service of AWS that would do something: `sns.amazonaws.com` would `sqs:SendMessage` on a queue's ARN.

    `source` is the ARN of what it acts for, `account` the number of the account that owns that.
    """

    service: str
    action: str
    resource: str
    source: str
    account: str


class Policy:
    """A policy document, parsed once."""

    def __init__(self, text: str) -> None:
        """Raises Refusal when it is none."""
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            read = None
        statements = read.get("Statement") if isinstance(read, dict) else None
        if isinstance(statements, dict):
            statements = [statements]
        is_one = isinstance(statements, list) and all(isinstance(each, dict) for each in statements)
        if not is_one or len(text) > _LONGEST:
            raise Refusal("InvalidAttributeValue", "Invalid value for the parameter Policy.")
        self._statements: list[Mapping[str, object]] = statements or []

    def allows(self, asking: Asking) -> bool:
        effects = [each.get("Effect") for each in self._statements if _is_about(each, asking)]
        return "Allow" in effects and "Deny" not in effects


def _is_about(statement: Mapping[str, object], asking: Asking) -> bool:
    return (
        _names(statement.get("Principal"), asking.service)
        and any(_fits(asking.action.lower(), each.lower()) for each in _texts(statement.get("Action")))
        and any(_fits(asking.resource, each) for each in _texts(statement.get("Resource", "*")))
        and _holds(statement.get("Condition") or {}, asking)
    )


def _names(principal: object, service: str) -> bool:
    if isinstance(principal, dict):
        return service in _texts(principal.get("Service")) or "*" in _texts(principal.get("AWS"))
    return principal == "*"


def _holds(conditions: object, asking: Asking) -> bool:
    known = {"aws:sourcearn": asking.source, "aws:sourceaccount": asking.account}
    if not isinstance(conditions, dict):
        return False
    for operator, keys in conditions.items():
        if not isinstance(keys, dict):
            return False
        for key, values in keys.items():
            has = known.get(key.lower())
            if has is None or not _compares(operator.lower(), has, _texts(values)):
                return False
    return True


def _compares(operator: str, has: str, values: list[str]) -> bool:
    if operator in _PATTERNS:
        return any(_fits(has, value) for value in values)
    return operator == "stringequals" and has in values


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]


def _fits(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))
