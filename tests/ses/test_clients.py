"""Opening, changing and closing accounts. No network is needed until something is sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.errors import Kind
from relay.sandbox.accounts import Account
from relay.sandbox.faults import read_script
from relay.sandbox.server import Running
from relay.sandbox.server import running as running_sandbox
from relay.ses.access import Access, Chain, Credentials, Profile, StaticKeys
from relay.ses.clients import Accounts, check_region
from relay.ses.errors import Answer, Scope, SesProblem
from relay.ses.link import Link
from relay.ses.sessions import tls_context
from relay.ses.wire import SesAccount

KEYS = StaticKeys("customer", "s")
NOBODY = "http://127.0.0.1:9"
RAW = b"From: me@byoc.example\r\nTo: ana@dest.example\r\nSubject: s\r\n\r\nHi\r\n"


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without AWS credentials."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")


def access(name: str = "acme", url: str | None = NOBODY, credentials: Credentials = KEYS) -> Access:
    return Access(name, "eu-west-1", credentials, url)


async def send(account: SesAccount, tenant: str | None = None) -> str:
    return await account.send(
        RAW, ["ana@dest.example"], domain="byoc.example", tags={}, configuration_set=None, tenant=tenant
    )


def problem_of(access: Access) -> SesProblem:
    """What a first send by this access raises."""

    async def story() -> SesProblem:
        async with Accounts() as accounts:
            with pytest.raises(SesProblem) as caught:
                await send(accounts.open(access))
            return caught.value

    return asyncio.run(story())


def sandbox() -> Account:
    return Account("customer", ("byoc.example",))


# -- what cannot be opened -------------------------------------------------------------------------------------------


def test_regions() -> None:
    assert check_region("eu-west-1") is None
    assert check_region("us-gov-west-1") is None
    assert check_region("eu-nowhere-9") == "SES has no region eu-nowhere-9"


def test_a_region_that_does_not_exist_is_named() -> None:
    problem = problem_of(Access("acme", "eu-nowhere-9", KEYS))
    assert (problem.kind, problem.scope) == (Kind.SES_CONFIG, Scope.ACCOUNT)
    assert problem.detail == "SES has no region eu-nowhere-9: correct it, or give the account an endpoint_url"


def test_a_profile_that_does_not_exist_is_named(no_aws: None) -> None:
    problem = problem_of(access(credentials=Profile("nobody")))
    assert (problem.kind, problem.scope) == (Kind.SES_DENIED, Scope.ACCOUNT)
    assert problem.said == "the AWS configuration has no profile nobody"


def test_a_chain_without_credentials_says_so(no_aws: None) -> None:
    problem = problem_of(access(credentials=Chain()))
    assert (problem.kind, problem.scope) == (Kind.SES_DENIED, Scope.ACCOUNT)
    assert "no AWS credentials in the default chain" in problem.said


def test_credentials_that_come_later_are_found(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with running_sandbox([sandbox()]) as ses, Accounts() as accounts:
            account = accounts.open(access(url=ses.url, credentials=Chain()))
            with pytest.raises(SesProblem):
                await send(account)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "customer")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
            await send(account)

    asyncio.run(story())


def test_a_profile_has_credentials_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    file.write_text("[acme]\naws_access_key_id = customer\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")

    async def story() -> None:
        async with running_sandbox([sandbox()]) as ses, Accounts() as accounts:
            await send(accounts.open(access(url=ses.url, credentials=Profile("acme"))))

    asyncio.run(story())


@pytest.mark.parametrize("text", [None, "", "this is no certificate"])
def test_a_ca_bundle_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    problem = problem_of(replace(access(), ca_bundle=str(file)))
    assert (problem.kind, problem.scope) == (Kind.SES_CONFIG, Scope.ACCOUNT)
    assert str(file) in problem.said


def test_a_proxy_that_is_no_url_is_named_without_its_password() -> None:
    problem = problem_of(replace(access(), proxy="socks5://user:word@127.0.0.1:9"))
    assert (problem.kind, problem.scope) == (Kind.SES_CONFIG, Scope.ACCOUNT)
    assert "word" not in problem.detail


# -- what does not answer --------------------------------------------------------------------------------------------


def test_nobody_listening_is_no_unknown_outcome() -> None:
    assert problem_of(access()).kind is Kind.SES_UNAVAILABLE


def test_a_proxy_that_does_not_listen_is_no_unknown_outcome() -> None:
    assert problem_of(Access("a", "eu-west-1", KEYS, proxy="http://127.0.0.1:9")).kind is Kind.SES_UNAVAILABLE


@pytest.fixture
def resetting() -> Iterator[str]:
    """A server that reads a request and resets the connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            while True:
                connection, _ = server.accept()
                connection.recv(65536)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
        except OSError:
            return

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_a_reset_after_the_request_is_an_unknown_outcome_for_mail_only(resetting: str) -> None:
    assert problem_of(access(url=resetting)).kind is Kind.SES_UNKNOWN_OUTCOME

    async def story() -> None:
        async with Accounts() as accounts:
            await accounts.open(access(url=resetting)).quota()

    with pytest.raises(SesProblem) as caught:
        asyncio.run(story())
    assert caught.value.kind is Kind.SES_UNAVAILABLE


# -- changing and closing --------------------------------------------------------------------------------------------


def hang(ses: Running) -> None:
    script = read_script(b'{"fault": "hang"}', {"customer"})
    ses.state.faults.scripts.append(script)


def test_those_who_waited_for_one_opening_share_its_failure() -> None:
    """Where no credentials are to be had, to look for them takes seconds: as many for all, and not for each anew."""
    tries = 0

    async def nothing() -> Any:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0.05)
        raise SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, "no credentials")

    async def story() -> None:
        link = Link(nothing)
        ends = await asyncio.gather(
            *(link.call("get_account", classify_nothing) for _ in range(20)), return_exceptions=True
        )
        assert {str(each) for each in ends} == {"no credentials"}
        assert tries == 1
        with pytest.raises(SesProblem):
            await link.call("get_account", classify_nothing)
        assert tries == 2

    asyncio.run(story())


def classify_nothing(answer: Answer) -> SesProblem:
    raise AssertionError(answer)


def test_replacing_touches_only_what_changed() -> None:
    async def story() -> None:
        async with running_sandbox([sandbox()]) as ses, Accounts() as accounts:
            first = await accounts.replace({name: access(name, ses.url) for name in ("a", "b", "c")})
            await asyncio.gather(*(account.quota() for account in first.values()))
            changed = replace(access("b", ses.url), credentials=StaticKeys("customer", "new"))
            second = await accounts.replace({"a": access("a", ses.url), "b": changed, "d": access("d", ses.url)})
            assert second["a"] is first["a"]
            assert second["b"] is not first["b"]
            assert second.keys() == {"a", "b", "d"}
            await asyncio.gather(*(account.quota() for account in second.values()))
            for gone in (first["b"], first["c"]):
                with pytest.raises(SesProblem, match="changed or taken out of use") as caught:
                    await gone.quota()
                assert (caught.value.kind, caught.value.scope) == (Kind.SES_CONFIG, Scope.ACCOUNT)

    asyncio.run(story())


def test_a_replaced_account_finishes_its_calls_in_hand() -> None:
    async def story() -> None:
        async with running_sandbox([sandbox()]) as ses, Accounts() as accounts:
            ses.state.faults.scripts.append(read_script(b'{"fault": {"slow": 0.3}}', {"customer"}))
            call = asyncio.create_task(send(accounts.open(access(url=ses.url))))
            while not ses.state.mailbox.after(""):
                await asyncio.sleep(0.01)
            await accounts.replace({})
            assert await call

    asyncio.run(story())


def test_closing_ends_the_wait_for_calls_that_hang() -> None:
    async def story() -> None:
        async with running_sandbox([sandbox()]) as ses:
            async with Accounts() as accounts:
                hang(ses)
                account = accounts.open(access(url=ses.url))
                call = asyncio.create_task(send(account))
                while ses.state.faults.scripts and ses.state.faults.scripts[0].times:
                    await asyncio.sleep(0.01)
                await accounts.replace({})
            with pytest.raises(SesProblem) as caught:
                await call
            assert caught.value.kind is Kind.SES_UNKNOWN_OUTCOME

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_grace_that_runs_out_closes_all_the_same() -> None:
    async def story() -> None:
        async with running_sandbox([sandbox()]) as ses, Accounts() as accounts:
            hang(ses)
            account = accounts.open(access(url=ses.url))
            call = asyncio.create_task(send(account))
            while ses.state.faults.scripts and ses.state.faults.scripts[0].times:
                await asyncio.sleep(0.01)
            await account.close(timedelta(milliseconds=50))
            with pytest.raises(SesProblem) as caught:
                await call
            assert caught.value.kind is Kind.SES_UNKNOWN_OUTCOME

    asyncio.run(asyncio.wait_for(story(), 10))


# -- what is shared --------------------------------------------------------------------------------------------------


def test_tls_contexts_are_shared_by_all_who_trust_the_same() -> None:
    """Each would cost 20 ms and 0.7 MB. Nobody listens, but the context is made before anyone is called."""
    tls_context.cache_clear()

    async def story() -> None:
        async with Accounts() as accounts:
            for number in range(5):
                with pytest.raises(SesProblem):
                    await accounts.open(access(f"a{number}", "https://127.0.0.1:9")).quota()

    asyncio.run(story())
    assert (tls_context.cache_info().misses, tls_context.cache_info().hits) == (1, 4)


@contextlib.asynccontextmanager
async def answering(seen: list[bytes], context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that takes every mail, and notes the requests."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            seen.append(head + await reader.readexactly(length))
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"MessageId":"7"}')
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def test_the_tenant_of_ses_goes_out_with_the_mail() -> None:
    seen: list[bytes] = []

    async def story() -> str:
        async with answering(seen) as port, Accounts() as accounts:
            return await send(accounts.open(access(url=f"http://127.0.0.1:{port}")), tenant="acme")

    assert asyncio.run(story()) == "7"
    assert b'"TenantName": "acme"' in seen[0]


def test_calls_go_out_by_the_proxy() -> None:
    seen: list[bytes] = []

    async def story() -> str:
        async with answering(seen) as port, Accounts() as accounts:
            by_proxy = replace(access(url="http://ses.invalid"), proxy=f"http://127.0.0.1:{port}")
            return await send(accounts.open(by_proxy))

    assert asyncio.run(story()) == "7"
    assert seen[0].startswith(b"POST http://ses.invalid/v2/email/outbound-emails ")


def test_a_ca_bundle_is_what_the_account_trusts(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    context = certified(file)

    async def story() -> str:
        async with answering([], context) as port, Accounts() as accounts:
            plain = access("plain", f"https://127.0.0.1:{port}")
            with pytest.raises(SesProblem) as caught:
                await send(accounts.open(plain))
            assert caught.value.kind is Kind.SES_UNAVAILABLE
            assert "SSLError" in caught.value.detail
            return await send(accounts.open(replace(plain, name="trusting", ca_bundle=str(file))))

    assert asyncio.run(story()) == "7"


def certified(file: Path) -> ssl.SSLContext:
    """A server's context for 127.0.0.1; the certificate, its own authority, is left in the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = file.with_suffix(".key")
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, private)
    return context


def test_the_environment_is_not_needed_for_keys(no_aws: None) -> None:
    assert "AWS_ACCESS_KEY_ID" not in os.environ
    assert problem_of(access()).kind is Kind.SES_UNAVAILABLE


def test_who_only_asks_closes_no_account_that_others_send_by() -> None:
    async def story() -> None:
        async with running_sandbox([sandbox()]) as ses, Accounts() as accounts:
            sending = accounts.open(access(url=ses.url))
            async with accounts.using(access(url=ses.url)) as same:
                assert same is sending
            async with accounts.using(replace(access(url=ses.url), concurrency=3)) as beside:
                assert beside is not sending
                await beside.quota()
            await sending.quota()
            assert accounts.open(access(url=ses.url)) is sending

    asyncio.run(story())
