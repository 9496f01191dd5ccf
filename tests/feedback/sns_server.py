"""SNS as the relay calls it: certificates and ConfirmSubscription; with TLS, by names that lead nowhere else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import AF_INET, AddressFamily

from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.feedback.sns import GOLDEN, HOST, PEM

CONFIRMED = b"<ConfirmSubscriptionResponse xmlns='http://sns.amazonaws.com/doc/2010-03-31/'><ConfirmSubscriptionResult><SubscriptionArn>arn:aws:sns:us-east-1:210987654321:customer-events:1</SubscriptionArn></ConfirmSubscriptionResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></ConfirmSubscriptionResponse>"
DENIED = b"<ErrorResponse xmlns='http://sns.amazonaws.com/doc/2010-03-31/'><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>User: arn:aws:iam::1:user/x is not authorized to perform: SNS:ConfirmSubscription</Message></Error><RequestId>1</RequestId></ErrorResponse>"


def answer(status: int, body: bytes = b"", *fields: str) -> bytes:
    head = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", "Connection: close", *fields]
    return "\r\n".join([*head, "", ""]).encode() + body


def file(name: str) -> bytes:
    return answer(200, (GOLDEN / name).read_bytes())


@dataclass
class Sns:
    """`answers`: by path. None: it never answers. `asked`: request lines; `bodies`: of what was posted."""

    port: int = 0
    answers: dict[str, bytes | None] = field(
        default_factory=lambda: {PEM: file("sns.pem"), "/": answer(200, CONFIRMED)}
    )
    asked: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.asked.append(head.partition("\r\n")[0])
            for line in head.lower().split("\r\n"):
                if line.startswith("content-length:"):
                    self.bodies.append((await reader.readexactly(int(line.partition(":")[2]))).decode())
            said = self.answers.get(head.split()[1], answer(404))
            if said is None:
                await reader.read()
            else:
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Sns]:
    sns = Sns()
    server = await asyncio.start_server(sns.serve, "127.0.0.1", 0, ssl=context)
    sns.port = server.sockets[0].getsockname()[1]
    try:
        yield sns
    finally:
        server.close()


class Names(AbstractResolver):
    """Leads every name to one port of this machine, and notes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        self.asked.append((host, port))
        here = ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=AF_INET, proto=0, flags=0)
        return [here]

    async def close(self) -> None: ...


def authority(folder: Path, names: Sequence[str] = (HOST,)) -> tuple[Path, ssl.SSLContext]:
    """A bundle that trusts a new server for these names, and what it serves with."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    bundle, pair = folder / "authority.pem", folder / "server.pem"
    bundle.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pair.write_bytes(key.private_bytes(*form) + bundle.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return bundle, context
