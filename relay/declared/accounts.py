"""What may be said of an SES account."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field, model_validator

from relay.values import Label, LocalPath, Name, Secret, Section


class Credentials(Section):
    """Static keys, a profile, or a role to assume. None: the AWS default chain (environment, files, instance role)."""

    access_key_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None
    secret_access_key: Secret | None = None
    profile: Label | None = None
    role_arn: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[A-Za-z0-9_+=,.@/-]{1,512}$")] | None = (
        None
    )

    @model_validator(mode="after")
    def _is_one_sort(self) -> Credentials:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        if sum(each is not None for each in (self.profile, self.access_key_id, self.role_arn)) > 1:
            raise ValueError("give a profile, an access key or a role, not several of them")
        return self


class Egress(Section):
    """How calls leave for AWS."""

    proxy: Annotated[str, Field(pattern=r"^https?://[^/\s@]+/?$")] | None = None
    ca_bundle: LocalPath | None = None


Endpoint = Annotated[str, Field(pattern=r"^https?://[^/\s@]+/?$")]


class Via(Enum):
    """How the events of an SES account come here."""

    SQS = "sqs"  # its queue is asked: that works from behind any firewall
    SNS = "sns"  # SNS posts them to /api/ses-notifications
    NONE = "none"


QueueName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
TopicArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$")]


class FeedbackFields(Section):
    """How the events of an SES account come here. `queue` is in the account's region; `topics`: whose posts are
    believed (`via: sns`). `endpoint_url`: of SQS and SNS; None: AWS's own, or that of the stand-in for all of AWS that
    the account is reached at."""

    via: Via = Via.SQS
    queue: QueueName = "relay-events"
    topics: Annotated[tuple[TopicArn, ...], Field(max_length=20)] = ()
    endpoint_url: Endpoint | None = None


Rate = Annotated[float, Field(gt=0, le=100_000)]
Concurrency = Annotated[int, Field(ge=1, le=1000)]


class AccountFields(Section):
    """An SES account. `tenant` None: the operator's own. `rate` is recipients a second until SES says its own."""

    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")]
    tenant: Name | None = None
    credentials: Credentials = Credentials()
    endpoint_url: Endpoint | None = None
    egress: Egress = Egress()
    rate: Rate = 1.0
    concurrency: Concurrency | None = None
    feedback: FeedbackFields = FeedbackFields()


class AccountChange(Section):
    """What may change of an SES account. What is not named stays."""

    credentials: Credentials = Credentials()
    endpoint_url: Endpoint | None = None
    egress: Egress = Egress()
    rate: Rate = 1.0
    concurrency: Concurrency | None = None
    feedback: FeedbackFields = FeedbackFields()
