"""The mailbox simulator, end to end: what becomes of each of its addresses, by SMTP and by HTTP, and what follows."""

from __future__ import annotations

import json
import smtplib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support import World, wait_for

DOMAINS = {
    "shared.example": {"mode": "shared", "account": "operator", "configuration_set": "relay"},
    "byoc.example": {"mode": "byoc", "account": "customer", "configuration_set": "relay"},
}


class Receiver:
    """A receiver of webhooks on loopback: what was posted, by the message it is of."""

    def __init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.posted[posted["data"]["id"]].append(posted)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.posted: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[World]:
    posting = {"allow_networks": ["127.0.0.1/32"], "allow_plain": True}
    with World(tmp_path_factory.mktemp("simulator"), via="sqs", domains=DOMAINS, webhooks=posting) as world:
        assert world.call("POST", "/api/v1/webhooks", {"url": receiver.url}).status == 201
        time.sleep(2)  # a running relay knows it within two seconds
        yield world


def by_http(world: World, sender: str, to: str) -> tuple[int, dict[str, Any]]:
    body = {"from": sender, "to": to, "subject": "s", "text": "x"}
    answer = world.call("POST", "/api/v1/emails", body)
    return answer.status, answer.json


def by_smtp(world: World, sender: str, to: str) -> str:
    """The id of the message. Raises smtplib.SMTPRecipientsRefused."""
    with smtplib.SMTP("127.0.0.1", world.starttls) as smtp:
        smtp.starttls()
        smtp.login("x", world.key)
        smtp.mail(sender)
        code, said = smtp.rcpt(to)
        if code != 250:
            raise smtplib.SMTPRecipientsRefused({to: (code, said)})
        code, said = smtp.data(f"From: {sender}\r\nTo: {to}\r\nSubject: s\r\n\r\nx\r\n")
        assert code == 250
    return said.decode().split()[-1]


# fmt: off
OUTCOMES = [
    # who                state           listed as                  counted, and told
    ("success",          "delivered",    None,                      {"delivered": 1}),
    ("bounce",           "bounced",      ("bounce", "ses"),         {"bounced": 1}),
    ("complaint",        "complained",   ("complaint", "ses"),      {"delivered": 1, "complained": 1}),
    ("ooto",             "delivered",    None,                      {"delivered": 1, "soft_bounced": 1}),
    ("suppressionlist",  "bounced",      ("bounce", "ses"),         {"bounced": 1}),
]
# fmt: on
FATES = ("sent", "delivered", "bounced", "soft_bounced", "complained")


def counts(world: World) -> dict[str, int]:
    [today] = world.call("GET", "/api/v1/stats").json["days"][-1:]
    return {fate: today[fate] for fate in FATES}


@pytest.mark.parametrize("protocol", ["smtp", "http"])
@pytest.mark.parametrize("domain", ["shared.example", "byoc.example"])
@pytest.mark.parametrize(("who", "state", "listed", "counted"), OUTCOMES, ids=[each[0] for each in OUTCOMES])
def test_what_becomes_of_each_address(
    world: World,
    receiver: Receiver,
    who: str,
    state: str,
    listed: tuple[str, str] | None,
    counted: dict[str, int],
    domain: str,
    protocol: str,
) -> None:
    sender, to = f"me@{domain}", f"{who}+{protocol}-{domain.partition('.')[0]}@simulator.amazonses.com"
    before = counts(world)
    if protocol == "http":
        status, answer = by_http(world, sender, to)
        assert status == 202
        public_id = answer["id"]
    else:
        public_id = by_smtp(world, sender, to)
    wanted = {name: before[name] + more for name, more in {"sent": 1, **counted}.items()}
    wait_for(lambda: counts(world) == before | wanted)
    found = world.call("GET", f"/api/v1/emails/{public_id}").json
    [recipient] = found["recipients"]
    assert recipient["status"] == state
    told = {"email.queued", "email.sent", *(f"email.{fate}" for fate in counted)}
    wait_for(lambda: {each["type"] for each in receiver.posted[public_id]} == told)
    assert len(receiver.posted[public_id]) == len(told)
    assert all(each["data"]["recipients"] == [to] for each in receiver.posted[public_id])
    entry = world.call("GET", f"/api/v1/suppressions/{to}")
    if listed is None:
        assert entry.status == 404
        return
    assert (entry.json["reason"], entry.json["source"]) == listed
    status, answer = by_http(world, sender, to)
    assert (status, answer["reason"]) == (422, "recipient_suppressed")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        by_smtp(world, sender, to)
    [(code, said)] = caught.value.recipients.values()
    assert (code, said[:5]) == (550, b"5.1.1")
