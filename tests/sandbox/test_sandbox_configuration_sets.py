"""Configuration sets as aiobotocore sees them, and what they change for sending."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.sandbox.configuration_sets import ConfigurationSets
from relay.sandbox.refusals import Refusal


def test_created_shown_listed_and_deleted(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await ses.create_configuration_set(
            ConfigurationSetName="relay",
            DeliveryOptions={"TlsPolicy": "REQUIRE"},
            Tags=[{"Key": "by", "Value": "relay"}],
        )
        with pytest.raises(ses.exceptions.AlreadyExistsException, match="<relay>"):
            await ses.create_configuration_set(ConfigurationSetName="relay")
        with pytest.raises(ses.exceptions.BadRequestException, match="Invalid configuration set name"):
            await ses.create_configuration_set(ConfigurationSetName="re.lay")
        found = await ses.get_configuration_set(ConfigurationSetName="relay")
        assert found["ConfigurationSetName"] == "relay"
        assert found["DeliveryOptions"] == {"TlsPolicy": "REQUIRE"}
        assert found["SendingOptions"] == {"SendingEnabled": True}
        assert found["Tags"] == [{"Key": "by", "Value": "relay"}]
        await ses.create_configuration_set(ConfigurationSetName="another")
        first = await ses.list_configuration_sets(PageSize=1)
        assert first["ConfigurationSets"] == ["another"]
        second = await ses.list_configuration_sets(PageSize=1, NextToken=first["NextToken"])
        assert (second["ConfigurationSets"], "NextToken" in second) == (["relay"], False)
        await ses.delete_configuration_set(ConfigurationSetName="relay")
        for call in (ses.delete_configuration_set, ses.get_configuration_set):
            with pytest.raises(ses.exceptions.NotFoundException, match="Configuration set <relay> does not exist"):
                await call(ConfigurationSetName="relay")
        elsewhere = await world.client("sesv2", region="us-east-1")
        assert (await elsewhere.list_configuration_sets())["ConfigurationSets"] == []

    play(story)


def test_any_name_will_do_until_one_is_created(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await world.send(ConfigurationSetName="whatever")
        await ses.create_configuration_set(ConfigurationSetName="relay")
        await world.send(ConfigurationSetName="relay")
        await world.send()
        with pytest.raises(ClientError) as refused:
            await world.send(ConfigurationSetName="whatever")
        assert refused.value.response["Error"] == {
            "Code": "NotFoundException",
            "Message": "Configuration set <whatever> does not exist.",
        }
        await ses.delete_configuration_set(ConfigurationSetName="relay")
        with pytest.raises(ses.exceptions.NotFoundException):
            await world.send(ConfigurationSetName="relay")
        assert len(await world.messages()) == 3

    play(story)


def test_the_default_of_an_identity(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        put = ses.put_email_identity_configuration_set_attributes
        await ses.create_configuration_set(ConfigurationSetName="relay")
        await ses.create_configuration_set(ConfigurationSetName="other")
        await put(EmailIdentity="shared.example", ConfigurationSetName="relay")
        found = await ses.get_email_identity(EmailIdentity="shared.example")
        assert found["ConfigurationSetName"] == "relay"
        await world.send()
        await world.send(ConfigurationSetName="other")
        await put(EmailIdentity="shared.example")
        await world.send()
        assert [each["configuration_set"] for each in await world.messages()] == ["relay", "other", None]
        for identity, name in (("shared.example", "none"), ("none.example", "relay")):
            with pytest.raises(ses.exceptions.NotFoundException):
                await put(EmailIdentity=identity, ConfigurationSetName=name)
        with pytest.raises(ses.exceptions.NotFoundException):
            await ses.create_email_identity(EmailIdentity="new.example", ConfigurationSetName="none")
        await ses.create_email_identity(EmailIdentity="new.example", ConfigurationSetName="relay")

    play(story)


def test_they_are_bounded() -> None:
    sets = ConfigurationSets()
    with pytest.raises(Refusal, match="too long"):
        sets.create("large", {"Tags": ["x" * 4000]})
    for number in range(10_000):
        sets.create(f"s{number}", {})
    with pytest.raises(Refusal) as refused:
        sets.create("more", {})
    assert refused.value.code == "LimitExceededException"
    with pytest.raises(Refusal, match="Invalid"):
        ConfigurationSets().check_default("x" * 65)
