"""Trusted networks: which one holds an address, as which key, and what is left when the key goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from relay.container import Gateways
from relay.declared import SenderRule
from relay.errors import Kind, Problem
from relay.message import Address
from relay.routing.sender_rules import envelope
from relay.routing.senders import Credential
from relay.routing.trust import Trust
from relay.settings import SmtpListener
from relay.store.directory.installation import shown
from tests.routing.directory import Directory

SECRET = "0123456789abcdefghij"


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def trust(directory: Directory, *networks: Any, gateways: Gateways = frozenset(), **fields: Any) -> Trust:
    listener = SmtpListener.model_validate({"address": "127.0.0.1:25", "trusted_networks": networks} | fields)
    return Trust.of(listener, directory.senders, gateways)


def whose(credential: Credential | None) -> str | None:
    """The key's name, the tenant's where there is no key, None for no trust."""
    if credential is None:
        return None
    assert credential.is_trusted
    return credential.tenant.name if credential.key is None else credential.key.name


def test_the_smallest_network_that_holds_the_address_decides(directory: Directory) -> None:
    for name in ("floor", "scanner"):
        directory.key(name)
    found = trust(
        directory,
        "10.0.0.0/8",
        {"network": "10.2.0.7/32", "key": "scanner"},
        {"network": "10.2.0.0/24", "key": "floor"},
        "fd00::/64",
    )
    asked = {
        "10.2.0.7": "scanner",
        "::ffff:10.2.0.7": "scanner",
        "10.2.0.8": "floor",
        "10.3.0.1": "default",
        "fd00::9%eth0": "default",
        "fd01::9": None,
        "192.0.2.1": None,
        "": None,
        "unix": None,
    }
    assert {client: whose(found.credential(client)) for client in asked} == asked


def test_without_networks_nobody_is_trusted(directory: Directory) -> None:
    assert trust(directory).credential("127.0.0.1") is None


def test_a_gateway_is_never_trusted(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    found = trust(directory, "172.17.0.0/16", gateways=frozenset({ip_address("172.17.0.1")}))
    assert (whose(found.credential("172.17.0.1")), whose(found.credential("172.17.0.2"))) == (None, "default")
    assert whose(found.credential("::ffff:172.17.0.1")) is None
    [said] = [record for record in caplog.records if record.getMessage() == "smtp.gateway_not_trusted"]
    assert said.__dict__["fields"]["gateway"] == "172.17.0.1"


def test_the_networks_sender_goes_before_the_listeners_and_the_keys_before_both(directory: Directory) -> None:
    directory.key("ruled", sender_rule={"sender": "key@ours.example"})
    found = trust(
        directory,
        {"network": "10.0.0.1/32", "sender": "network@ours.example"},
        {"network": "10.0.0.2/32"},
        {"network": "10.0.0.3/32", "key": "ruled", "sender": "network@ours.example"},
        sender_rule={"sender": "listener@ours.example"},
    )

    def sender(client: str) -> str:
        credential = found.credential(client)
        assert credential is not None
        rule = directory.senders.current(credential).effective_rule
        return str(envelope(rule, Address.parse("root@localhost")))

    senders = ["network@ours.example", "listener@ours.example", "key@ours.example"]
    assert [sender(f"10.0.0.{number}") for number in (1, 2, 3)] == senders


def test_a_session_that_logs_in_has_the_rule_of_the_listener(directory: Directory) -> None:
    rule = SenderRule(sender="listener@ours.example")
    credential = directory.senders.current(directory.credential().under(rule))
    assert envelope(credential.effective_rule, Address.parse("root@localhost")) == Address("listener", "ours.example")
    assert directory.credential().under(None).effective_rule is None


def test_trust_goes_with_the_key(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    found = trust(directory, {"network": "10.0.0.0/24", "key": "scanner"})
    name = "trusted network 10.0.0.0/24 at 127.0.0.1:25"
    assert whose(found.credential("10.0.0.1")) is None
    assert "there is no valid key 'scanner'" in found.faults()[name]
    found.look()
    found.look()
    key = directory.key("scanner", tenant="acme")
    credential = found.credential("10.0.0.1")
    assert credential is not None
    assert (whose(credential), credential.tenant.name) == ("scanner", "acme")
    found.look()
    assert found.faults() == {}
    directory.revoke(key)
    assert whose(found.credential("10.0.0.1")) is None
    assert name in found.faults()
    found.look()
    with pytest.raises(Problem, match="ask the operator, or log in with another one") as caught:
        directory.senders.current(credential)  # of a session that goes on
    assert caught.value.kind is Kind.UNAUTHORIZED
    said = [record.getMessage().split()[0] for record in caplog.records if "smtp.trust" in record.getMessage()]
    assert said == ["smtp.trust_lost", "smtp.trust_restored", "smtp.trust_lost"]


def test_a_key_that_expires_takes_its_trust_along(directory: Directory) -> None:
    at = datetime.now(UTC) + timedelta(days=1)
    found = trust(directory, {"network": "10.0.0.0/24", "key": "scanner"})
    directory.key("scanner", expires_at=at)
    assert whose(found.credential("10.0.0.1")) == "scanner"
    assert found.faults() == {}
    directory.revoke(directory.key("other"))
    gone = trust(directory, {"network": "10.0.0.0/24", "key": "past"})
    directory.key("past", expires_at=at - timedelta(days=2))
    assert whose(gone.credential("10.0.0.1")) is None
    assert "has expired" in next(iter(gone.faults().values()))


def test_a_rotated_key_is_the_new_one(directory: Directory) -> None:
    old = directory.key("scanner")
    found = trust(
        directory, {"network": "10.0.0.1/32", "key": "scanner"}, {"network": "10.0.0.2/32", "key": shown(old.id)}
    )
    new = directory.rotate(old, timedelta(hours=1))
    keys = [found.credential(f"10.0.0.{number}") for number in (1, 2)]
    assert [each and each.key_id for each in keys] == [new.id, old.id]


def test_names_that_leave_a_choice_give_no_trust(directory: Directory) -> None:
    """Any tenant may call a key what it likes: that makes its key nobody's default."""
    ours, theirs = directory.key("scanner"), directory.key("scanner", tenant="acme")
    found = trust(
        directory,
        {"network": "10.0.0.1/32", "key": "scanner"},
        {"network": "10.0.0.2/32", "key": ours.prefix},
        {"network": "10.0.0.3/32", "key": shown(theirs.id)},
    )
    keys = [found.credential(f"10.0.0.{number}") for number in (1, 2, 3)]
    assert [each and each.key_id for each in keys] == [None, ours.id, theirs.id]
    assert [*found.faults().values()] == ["several keys are called 'scanner': name one by its id"]


def test_the_name_that_the_file_gives_is_nobody_elses(tmp_path: Path) -> None:
    directory = Directory(tmp_path, keys=[{"name": "scanner", "secret": SECRET}])
    directory.key("scanner", tenant="acme")
    credential = trust(directory, {"network": "10.0.0.0/24", "key": "scanner"}).credential("10.0.0.1")
    assert credential is not None
    assert credential.tenant.name == "default"


def test_a_whole_secret_in_place_of_a_name_is_not_repeated(directory: Directory) -> None:
    found = trust(directory, {"network": "10.0.0.0/24", "key": f"relay_ab.{SECRET}"})
    assert SECRET not in str(found.faults())


def test_a_device_is_trusted_only_where_it_may_log_in(directory: Directory) -> None:
    directory.key("scanner", device={"networks": ["10.0.0.8/29"], "sender": "s@ours.example", "min_tls": "1.2"})
    found = trust(directory, {"network": "10.0.0.0/24", "key": "scanner"})
    asked = [("10.0.0.9", "TLSv1.2"), ("10.0.0.9", "TLSv1.1"), ("10.0.0.9", None), ("10.0.0.1", "TLSv1.2")]
    assert [whose(found.credential(*each)) for each in asked] == ["scanner", None, None, None]
