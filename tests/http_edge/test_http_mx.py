"""The MX check over HTTP: refusals, warnings, and a resolver that does not answer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.dns_server import NXDOMAIN, SILENT, DnsServer, records
from tests.support import Answer, World

MX = {"fine.test": records("MX 10 mx.fine.test."), "null.test": records("MX 0 ."), "gone.test": NXDOMAIN}


def send(world: World, *to: str) -> Answer:
    body = {"from": "app@shared.example", "to": list(to), "subject": "s", "text": "t"}
    return world.call("POST", "/api/v1/emails", body)


def test_a_domain_that_takes_no_mail_refuses_the_request_and_names_every_recipient(tmp_path: Path) -> None:
    with (
        DnsServer(MX) as dns,
        World(tmp_path, mx={"policy": "enforce"}, dns={"nameservers": [dns.nameserver]}) as world,
    ):
        answer = send(world, "a@fine.test", "b@null.test", "c@gone.test")
        assert (answer.status, answer.json["error"], answer.json["reason"]) == (
            422,
            "invalid_recipient",
            "invalid_recipient",
        )
        assert len(answer.json["errors"]) == 2
        assert send(world, "a@fine.test").status == 202
        assert [message["recipients"] for message in world.sent_to("a@fine.test")] == [["a@fine.test"]]  # nothing else


def test_under_warn_it_is_taken_with_a_warning(tmp_path: Path) -> None:
    with DnsServer(MX) as dns, World(tmp_path, mx={"policy": "warn"}, dns={"nameservers": [dns.nameserver]}) as world:
        answer = send(world, "c@gone.test")
        assert answer.status == 202
        (warning,) = answer.json["warnings"]
        assert "gone.test" in warning
        assert send(world, "a@fine.test").json["warnings"] == []


@pytest.mark.parametrize(("on_trouble", "status", "reason"), [("accept", 202, None), ("defer", 503, "dns_down")])
def test_a_dead_resolver_is_not_the_senders_fault(
    tmp_path: Path, on_trouble: str, status: int, reason: str | None
) -> None:
    mx: dict[str, Any] = {"policy": "enforce", "on_trouble": on_trouble}
    with DnsServer(otherwise=SILENT) as dns, World(tmp_path, mx=mx, dns={"nameservers": [dns.nameserver]}) as world:
        started = time.monotonic()
        answer = send(world, "a@some.test")
        assert (answer.status, answer.json.get("reason")) == (status, reason)
        assert time.monotonic() - started < 3.5
        assert ("retry-after" in answer.headers) == (status == 503)
