"""From a request to every form of webhook: what SES tells of a mail reaches receivers that look at the signature."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from relay.telling import NAMES, Dialect
from tests.contracts.happenings import RECIPES, by_standard
from tests.support import World, wait_for

DOMAINS = {
    "shared.example": {"mode": "shared", "account": "operator", "configuration_set": "relay"},
    "byoc.example": {"mode": "byoc", "account": "customer", "configuration_set": "relay"},
}
WEBHOOKS = {"allow_networks": ["127.0.0.0/8"], "allow_plain": True}
NAMED_IN = ("type", "event_type", "event")


@dataclass
class Receiver:
    """Keeps what is posted to it, by path."""

    got: dict[str, list[tuple[dict[str, str], bytes]]] = field(default_factory=dict)

    def __enter__(self) -> Receiver:
        got = self.got

        class Keep(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got.setdefault(self.path, []).append((dict(self.headers), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Keep)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def named(self, path: str) -> list[str]:
        """What the posts there say that happened."""
        bodies = [json.loads(body) for _, body in self.got.get(path, [])]
        return [next(body[name] for name in NAMED_IN if name in body) for body in bodies]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("story"), via="sqs", domains=DOMAINS, webhooks=WEBHOOKS) as world:
        yield world


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def hooked(world: World, receiver: Receiver, **wanted: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Webhooks by the paths that they post to, once the server knows them: a trial of each has come."""
    made = {}
    for path, fields in wanted.items():
        answer = world.call("POST", "/api/v1/webhooks", {"url": f"{receiver.url}/{path}", **fields})
        assert answer.status == 201, answer.body
        made[path] = answer.json
        assert world.call("POST", f"/api/v1/webhooks/{made[path]['id']}/test").status == 201
    wait_for(lambda: len(receiver.got) == len(wanted))
    receiver.got.clear()
    return made


@pytest.mark.parametrize("domain", list(DOMAINS))
def test_what_becomes_of_mail_is_told_in_every_dialect(world: World, receiver: Receiver, domain: str) -> None:
    forms = {each.value: {"dialect": each.value} for each in Dialect}
    hooks = hooked(world, receiver, **forms, elsewhere={"domains": ["elsewhere.example"]})
    mail = {
        "from": f"shop@{domain}",
        "subject": "Grüße <9>",
        "text": "x",
        "metadata": {"order": "9"},
        "headers": {"X-Campaign": "spring"},
    }
    ours: dict[str, list[str]] = {}
    for who, became in (
        ("success", ["delivered"]),
        ("bounce", ["bounced"]),
        ("complaint", ["delivered", "complained"]),
    ):
        to = f"{who}+{domain.partition('.')[0]}@simulator.amazonses.com"
        sent = world.call("POST", "/api/v1/emails", mail | {"to": to})
        assert sent.status == 202, sent.body
        ours[sent.json["id"]] = [f"email.{each}" for each in ("queued", "sent", *became)]
    every = sorted(name for names in ours.values() for name in names)
    for dialect in Dialect:
        names = NAMES.get(dialect)
        expected = sorted(names[name] for name in every if name in names) if names else every
        wait_for(lambda path=f"/{dialect.value}", names=expected: sorted(receiver.named(path)) == names)  # type: ignore[misc]
        for headers, body in receiver.got[f"/{dialect.value}"]:
            secret = hooks[dialect.value]["secret"]
            assert by_standard(headers, body, secret)
            assert RECIPES[dialect](headers, body, secret)
            assert all(each in json.dumps(json.loads(body)) for each in ('{"order": "9"}', '{"X-Campaign": "spring"}'))
    for public_id, names in ours.items():
        bodies = [json.loads(body) for _, body in receiver.got["/native"]]
        of_it = [body for body in bodies if body["data"]["id"] == public_id]
        assert [body["type"] for body in of_it] == names, "in order, for one message"
        assert all(body["data"]["recipients"] == body["data"]["to"] for body in of_it)
        assert {body["data"]["subject"] for body in of_it} == {mail["subject"]}
        assert len({body["id"] for body in of_it}) == len(names)
    assert receiver.named("/elsewhere") == []
    for hook in hooks.values():
        listed = world.call("GET", f"/api/v1/webhooks/{hook['id']}/deliveries?limit=100").json["data"]
        assert {each["state"] for each in listed} == {"delivered"}
        assert world.call("DELETE", f"/api/v1/webhooks/{hook['id']}").status == 204
