"""`relay doctor`, and what SES stopped: seen from beside the server, over a restart, until SES lets go."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from relay.cli.starting import create
from relay.message import Mode
from relay.store import events, stops
from relay.store.beside import with_database
from tests import databases
from tests.cli.program import found, relay, run
from tests.dns_server import DnsServer
from tests.processes import free_ports
from tests.support import World, relay_settings, wait_for

DENIED = (
    "User: arn:aws:iam::1:user/x is not authorized to perform `ses:SendRawEmail' on resource "
    "`arn:aws:ses:eu-west-1:1:identity/byoc.example'"
)
UNASKED: dict[str, Any] = {"nameservers": []}
NOBODY = {  # whoever tests has credentials of AWS, perhaps
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
REMEDY = "allow ses:SendRawEmail on arn:aws:ses:eu-west-1:1:identity/byoc.example in a policy of arn:aws:iam::1:user/x"


def checks(folder: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what was looked at."""
    done = run(folder, "doctor", "--no-send", "--json", environment=NOBODY)
    said = json.loads(done.stdout)
    assert said["ok"] is (done.returncode == 0)
    return done.returncode, {each["check"]: each for each in said["checks"]}


def script(world: World, account: str, fault: Any) -> None:
    body = json.dumps({"account": account, "times": None, "fault": fault}).encode()
    request = urllib.request.Request(f"{world.sandbox_url}/faults", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request):
        pass


def send(world: World) -> str:
    body = {"from": "app@byoc.example", "to": "ana@dest.example", "subject": "s", "text": "t"}
    public_id: str = world.call("POST", "/api/v1/emails", body).json["id"]
    return public_id


def said(caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.getMessage() in words]


def test_what_ses_stops_is_seen_everywhere_and_once_and_outlives_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "relay")
    with World(tmp_path, dns=UNASKED) as world:
        assert checks(tmp_path)[1]["sending"]["ok"]
        script(world, "customer", {"error": "AccessDeniedException", "message": DENIED})
        waits = [send(world) for _ in range(3)]
        wait_for(lambda: "byoc.example" in str(world.call("GET", "/readyz").json["faults"]))
        code, looked = checks(tmp_path)
        assert code == os.EX_UNAVAILABLE
        stopped = looked["account customer, domain byoc.example"]
        assert DENIED in stopped["said"]
        assert stopped["remedy"] == REMEDY
        for_people = run(tmp_path, "doctor", "--no-send")
        assert for_people.returncode == os.EX_UNAVAILABLE
        assert "allow ses:SendRawEmail" in for_people.stdout
        [shown] = found(tmp_path, "account", "show", "customer")["stopped"]
        assert (shown["domain"], shown["reason"], shown["remedy"]) == ("byoc.example", "ses_denied", REMEDY)
        assert REMEDY in relay(tmp_path, "account", "show", "customer")
        held = found(tmp_path, "queue", "show", waits[0])
        assert (held["state"], held["held_because"].endswith(REMEDY)) == ("held", True)
        settings = world.settings
    (row,) = with_database(settings, lambda db, _: stops.every(db))
    assert (row.account, row.domain, row.kind) == ("customer", "byoc.example", "ses_denied")
    assert said(caplog, "domain.held", "domain.released") == ["domain.held"]
    with World(tmp_path, dns=UNASKED) as world:  # SES has been told meanwhile
        for public_id in waits:
            wait_for(lambda each=public_id: world.call("GET", f"/api/v1/emails/{each}").json["status"] == "sent")
        wait_for(lambda: "sending" in checks(tmp_path)[1])
        assert "byoc.example" not in str(world.call("GET", "/readyz").json["faults"])
        assert found(tmp_path, "account", "show", "customer")["stopped"] == []
        wait_for(lambda: "relay_domain_held{" not in world.call("GET", "/metrics").body.decode())
        happened = with_database(world.settings, lambda db, _: events.of_account(db, "customer"))
    assert [each.event.type for each in happened] == ["domain.held", "domain.released"]
    released = happened[1].event.data
    assert (released["reason"], released["remedy"]) == ("ses_denied", REMEDY)
    assert 0 < released["held_for"] < 60
    assert said(caplog, "domain.held", "domain.released") == ["domain.held", "domain.released"]


def test_a_new_installation_is_told_to_start(tmp_path: Path) -> None:
    file, _ = create(tmp_path, "example.com", "eu-west-1", Mode.SHARED)
    file.write_text(file.read_text() + "dns: {nameservers: []}\n")
    code, looked = checks(tmp_path)
    assert code == os.EX_UNAVAILABLE
    assert looked["master key"]["ok"]  # `relay init` made its database
    assert "relay serve" in looked["server"]["remedy"]
    assert "instance role" in looked["account main: identity"]["remedy"]
    assert not [check for check in looked if "SMTP" in check]
    (tmp_path / "relay.db").unlink()
    code, looked = checks(tmp_path)
    assert code == os.EX_UNAVAILABLE
    assert "relay serve" in looked["database"]["remedy"]
    assert not (tmp_path / "relay.db").exists()  # looking makes nothing


@pytest.mark.parametrize(
    ("break_it", "check", "words"),
    [
        (lambda folder: (folder / "config.yaml").unlink(), "configuration", "relay init"),
        (lambda folder: (folder / "config.yaml").write_text("nonsense: 1"), "configuration", "relay check"),
        (lambda folder: (folder / "master.key").unlink(), "configuration", "relay check"),
        (lambda folder: (folder / "master.key").write_text("A" * 43 + "="), "master key", "put back"),
        (lambda folder: (folder / "relay.db").write_bytes(b"nonsense" * 1000), "database", ""),
    ],
    ids=["no-file", "bad-file", "no-key", "other-key", "no-database"],
)
def test_what_is_wrong_is_named(tmp_path: Path, break_it: Any, check: str, words: str) -> None:
    create(tmp_path, "example.com", "eu-west-1", Mode.SHARED)
    for each in ("relay.db-wal", "relay.db-shm"):
        (tmp_path / each).unlink(missing_ok=True)
    break_it(tmp_path)
    code, looked = checks(tmp_path)
    assert code == os.EX_UNAVAILABLE
    assert not looked[check]["ok"]
    assert words in looked[check]["remedy"]
    assert looked[check]["remedy"]


def test_both_databases(tmp_path: Path, database: str) -> None:
    relay_settings(tmp_path, "http://127.0.0.1:9", database=database)
    relay(tmp_path, "migrate")
    with World(tmp_path, via="sqs", database=database, dns=UNASKED):
        looked = checks(tmp_path)[1]
    assert looked["account customer: identity"]["ok"]
    assert "relay account setup customer" in looked["account customer: topic relay-events"]["remedy"]
    assert looked["database"]["said"].startswith("it answers, with schema")
    assert ("disk" in looked) == (database == "relay.db")


def test_a_database_out_of_reach(tmp_path: Path) -> None:
    relay_settings(tmp_path, "http://127.0.0.1:9", database="postgresql://nobody@127.0.0.1:9/none")
    code, looked = checks(tmp_path)
    assert code == os.EX_UNAVAILABLE
    assert not looked["database"]["ok"]


def test_postgresql_does_not_tell_whether_a_server_runs(tmp_path: Path) -> None:
    at = databases.setting(databases.postgresql())
    relay_settings(
        tmp_path, "http://127.0.0.1:9", database=at, http={"address": f"127.0.0.1:{free_ports(1)[0]}"}, dns=UNASKED
    )
    relay(tmp_path, "migrate")
    relay(tmp_path, "reload")
    looked = checks(tmp_path)[1]
    assert "server" not in looked
    [door] = [each for check, each in looked.items() if check.startswith("HTTP ")]
    assert (door["level"], "it cannot be reached" in door["said"]) == ("red", True)
    assert "let this machine reach" in looked["account customer: account"]["remedy"]


def test_what_listens_may_be_another_program(tmp_path: Path) -> None:
    with DnsServer() as dns, World(tmp_path, dns=UNASKED) as world:
        file = json.loads((tmp_path / "config.yaml").read_text())
        file["smtp"]["listeners"] = [{"address": f"127.0.0.1:{world.plain}", "tls": "starttls"}]
        file["http"]["address"] = f"127.0.0.1:{world.plain}"
        file["dns"] = {"nameservers": [dns.nameserver]}
        (tmp_path / "config.yaml").write_text(json.dumps(file))
        looked = checks(tmp_path)[1]
    assert "does not offer STARTTLS" in looked[f"SMTP 127.0.0.1:{world.plain}"]["said"]
    assert looked[f"HTTP 127.0.0.1:{world.plain}"]["level"] == "red"
    assert "takes no mail" in looked["DNS"]["said"]
