"""`relay account`: registered, proven against the sandbox and a stand-in for STS, paused, removed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import processes
from tests.cli.program import configure, found, refused, relay, run
from tests.ses.sts_server import ACCOUNT, Sts
from tests.ses.sts_server import running as running_sts

ROLE = f"arn:aws:iam::{ACCOUNT}:role/Relay"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[processes.Sandbox]:
    arguments = ("--account", "customer=byoc.example", "--temporary", "customer")
    with processes.sandbox(*arguments) as running:
        yield running


@pytest.fixture
def sts() -> Iterator[Sts]:
    with running_sts() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, sts: Sts) -> Path:
    """An installation that is `user/relay` to STS."""
    own = {"credentials": {"access_key_id": "relay", "secret_access_key": "any"}, "sts_endpoint_url": sts.url}
    return configure(tmp_path, aws=own)


def test_an_account_reached_by_a_role(folder: Path, sandbox: processes.Sandbox, sts: Sts) -> None:
    relay(folder, "tenant", "create", "acme")
    options = ["--region", "eu-west-1", "--tenant", "acme", "--role-arn", ROLE, "--endpoint-url", sandbox.url]
    made = relay(folder, "account", "add", "theirs", *options)
    policies = found(folder, "account", "policies", "theirs")
    external_id = policies["external_id"]
    assert re.fullmatch("[0-9a-f]{48}", external_id)
    trust = policies["trust"]["Statement"][0]
    assert trust["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:user/relay"}
    assert trust["Condition"] == {"StringEquals": {"sts:ExternalId": external_id}}
    for printed in (
        made,
        relay(folder, "account", "show", "theirs"),
        relay(folder, "account", "policies", "theirs"),
    ):
        assert external_id in printed
        for name in ("trust", "send", "setup", "suppression"):
            assert json.dumps(policies[name], indent=2) in printed
    shown = found(folder, "account", "show", "theirs")
    assert (shown["credentials"]["type"], shown["policies"]["trust"]) == ("role", policies["trust"])

    refusal = run(folder, "account", "test", "theirs")
    assert refusal.returncode == os.EX_UNAVAILABLE
    assert re.search(f"FAILED  identity: .*{ROLE}\n.*to mend it: check its trust policy", refusal.stdout)
    assert refusal.stderr == ""

    sts.roles[ROLE] = external_id
    proof = relay(folder, "account", "test", "theirs")
    assert "FAILED" not in proof
    assert "ok  production: production access in eu-west-1" in proof
    findings = found(folder, "account", "test", "theirs")["findings"]
    assert {each["check"] for each in findings} >= {"identity", "sending", "quota"}
    usage = found(folder, "account", "usage", "theirs")
    assert (usage["recipients_a_second"], usage["daily_quota"], usage["enforcement"]) == (1000.0, None, "HEALTHY")


def test_without_an_identity_of_its_own_relay_has_no_trust_policy(folder: Path, sts: Sts) -> None:
    sts.refusal = (403, "InvalidClientTokenId", "The security token included in the request is invalid.")
    printed = relay(folder, "account", "add", "theirs", "--region", "eu-west-1", "--role-arn", ROLE)
    assert "no trust policy yet" in printed
    assert "relay account policies theirs" in printed


def test_the_life_of_an_account_with_keys(folder: Path, sandbox: processes.Sandbox) -> None:
    options = ["--region", "eu-west-1", "--endpoint-url", sandbox.url, "--rate", "14", "--concurrency", "5"]
    said = relay(folder, "account", "add", "main", *options, "--access-key-id", "customer", stdin=SECRET)
    assert "relay account test main" in said
    shown = found(folder, "account", "show", "main")
    assert shown["credentials"] == {"type": "static", "access_key_id": "customer", "secret_last_four": SECRET[-4:]}
    assert (shown["rate"], shown["concurrency"], shown["tenant"], shown["status"]) == (14, 5, None, "active")
    assert "sending is enabled" in relay(folder, "account", "test", "main")

    (folder / "secret").write_text(SECRET[::-1])
    (folder / "ca.pem").write_text("")
    said += relay(folder, "account", "set", "main", "--access-key-id", "other", "--secret-file", "secret")
    relay(folder, "account", "set", "main", "--proxy", "http://proxy.example:3128", "--ca-bundle", "ca.pem")
    relay(folder, "account", "set", "main", "--proxy", "", "--concurrency", "0")
    changed = found(folder, "account", "show", "main")
    assert changed["credentials"]["secret_last_four"] == SECRET[0:4][::-1]
    assert (changed["proxy"], changed["ca_bundle"]) == (None, str(folder / "ca.pem"))
    assert (changed["concurrency"], changed["rate"]) == (None, 14)

    relay(folder, "account", "pause", "main", "--reason", "moving")
    assert [each["status"] for each in found(folder, "account", "list", "--region", "eu-west-1")] == ["paused"]
    assert "paused already: moving" in refused(folder, "account", "pause", "main")
    relay(folder, "account", "resume", "main")
    assert "not paused" in refused(folder, "account", "resume", "main")
    relay(folder, "account", "set", "main", "--default-chain")
    assert found(folder, "account", "show", "main")["credentials"] == {"type": "chain"}

    said += relay(folder, "account", "list") + relay(folder, "account", "show", "main") + relay(folder, "audit")
    assert (SECRET in said, SECRET[::-1] in said) == (False, False)
    relay(folder, "account", "remove", "main")
    assert found(folder, "account", "list") == []


KEY = ["--access-key-id", "A"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "No Good", "--region", "eu-west-1"], ["NAME: does not have the form"]),
        (["add", "x", "--region", "mars", "--rate", "0"], ["--region: does not have the form", "--rate:"]),
        (["add", "x", "--region", "eu-west-1", *KEY], ["no secret access key in the input"]),
        (["add", "x", "--region", "eu-west-1", *KEY, "--profile", "p"], ["give a profile, an access key or a role"]),
        (["add", "x", "--region", "eu-west-1", "--role-arn", "me"], ["--role-arn: does not have the form"]),
        (["add", "x", "--region", "eu-west-1", "--proxy", "me"], ["--proxy: does not have the form"]),
        (["add", "x", "--region", "eu-west-1", "--tenant", "nobody"], ["there is no tenant 'nobody'"]),
        (["set", "filed", "--rate", "5"], ["declared in the configuration file: change it there"]),
        (["set", "filed", "--profile", "p", "--default-chain"], ["--default-chain: give it alone"]),
        (["remove", "filed"], ["declared in the configuration file"]),
        (["test", "nobody"], ["there is no SES account 'nobody'"]),
    ],
)
def test_refusals_name_what_to_mend(filed: Path, arguments: list[str], words: list[str]) -> None:
    said = refused(filed, "account", *arguments, stdin=SECRET if "--profile" in arguments else "")
    assert [word for word in words if word not in said] == []
    assert SECRET not in said


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = configure(tmp_path_factory.mktemp("filed"), ses_accounts={"filed": {"region": "eu-west-1"}})
    relay(folder, "reload")
    return folder
