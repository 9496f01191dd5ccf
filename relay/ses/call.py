"""One request to SES, SNS or SQS that can be repeated, as a value: it can be planned, shown and made later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Service(Enum):
    """Whom it goes to, by the name that IAM knows it by."""

    SES = "ses"
    SNS = "sns"
    SQS = "sqs"


@dataclass(frozen=True, slots=True)
class Call:
    """`operation` is named as botocore's methods are, `request` holds its parameters."""

    service: Service
    operation: str
    request: Mapping[str, Any] = field(default_factory=dict)

    @property
    def action(self) -> str:
        """What IAM calls it (SES fact 7.2)."""
        return f"{self.service.value}:{''.join(map(str.capitalize, self.operation.split('_')))}"
