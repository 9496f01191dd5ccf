"""Who calls: names, and the temporary credentials of AWS STS."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.sandbox.accounts import Account
from relay.sandbox.cloud import Cloud

KEY = "ASIAIOSFODNN7EXAMPLE"
ROLE = (Account("operator", ("shared.example",)), Account("customer", ("byoc.example",), takes_temporary=True))
MAIL = b"From: a@byoc.example\r\nSubject: x\r\n\r\n"


def test_temporary_credentials_are_of_one_account(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2", KEY, token="a-session-token")
        answer = await ses.send_email(Destination={"ToAddresses": ["x@d.test"]}, Content={"Raw": {"Data": MAIL}})
        [message] = await world.messages()
        assert (message["id"], message["account"]) == (answer["MessageId"], "customer")
        sqs = await world.client("sqs", KEY, token="another")
        assert (await sqs.get_queue_url(QueueName="relay-events"))["QueueUrl"] == f"{world.url}/customer/relay-events"

    play(story, ROLE)


@pytest.mark.parametrize(
    ("key", "token", "accounts"),
    [(KEY, None, ROLE), ("AKIAIOSFODNN7EXAMPLE", "token", ROLE), (KEY, "token", ROLE[:1])],
)
def test_others_are_strangers(play: Any, key: str, token: str | None, accounts: tuple[Account, ...]) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2", key, token=token)
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            await ses.get_account()

    play(story, accounts)


def test_at_most_one_account_takes_them() -> None:
    with pytest.raises(ValueError, match="temporary"):
        Cloud([ROLE[1], Account("third", (), takes_temporary=True)])


def test_a_nameserver_that_is_none() -> None:
    with pytest.raises(ValueError, match="ADDR:PORT"):
        Cloud(ROLE, "localhost:53")
