"""Turns what the directory and the file say of AWS credentials into what SES and STS are called with."""

from __future__ import annotations

from urllib.parse import urlsplit

from relay.sealing import Sealer
from relay.ses.access import Access, Base, Chain, Credentials, Profile, Role, StaticKeys
from relay.settings import Aws
from relay.store.directory.accounts import SesAccount, Sort

AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws")


def access_of(account: SesAccount, sealer: Sealer) -> Access:
    """How an account is called. Raises SealingError where its secret was sealed by another installation."""
    return Access(
        name=account.name,
        region=account.region,
        credentials=_credentials(account, sealer),
        endpoint_url=account.endpoint_url,
        proxy=account.proxy,
        ca_bundle=account.ca_bundle,
        concurrency=account.concurrency,
        events_url=_events_url(account),
    )


def _events_url(account: SesAccount) -> str | None:
    """Where SQS and SNS are: an endpoint of AWS's own is of SES alone, a stand-in is of all of AWS."""
    if account.feedback.endpoint_url is not None or account.endpoint_url is None:
        return account.feedback.endpoint_url
    host = urlsplit(account.endpoint_url).hostname or ""
    return None if host.endswith(AWS_HOSTS) else account.endpoint_url


def base_of(aws: Aws) -> Base:
    """What STS is asked for roles with."""
    given = aws.credentials
    if given.access_key_id is not None and given.secret_access_key is not None:
        keys = StaticKeys(given.access_key_id, given.secret_access_key.get_secret_value())
        return Base(keys, sts_endpoint_url=aws.sts_endpoint_url)
    return Base(Profile(given.profile) if given.profile else Chain(), sts_endpoint_url=aws.sts_endpoint_url)


def session_name(sealer: Sealer) -> str:
    """How this installation calls itself in a customer's CloudTrail (SES fact 7.1): the same for its whole life."""
    return f"relay-{sealer.hash('', 'installation id').hex()[:12]}"


def _credentials(account: SesAccount, sealer: Sealer) -> Credentials:
    reach = account.reach
    match reach.sort:
        case Sort.CHAIN:
            return Chain()
        case Sort.PROFILE:
            assert reach.profile is not None
            return Profile(reach.profile)
        case Sort.STATIC:
            secret = account.secret(sealer)
            assert reach.access_key_id is not None
            assert secret is not None
            return StaticKeys(reach.access_key_id, secret)
        case Sort.ROLE:
            assert reach.role_arn is not None
            assert reach.external_id is not None
            return Role(reach.role_arn, reach.external_id, session_name(sealer))
