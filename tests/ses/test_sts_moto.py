"""Credentials by way of STS at moto, which checks IAM's policies: lent, denied, allowed, unknown."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from relay.errors import Kind
from relay.ses.access import Access, Base, Credentials, Role, StaticKeys
from relay.ses.clients import Accounts
from relay.ses.errors import Scope, SesProblem
from tests.processes import answers, free_ports, wait_until

RAW = b"From: me@byoc.example\r\nTo: ana@dest.example\r\nSubject: s\r\n\r\nHi\r\n"
ROLE_ARN = "arn:aws:iam::123456789012:role/relay"
FREE = 6  # calls before moto asks who may: those that make what it asks for


@dataclass(frozen=True)
class Cloud:
    url: str
    keys: StaticKeys  # of the user `relay`, which may assume the role only if `is_trusted`
    role: Role


def policy(action: str) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def cloud_at(url: str, *, is_trusted: bool) -> Cloud:
    def client(service: str) -> Any:
        return boto3.client(
            service, region_name="us-east-1", endpoint_url=url, aws_access_key_id="root", aws_secret_access_key="s"
        )

    iam, ses = client("iam"), client("sesv2")
    ses.create_email_identity(EmailIdentity="byoc.example")
    iam.create_user(UserName="relay")
    key = iam.create_access_key(UserName="relay")["AccessKey"]
    allowed = "sts:AssumeRole" if is_trusted else "s3:ListBucket"
    iam.put_user_policy(UserName="relay", PolicyName="own", PolicyDocument=policy(allowed))
    iam.create_role(RoleName="relay", AssumeRolePolicyDocument=policy("sts:AssumeRole"))
    iam.put_role_policy(RoleName="relay", PolicyName="own", PolicyDocument=policy("ses:*"))
    iam.close()
    ses.close()
    keys = StaticKeys(key["AccessKeyId"], key["SecretAccessKey"])
    return Cloud(url, keys, Role(ROLE_ARN, "5e" * 24, "relay-1"))


@pytest.fixture
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    is_trusted = request.param
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(FREE)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: answers(f"{url}/moto-api/data.json"), "moto's start")
        yield cloud_at(url, is_trusted=is_trusted)
    finally:
        process.terminate()
        process.wait()


def send(cloud: Cloud, credentials: Credentials, base: StaticKeys | None = None) -> str:
    async def story() -> str:
        async with Accounts(Base(base or cloud.keys, sts_endpoint_url=cloud.url)) as accounts:
            account = accounts.open(Access("acme", "us-east-1", credentials, cloud.url))
            return await account.send(RAW, ["ana@dest.example"], domain="byoc.example", tags={}, configuration_set=None)

    return asyncio.run(story())


def refused(cloud: Cloud, credentials: Credentials, base: StaticKeys | None = None) -> SesProblem:
    with pytest.raises(SesProblem) as caught:
        send(cloud, credentials, base)
    return caught.value


@pytest.mark.parametrize("cloud", [True], indirect=True, ids=["trusted"])
def test_a_role_that_may_be_assumed_sends(cloud: Cloud) -> None:
    assert send(cloud, cloud.role)


@pytest.mark.parametrize("cloud", [False], indirect=True, ids=["untrusted"])
def test_a_role_that_may_not_be_assumed_stops_the_account(cloud: Cloud) -> None:
    problem = refused(cloud, cloud.role)
    assert (problem.kind, problem.scope) == (Kind.SES_DENIED, Scope.ACCOUNT)
    assert problem.detail == (
        f"AWS does not let arn:aws:iam::123456789012:user/relay assume {ROLE_ARN}: check its trust policy and ExternalId"
    )
    unknown = refused(cloud, cloud.role, StaticKeys("AKIAUNKNOWN", "s"))
    assert (unknown.kind, unknown.scope) == (Kind.SES_DENIED, Scope.ACCOUNT)
    assert unknown.remedy == "mend the credentials of the relay itself"
    wrong = refused(cloud, cloud.role, StaticKeys(cloud.keys.access_key_id, "wrong"))
    assert (wrong.kind, wrong.code) == (Kind.SES_DENIED, "SignatureDoesNotMatch")
