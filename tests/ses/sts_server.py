"""A stand-in for AWS STS over HTTP: AssumeRole with a trust policy, GetCallerIdentity, and credentials that run out."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

ACCOUNT = "111122223333"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


@dataclass
class Sts:
    """Roles by ARN with their ExternalId; `lends` are the access key ids given out in turn, the last one for ever."""

    url: str = ""
    roles: dict[str, str] = field(default_factory=dict)
    lends: list[str] = field(default_factory=lambda: ["customer"])
    lasts: timedelta = timedelta(hours=1)
    refusal: tuple[int, str, str] | None = None  # what every call is answered with
    calls: list[dict[str, str]] = field(default_factory=list)

    def answer(self, call: dict[str, str], key: str) -> tuple[int, str]:
        self.calls.append(call)
        if self.refusal is not None:
            return self._error(*self.refusal)
        if call["Action"] == "GetCallerIdentity":
            arn = f"arn:aws:iam::{ACCOUNT}:user/{key}"
            return 200, self._result("GetCallerIdentity", f"<Arn>{arn}</Arn><Account>{ACCOUNT}</Account>")
        if self.roles.get(call["RoleArn"]) != call.get("ExternalId"):
            text = (
                f"User: arn:aws:iam::{ACCOUNT}:user/{key} is not authorized to perform: sts:AssumeRole on resource: "
                f"{call['RoleArn']}"
            )
            return self._error(403, "AccessDenied", text)
        lent = self.lends.pop(0) if len(self.lends) > 1 else self.lends[0]
        until = (datetime.now(UTC) + self.lasts).strftime("%Y-%m-%dT%H:%M:%SZ")
        credentials = (
            f"<AccessKeyId>{lent}</AccessKeyId><SecretAccessKey>lent-secret</SecretAccessKey>"
            f"<SessionToken>lent-token</SessionToken><Expiration>{until}</Expiration>"
        )
        return 200, self._result("AssumeRole", f"<Credentials>{credentials}</Credentials>")

    def _result(self, action: str, inner: str) -> str:
        return (
            f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{inner}</{action}Result>'
            f"<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
        )

    def _error(self, status: int, code: str, text: str) -> tuple[int, str]:
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>"
        return status, f'<ErrorResponse xmlns="{NAMESPACE}">{error}<RequestId>1</RequestId></ErrorResponse>'


@contextlib.contextmanager
def running() -> Iterator[Sts]:
    sts = Sts()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: two would wait for each other's acknowledgement

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            call = {name: values[0] for name, values in parse_qs(body).items()}
            key = re.search(r"Credential=([^/]+)/", self.headers["Authorization"])
            assert key is not None
            status, answer = sts.answer(call, key[1])
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(answer.encode())))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        sts.url = f"http://127.0.0.1:{server.server_port}"
        yield sts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
