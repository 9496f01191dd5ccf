"""HTTP written by hand, for what no client would send."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from relay.http import hall
from tests.support import PATIENCE, Answer, World

PATH = "/api/v1/emails"
BODY = {"from": "news@shared.example", "to": "ana@one.test", "subject": "Hi", "text": "Hi Ana"}
CHUNKED = "Transfer-Encoding: chunked"


@contextmanager
def watchful(folder: Path) -> Iterator[World]:
    """A relay that looks at its HTTP connections every 50 ms, not each second: tests of deadlines need not wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hall, "WATCH_EVERY", 0.05)
        with World(folder) as world:
            yield world


class Raw:
    """A connection; a context manager. With a context it speaks TLS."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None, source: str = "") -> None:
        self.socket = socket.create_connection(
            ("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0) if source else None
        )
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="relay.test")
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, octets: bytes) -> Self:
        self.socket.sendall(octets)
        return self

    def answer(self, method: str = "POST") -> Answer:
        """The next one. Raises http.client.BadStatusLine where the connection ends instead."""
        found = http.client.HTTPResponse(_Kept(self._file), method=method)  # type: ignore[arg-type]
        found.begin()
        return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())

    def ends(self) -> bool:
        """Whether the server ends the connection, and says nothing more."""
        try:
            return self._file.read() == b""
        except ConnectionError:
            return True

    def takes(self, octets: bytes, times: int) -> bool:
        """Whether the server takes that."""
        try:
            for _ in range(times):
                self.send(octets)
        except ConnectionError:
            return False
        return True


class _Kept:
    """What http.client takes for a socket: it reads one answer, and leaves the rest."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def makefile(self, _mode: str) -> Any:
        return self

    def close(self) -> None:
        """It is the connection's."""

    def flush(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def asked(port: int, octets: bytes, method: str = "POST") -> Answer:
    """The answer to one request, on a connection that ends with it."""
    with Raw(port) as raw:
        said = raw.send(octets).answer(method)
        assert raw.ends()
        return said


def request(
    target: str = "/healthz", *fields: str, method: str = "GET", body: bytes = b"", version: str = "1.1"
) -> bytes:
    """A whole request, with a Host and, for a body, a Content-Length."""
    given = [f"{method} {target} HTTP/{version}", "Host: relay.test", *fields]
    if body:
        given.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*given, "", ""]).encode("latin-1") + body
