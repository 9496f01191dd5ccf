"""`relay domain`: registered with the sandbox, published in a DNS server on loopback, verified, removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.cli.program import configure, found, refused, relay, run
from tests.dns_server import DnsServer, records


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, dns: DnsServer) -> Iterator[Path]:
    """An operator's account, a tenant with one of its own, and a domain that the file declares."""
    arguments = ("--account", "operator=shared.example", "--account", "customer=byoc.example")
    with processes.sandbox(*arguments, "--nameserver", dns.nameserver) as sandbox:
        account = {"region": "eu-west-1", "endpoint_url": sandbox.url}
        folder = configure(
            tmp_path_factory.mktemp("domains"),
            dns={"nameservers": [dns.nameserver]},
            aws={"sts_endpoint_url": sandbox.url},
            tenants={"acme": {}, "other": {}},
            ses_accounts={
                "main": account | {"credentials": {"access_key_id": "operator", "secret_access_key": "any"}},
                "theirs": account
                | {"credentials": {"access_key_id": "customer", "secret_access_key": "any"}, "tenant": "acme"},
            },
            domains={"shared.example": {"mode": "shared", "account": "main"}},
        )
        relay(folder, "reload")
        yield folder


def publish(dns: DnsServer, published: list[dict[str, Any]]) -> None:
    lines: dict[str, list[str]] = {}
    for each in published:
        value = f'"{each["value"]}"' if each["type"] == "TXT" else f"{each['value']}."
        lines.setdefault(each["name"], []).append(f"{each['type']} {value}")
    dns.zone |= {name: records(*each) for name, each in lines.items()}


def test_the_life_of_a_shared_domain(installation: Path, dns: DnsServer) -> None:
    options = ["--tenant", "acme", "--stream", "transactional", "--default-sender", "shop@mail.shop.example"]
    sets = ["--configuration-set", "all", "--configuration-set", "broadcast=news"]
    made = relay(
        installation, "domain", "add", "Shop.example", "--mode", "shared", *options, *sets, "--include-subdomains"
    )
    assert "claim lapses" in made
    assert "_relay-challenge.shop.example" in made
    shown = found(installation, "domain", "show", "shop.example")
    assert shown["configuration_sets"] == {"transactional": "all", "shared": "all", "broadcast": "news"}
    assert (shown["status"], shown["streams"], shown["mail_from"]) == (
        "pending",
        ["transactional"],
        "send.shop.example",
    )

    published = found(installation, "domain", "dns", "shop.example")
    assert [each["purpose"] for each in published].count("dkim") == 3
    table, zone = (relay(installation, "domain", "dns", "shop.example", *option) for option in ([], ["--zone"]))
    assert "append the zone" in table
    assert zone.startswith("$ORIGIN shop.example.")
    assert [each["value"] for each in published if each["value"] not in table or each["value"] not in zone] == []

    waiting = run(installation, "domain", "verify", "shop.example")
    assert waiting.returncode == os.EX_TEMPFAIL
    assert "missing  claim" in waiting.stdout
    assert "found     nothing" in waiting.stdout
    assert "is pending: it may not send" in waiting.stdout

    publish(dns, published)
    verified = relay(installation, "domain", "verify", "shop.example")
    assert "shop.example is verified, and may send\n" in verified
    assert found(installation, "domain", "verify", "shop.example")["warnings"] == []
    listed = found(installation, "domain", "list", "--tenant", "acme", "--status", "verified", "--mode", "shared")
    assert [(each["name"], each["account"]) for each in listed] == [("shop.example", "main")]

    relay(
        installation, "domain", "set", "shop.example", "--configuration-set", "", "--stream", "broadcast",
        "--default-sender", "", "--no-include-subdomains", "--ses-tenant", "acme-1", "--recipients-per-call", "1",
    )  # fmt: skip
    changed = found(installation, "domain", "show", "shop.example")
    assert (changed["configuration_sets"], changed["streams"], changed["default_sender"]) == ({}, ["broadcast"], None)
    assert (changed["status"], changed["ses_tenant"], changed["recipients_per_call"]) == ("verified", "acme-1", 1)
    relay(installation, "domain", "set", "shop.example", "--recipients-per-call", "0")
    assert found(installation, "domain", "show", "shop.example")["recipients_per_call"] is None
    relay(installation, "domain", "remove", "shop.example")
    assert "no domain shop.example" in refused(installation, "domain", "show", "shop.example")


def test_who_vouches_needs_no_record_of_ours(installation: Path) -> None:
    for options in (["--tenant", "acme", "--vouched"], []):
        made = relay(installation, "domain", "add", "ours.example", "--mode", "shared", *options, "--mail-from", "")
        assert "_relay-challenge" not in made
        assert found(installation, "domain", "show", "ours.example")["mail_from"] is None
        relay(installation, "domain", "remove", "ours.example")


def test_a_byoc_domain_takes_the_account_of_its_tenant(installation: Path) -> None:
    relay(installation, "domain", "add", "mine.example", "--mode", "byoc", "--tenant", "acme")
    assert found(installation, "domain", "show", "mine.example")["account"] == "theirs"
    relay(installation, "domain", "set", "mine.example", "--account", "main")
    moved = found(installation, "domain", "show", "mine.example")
    assert (moved["account"], moved["status"]) == ("main", "pending")


def test_a_domain_of_the_file_lists_its_records_too(installation: Path) -> None:
    published = found(installation, "domain", "dns", "shared.example")
    assert {each["purpose"] for each in published} >= {"dkim", "spf", "dmarc"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "no domain", "--mode", "shared"], ["no domain is not a valid domain name"]),
        (["add", "a.example", "--mode", "shared", "--mail-from", "a.b"], ["--mail-from: does not have the form"]),
        (
            ["add", "a.example", "--mode", "shared", "--configuration-set", "weekly=x", "--default-sender", "me"],
            ["--configuration-set: ", "--default-sender: me is not"],
        ),
        (["add", "a.example", "--mode", "shared", "--default-sender", "a@b.example"], ["not an address of a.example"]),
        (["add", "a.example", "--mode", "byoc", "--tenant", "other"], ["name the SES account"]),
        (["add", "a.example", "--mode", "shared", "--account", "theirs"], ["theirs does not"]),
        (["add", "shared.example", "--mode", "shared"], ["registered already"]),
        (["set", "shared.example", "--stream", "broadcast"], ["declared in the configuration file"]),
        (["remove", "shared.example"], ["declared in the configuration file"]),
        (["verify", "nobody.example"], ["there is no domain nobody.example"]),
    ],
)
def test_refusals_name_what_to_mend(installation: Path, arguments: list[str], words: list[str]) -> None:
    said = refused(installation, "domain", *arguments)
    assert [word for word in words if word not in said] == []


def test_a_domain_keeps_its_mode(installation: Path) -> None:
    relay(installation, "domain", "add", "fixed.example", "--mode", "shared")
    said = refused(installation, "domain", "set", "fixed.example", "--mode", "byoc")
    assert "is shared, and that stays" in said
