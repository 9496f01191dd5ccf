"""The names of things at AWS: `arn:aws:sqs:eu-west-1:000123456789:relay-events`."""

from __future__ import annotations

from dataclasses import dataclass

from relay.sandbox.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Arn:
    """`account` is twelve digits, `name` all that follows it."""

    service: str
    region: str
    account: str
    name: str

    def __str__(self) -> str:
        return f"arn:aws:{self.service}:{self.region}:{self.account}:{self.name}"


def read_arn(text: str, service: str) -> Arn:
    """Raises Refusal for what is no ARN of the service."""
    parts = text.split(":", 5)
    if len(parts) < 6 or parts[:3] != ["arn", "aws", service] or not all(parts[3:]):
        raise Refusal("InvalidParameter", f"Invalid parameter: an ARN of {service} is expected: {text[:200]}")
    return Arn(*parts[2:])
