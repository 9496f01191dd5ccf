"""Whose posts are believed: the topics that SES accounts name, and where SNS keeps its certificates for each. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from relay import log
from relay.declared import Via
from relay.ses.access import Access
from relay.store.directory.snapshot import Snapshot

# By partition of AWS: the end of its hosts' names (AWS: partitions).
SUFFIXES = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}
_AWS_HOSTS = tuple(f".{suffix}" for suffix in (*SUFFIXES.values(), "api.aws"))
_ARN = re.compile(r"arn:(aws[a-z-]*):sns:([a-z0-9-]{1,40}):\d{12}:[A-Za-z0-9_-]{1,256}")  # no FIFO: SES takes none
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-zA-Z]{8,64}\.pem")


@dataclass(frozen=True, slots=True)
class Source:
    """A topic of an SES account. `origin`: where SNS says that it has the certificates of its posts' signatures.

    `stand_in`: where they are, where something stands in for AWS. None: there.
    """

    access: Access
    region: str
    origin: str
    stand_in: str | None = None

    @property
    def account(self) -> str:
        return self.access.name

    def has_certificate(self, url: str) -> bool:
        """Whether a certificate at this URL is SNS's own to publish.

        One form is taken, letter for letter, so that nothing reads it otherwise than we do: no userinfo, port, query,
        fragment, escape or second slash has a place in it.
        """
        return url.startswith(self.origin) and _CERTIFICATE.fullmatch(url, len(self.origin)) is not None

    @property
    def host(self) -> str:
        """What is asked for certificates."""
        return self.stand_in or self.origin

    def address(self, url: str) -> str:
        """Where a URL that it `has_certificate` at leads."""
        return self.host + url.removeprefix(self.origin)


def sources_of(snapshot: Snapshot, accesses: Mapping[str, Access]) -> dict[str, tuple[Source, ...]]:
    """By ARN, the accounts that name the topic: as a rule one. Those without an access cannot be believed anything."""
    found: dict[str, tuple[Source, ...]] = {}
    for name, account in sorted(snapshot.accounts.items()):
        access = accesses.get(name)
        if account.feedback.via is not Via.SNS or access is None:
            continue
        for arn in account.feedback.topics:
            if (source := source_of(arn, access)) is None:
                log.trouble("push.topic_unknown", account=name, reason="its ARN is of no partition that Relay knows")
            else:
                found[arn] = (*found.get(arn, ()), source)
    return found


def source_of(arn: str, access: Access) -> Source | None:
    """None for what is no ARN of a topic in a known partition."""
    parts = _ARN.fullmatch(arn)
    if parts is None or parts[1] not in SUFFIXES:
        return None
    events_url = access.events_url
    is_aws = events_url is None or (urlsplit(events_url).hostname or "").endswith(_AWS_HOSTS)
    stand_in = None if events_url is None or is_aws else events_url.rstrip("/")
    return Source(access, parts[2], f"https://sns.{parts[2]}.{SUFFIXES[parts[1]]}", stand_in)
