"""How an SES account is reached: the credentials it is called with, where, and by which way out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

CONCURRENCY = 200  # calls in flight at once, at most: 900 a second at the latency SES usually has, and some to spare


@dataclass(frozen=True, slots=True)
class Chain:
    """The AWS default chain: environment, files, container, instance role."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile of the AWS configuration files of the user that runs the relay."""

    name: str


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """An access key; with a token where it is a temporary one."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Role:
    """A role that the relay assumes. `external_id`: 2 to 1224 characters; `session_name`: 2 to 64 (SES fact 7.1)."""

    role_arn: str
    external_id: str = field(repr=False)
    session_name: str


Credentials: TypeAlias = Chain | Profile | StaticKeys | Role


@dataclass(frozen=True, slots=True)
class Access:
    """One SES account in one region. `ca_bundle` is the path of a PEM file; a proxy's URL may hold a password."""

    name: str
    region: str
    credentials: Credentials
    endpoint_url: str | None = None
    proxy: str | None = field(default=None, repr=False)
    ca_bundle: str | None = None
    concurrency: int | None = None
    events_url: str | None = None  # of SQS and SNS; None: AWS's own


@dataclass(frozen=True, slots=True)
class Base:
    """What the relay calls AWS STS with to assume roles: its own identity, which trust policies name."""

    credentials: Chain | Profile | StaticKeys = Chain()
    region: str = "us-east-1"
    sts_endpoint_url: str | None = None
    proxy: str | None = field(default=None, repr=False)
    ca_bundle: str | None = None
