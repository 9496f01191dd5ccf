"""How many connections the HTTP server takes, and how they begin with TLS."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.certificates import self_signed
from relay.http import arrival, hall
from tests.http_edge.raw import Raw, request
from tests.support import World, wait_for

PATH = "/api/v1/emails"
BODY = {"from": "news@shared.example", "to": "ana@one.test", "subject": "Hi", "text": "Hi Ana"}
SHORT = 0.4  # seconds: what the deadlines are here
CHUNKED = "Transfer-Encoding: chunked"


# -- how many --------------------------------------------------------------------------------------------------------


def test_one_address_does_not_take_all(tmp_path: Path) -> None:
    with (
        World(tmp_path, http={"max_connections": 50, "max_connections_per_address": 3}) as world,
        contextlib.ExitStack() as held,
    ):
        for _ in range(3):
            held.enter_context(Raw(world.http, source="127.0.0.9"))
        with Raw(world.http, source="127.0.0.9") as raw:
            said = raw.send(request("/healthz")).answer("GET")
            assert (said.status, said.json["reason"]) == (503, "overloaded")
            assert "from your address" in said.json["message"]
            assert int(said.headers["retry-after"]) > 0
            assert raw.ends()
        for _ in range(hall.SPARE_OF_ONE):
            held.enter_context(Raw(world.http, source="127.0.0.9"))
        with Raw(world.http, source="127.0.0.9") as raw:
            assert raw.ends()
        assert world.call("GET", "/healthz").status == 200


def test_the_last_places_are_for_those_who_are_known(tmp_path: Path) -> None:
    with World(tmp_path, http={"max_connections": 5}) as world, contextlib.ExitStack() as held:
        assert world.call("POST", PATH, BODY, source="127.0.0.7").status == 202
        for number in range(4):
            held.enter_context(Raw(world.http, source=f"127.0.0.{20 + number}"))
        said = world.call("GET", "/healthz", source="127.0.0.8")
        assert (said.status, said.json["reason"], said.headers["connection"]) == (503, "overloaded", "close")
        assert world.call("GET", "/healthz", source="127.0.0.7").status == 200
        held.close()
        wait_for(lambda: world.call("GET", "/healthz", source="127.0.0.8").status == 200)


def test_clients_of_a_proxy_are_not_one(tmp_path: Path) -> None:
    http = {"max_connections_per_address": 1, "trusted_proxies": ["127.0.0.9/32"]}
    with World(tmp_path, http=http) as world, contextlib.ExitStack() as held:
        for _ in range(30):
            held.enter_context(Raw(world.http, source="127.0.0.9"))
        assert world.call("GET", "/healthz", source="127.0.0.9").status == 200


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrival, "HANDSHAKE", SHORT)
        patch.setattr(hall, "WATCH_EVERY", 0.05)
        folder = tmp_path_factory.mktemp("tls")
        certificate, key = self_signed(folder, "relay.test")
        given = {"certificate": str(certificate), "key": str(key)}
        with World(folder, http={"tls": True}, certificate=given) as world:
            yield world


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def test_https_speaks_like_http(secure: World) -> None:
    context = trusting(secure.folder / "self-signed.crt")
    with Raw(secure.http, context) as raw:
        said = raw.send(request()).answer("GET")
        assert (said.status, said.headers["strict-transport-security"]) == (200, "max-age=31536000")
        body = json.dumps(BODY).encode()
        fields = (f"Authorization: Bearer {secure.key}", "Content-Type: application/json")
        assert raw.send(request(PATH, *fields, method="POST", body=body)).answer().status == 202
        assert raw.send(b"GARBAGE\r\n\r\n").answer("GET").status == 400
    with Raw(secure.http, context) as raw:  # an answer is read before the rest of a body here, too
        raw.send(request(PATH, f"Content-Length: {8 << 20}", "Authorization: Bearer no", method="POST"))
        for _ in range(8):
            raw.send(b" " * (1 << 20))
        assert raw.answer().status == 401


def test_a_handshake_has_an_end(secure: World) -> None:
    for octets in (b"", b"\x16\x03\x01\x02", request()):
        with Raw(secure.http) as raw:
            begun = time.monotonic()
            raw.send(octets)
            with contextlib.suppress(ConnectionError):
                raw._file.read()
            assert time.monotonic() - begun < 5


def test_connections_count_before_their_handshake(tmp_path: Path) -> None:
    with World(tmp_path, http={"tls": True, "max_connections_per_address": 1}) as world, contextlib.ExitStack() as held:
        for _ in range(1 + hall.SPARE_OF_ONE):
            held.enter_context(Raw(world.http, source="127.0.0.9"))
        with Raw(world.http, source="127.0.0.9") as raw:
            assert raw.ends()


def test_a_renewed_certificate_is_used_and_connections_go_on(secure: World, tmp_path: Path) -> None:
    before = trusting(secure.folder / "self-signed.crt")
    fresh_certificate, fresh_key = self_signed(tmp_path, "relay.test")
    after = trusting(fresh_certificate)
    with Raw(secure.http, before) as kept:
        assert kept.send(request()).answer("GET").status == 200
        fresh_key.replace(secure.folder / "self-signed.key")
        (secure.folder / "self-signed.crt").write_bytes(fresh_certificate.read_bytes())

        def is_renewed() -> bool:
            try:
                with Raw(secure.http, after) as raw:
                    return raw.send(request()).answer("GET").status == 200
            except ssl.SSLCertVerificationError:
                return False

        wait_for(is_renewed)
        assert kept.send(request()).answer("GET").status == 200


def test_a_stop_waits_for_nobody_who_brings_nothing(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        with World(tmp_path) as world:
            for octets in (b"", request(), request()[:20], b"GARBAGE\r\n\r\n"):
                held.enter_context(Raw(world.http)).send(octets)
            wait_for(lambda: world.metric("relay_http_connections") == 5)
            begun = time.monotonic()
        assert time.monotonic() - begun < 3
