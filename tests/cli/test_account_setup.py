"""`relay account setup`: the plan, what is done of it, and what is left, in words and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.cli.program import configure, found, refused, relay, run
from tests.ses.sts_server import running as running_sts

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
DENIED = "User: arn:aws:iam::1:user/r is not authorized to perform: ses:{} on resource: x"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[processes.Sandbox]:
    names = ("first", "second", "third", "filed")
    with processes.sandbox(*(word for name in names for word in ("--account", f"{name}={name}.example"))) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with running_sts() as sts:
        sts.refusal = (403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        yield configure(tmp_path, aws={"sts_endpoint_url": sts.url})


def add(folder: Path, sandbox: processes.Sandbox, name: str, *options: str) -> None:
    keys = ["--access-key-id", name, "--region", "eu-west-1", "--endpoint-url", sandbox.url]
    relay(folder, "account", "add", name, *keys, *options, stdin=SECRET)
    relay(folder, "domain", "add", f"{name}.example", "--mode", "byoc", "--account", name)


def test_from_the_plan_to_the_end(folder: Path, sandbox: processes.Sandbox) -> None:
    add(folder, sandbox, "first")
    planned = relay(folder, "account", "setup", "first", "--dry-run")
    assert "to do  create the queue relay-events-dead" in planned
    assert "(sns:CreateTopic)" in planned
    policies = found(folder, "account", "policies", "first")
    for name in ("send", "setup", "events", "suppression"):
        assert json.dumps(policies[name], indent=2) in planned
    assert "configuration-set/relay-broadcast" in json.dumps(policies["send"])

    done = relay(folder, "account", "setup", "first")
    assert planned.count("   to do  ") == done.count("    done  ") == 13
    assert "let the mail of first.example name relay-transactional" in done
    assert "account first in eu-west-1 is set up: 13 changes" in done
    assert "relay account policies first" in done  # who may send has to be allowed the new sets
    assert relay(folder, "account", "setup", "first") == (
        "account first in eu-west-1 is set up: there is nothing to do\n"
    )
    audit = relay(folder, "audit")
    assert "domain first.example" in audit
    assert SECRET not in planned + done + audit


def test_for_programs(folder: Path, sandbox: processes.Sandbox) -> None:
    add(folder, sandbox, "second", "--queue", "mine")
    shown = found(folder, "account", "show", "second")["feedback"]
    assert shown == {"via": "sqs", "queue": "mine", "topics": [], "endpoint_url": None}
    assert [each["events"] for each in found(folder, "account", "list")] == ["sqs"]
    planned = found(folder, "account", "setup", "second", "--dry-run")
    assert (planned["dry_run"], planned["ok"]) == (True, False)
    assert {each["done"] for each in planned["steps"]} == {False}
    assert planned["policies"]["events"]["Statement"][0]["Action"][0] == "sqs:ReceiveMessage"
    done = found(folder, "account", "setup", "second", "--track", "broadcast=opens")
    assert (done["ok"], {each["done"] for each in done["steps"]}, done["refused"]) == (True, {True}, None)
    assert [each["action"] for each in done["steps"]][:2] == ["sqs:CreateQueue", "sqs:CreateQueue"]
    assert "policies" not in done
    assert "what becomes of its mail, opens" in str(done["steps"])

    relay(folder, "account", "set", "second", "--via", "none")
    assert found(folder, "account", "show", "second")["feedback"]["via"] == "none"
    assert found(folder, "account", "policies", "second")["events"] is None


def test_what_aws_refuses(folder: Path, sandbox: processes.Sandbox) -> None:
    add(folder, sandbox, "third")

    def failed(operation: str, **more: Any) -> str:
        sandbox.fault(
            account="third",
            operation=operation,
            fault={"error": "AccessDeniedException", "message": DENIED.format(operation)},
            **more,
        )
        done = run(folder, "account", "setup", "third")
        sandbox.clear_faults()
        assert (done.returncode, done.stderr) == (os.EX_UNAVAILABLE, "")
        return done.stdout

    refusal = failed("CreateConfigurationSet")
    assert " REFUSED  create the configuration set relay-transactional: AccessDeniedException" in refusal
    assert "to mend it: allow ses:CreateConfigurationSet on x in a policy of arn:aws:iam::1:user/r" in refusal
    assert "not done  create the configuration set relay-shared" in refusal
    assert "account third in eu-west-1 is not set up yet: 6 of 13 changes made" in refusal
    assert json.dumps(found(folder, "account", "policies", "third")["setup"], indent=2) in refusal

    blind = failed("GetConfigurationSet", times=None)
    assert "  unseen  configuration set relay-shared: it cannot be looked at" in blind
    assert "    done" not in blind
    assert "RelaySetsUpTopic" in blind

    sandbox.fault(account="third", operation="GetConfigurationSet", times=None, fault="close")
    gone = run(folder, "account", "setup", "third")
    sandbox.clear_faults()
    assert (gone.returncode, gone.stdout) == (os.EX_UNAVAILABLE, "")
    assert "`relay account test third` says what lacks" in gone.stderr


def test_what_the_file_declares(tmp_path: Path, sandbox: processes.Sandbox) -> None:
    keys = {"access_key_id": "filed", "secret_access_key": SECRET}
    account = {"region": "eu-west-1", "endpoint_url": sandbox.url, "credentials": keys}
    folder = configure(
        tmp_path,
        ses_accounts={"filed": account},
        domains={"filed.example": {"mode": "shared", "account": "filed"}},
    )
    relay(folder, "reload")
    done = run(folder, "account", "setup", "filed")
    assert done.returncode == os.EX_UNAVAILABLE
    assert " by hand  configuration sets of filed.example: nothing is heard of its mail" in done.stdout
    lines = """\
domains:
  filed.example:
    configuration_sets:
      transactional: relay-transactional
      shared: relay-shared
      broadcast: relay-broadcast
"""
    assert lines in done.stdout
    config = json.loads((folder / "config.yaml").read_text())
    config["domains"]["filed.example"]["configuration_sets"] = {
        stream: f"relay-{stream}" for stream in ("transactional", "shared", "broadcast")
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    relay(folder, "reload")
    assert "there is nothing to do" in relay(folder, "account", "setup", "filed")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nobody"], "there is no SES account 'nobody'"),
        (["main", "--track", "all=opens"], "--track: write it as STREAM=opens,clicks"),
        (["main", "--push", "http://relay.example"], "push: SNS posts to a public https:// URL"),
    ],
)
def test_what_is_asked_wrongly(tmp_path: Path, options: list[str], words: str) -> None:
    folder = configure(tmp_path)
    keys = ["--access-key-id", "A", "--region", "eu-west-1"]
    relay(folder, "account", "add", "main", *keys, stdin=SECRET)
    assert words in refused(folder, "account", "setup", *options)
