"""What may be posted to: addresses, the odd forms of them, names that change, and the way there."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from ipaddress import IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import integers
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.engine import URL

from relay.certificates import self_signed
from relay.errors import Problem
from relay.feedback.webhooks.targets import NOT_ALLOWED, NOT_FOUND, ODD, PLAIN, Forbidden, Targets, is_allowed, literal
from relay.following import Webhooks
from relay.store.webhooks.log import PostState
from relay.values import WebUrl
from tests import databases
from tests.feedback.webhook_scene import HERE, Scene, staged

STRICT = Webhooks()
URLS: TypeAdapter[str] = TypeAdapter(WebUrl)
Lookup = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def lite(tmp_path: Path) -> URL:
    return databases.sqlite(tmp_path)


def names(monkeypatch: pytest.MonkeyPatch, **answers: list[str]) -> list[str]:
    """What the machine's resolver says of `NAME.test`, one answer after the other. Returns what it was asked for."""
    asked: list[str] = []
    real: Lookup = socket.getaddrinfo

    def look(host: Any, port: Any, *rest: Any, **more: Any) -> list[tuple[Any, ...]]:
        name = str(host).removesuffix(".test")
        if name not in answers:
            return real(host, port, *rest, **more)
        asked.append(name)
        said = answers[name].pop(0) if len(answers[name]) > 1 else answers[name][0]
        if not said:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [row for each in said.split() for row in real(each, port, 0, socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    return asked


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/a/b.php?x=1&y=%20#",
        "https://user@hooks.example/",
        "https://user:secret@hooks.example/",
        "https://hooks.example\\@127.0.0.1/",
        "https://hooks.example /",
        "https://hooks.example/a b",
        "https://hooks.example/\t",
        "https://hooks.example/\r\nX: y",
        "https://hooks.example:0/",
        "https://hooks.example:65536/",
        "https://hooks.example:/",
        "https://hooks.example:8o/",
        "https:///path",
        "https:/hooks.example/",
        "//hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "HTTPS://hooks.example/",
        "https://h\u00f6oks.example/",
        "https://hooks\uff0eexample/",
        "https://[::1%25lo]/",
        "https://[::1/",
        "https://127。0。0。1/",
        f"https://hooks.example/{'a' * 2000}",
        "",
        None,
        7,
    ],
)
def test_what_is_no_url_for_a_webhook(url: Any) -> None:
    with pytest.raises(ValidationError):
        URLS.validate_python(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example",
        "https://hooks.example/a/b.php?x=1&y=%20",
        "https://hooks.example:8443/~me/@you;v=1",
        "http://hook_s.internal:8080/",
        "https://192.0.2.1/",
        "https://[2001:db8::1]:8443/x",
    ],
)
def test_what_is_one(url: str) -> None:
    assert URLS.validate_python(url) == url


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.1.2.3",
        "169.254.169.254",
        "169.254.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "5f00::1",
        "4000::1",
    ],
)
def test_addresses_that_nobody_may_reach_from_here(address: str) -> None:
    assert not is_allowed(ip_address(address), ())


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "128.0.0.1",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.1",
        "192.167.255.255",
        "193.0.0.1",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2606:4700::1111",
        "2a00:1450::1",
        "2001:4860:4860::8888",
    ],
)
def test_addresses_that_anybody_may(address: str) -> None:
    assert is_allowed(ip_address(address), ())


@given(integers(0, 2**32 - 1))
def test_an_address_is_no_more_public_for_being_written_as_ipv6(number: int) -> None:
    bare = is_allowed(ip_address(number), ())
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        assert is_allowed(ip_address(int(ip_address(prefix)) + number), ()) is bare
    assert not bare or ip_address(number).is_global


@given(integers(0, 2**128 - 1))
def test_what_the_standard_library_calls_private_is_never_public(number: int) -> None:
    address = ip_address(number)
    if address.version == 6 and is_allowed(address, ()) and address in IPv6Network("2000::/3"):
        assert address.is_global


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("64:ff9b::10.1.2.3", "10.0.0.0/8"),
        ("fd00::1", "fd00::/8"),
        ("127.0.0.1", "127.0.0.1/32"),
    ],
)
def test_the_operator_may_allow_a_network(address: str, network: str) -> None:
    assert is_allowed(ip_address(address), (ip_network(network),))
    assert not is_allowed(ip_address(address), (ip_network("192.168.7.0/24"), ip_network("fd77::/16")))


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "010.0.0.1",
        "127.0.0.1.",
        "256.1.1.1",
        "1.2.3.4.5",
        "0",
        "1.",
        "hooks.example.7",
        "hooks.0xa9fe",
    ],
)
def test_odd_forms_of_addresses_are_refused(host: str) -> None:
    with pytest.raises(Forbidden, match="four decimal numbers"):
        literal(host)


@pytest.mark.parametrize(
    "host", ["hooks.example", "localhost", "7.hooks.example", "a", "xn--n3h.example", "hooks.example."]
)
def test_names_are_names(host: str) -> None:
    assert literal(host) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://8.8.8.8/", PLAIN),
        ("https://127.0.0.1/", NOT_ALLOWED),
        ("https://169.254.169.254/latest/meta-data/", NOT_ALLOWED),
        ("https://[::1]/", NOT_ALLOWED),
        ("https://[::ffff:10.0.0.1]/", NOT_ALLOWED),
        ("https://0x7f.1/", ODD),
        ("https://localhost/", NOT_ALLOWED),
        ("https://inside.test/", NOT_ALLOWED),
        ("https://both.test/", NOT_ALLOWED),
        ("https://nowhere.test/", NOT_FOUND),
        (f"https://{'a' * 64}.test/", NOT_FOUND),
        ("https://a..b/", NOT_FOUND),
    ],
)
def test_a_url_is_looked_at_before_it_is_kept(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, inside=["10.1.2.3"], both=["93.184.216.34 10.1.2.3"], nowhere=[""], localhost=["127.0.0.1"])

    async def story() -> None:
        targets = Targets(STRICT)
        with pytest.raises(Problem) as caught:
            await targets.require(url)
        [fault] = caught.value.faults
        assert (fault.path, fault.message) == ("url", said)
        await targets.close()

    asyncio.run(story())


def test_a_public_one_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, hooks=["93.184.216.34 2606:2800:220:1::1"])

    async def story() -> None:
        targets = Targets(STRICT)
        await targets.require("https://hooks.test/")
        await targets.require("https://8.8.8.8/")
        await targets.close()

    asyncio.run(story())


def test_the_socket_is_the_last_to_look() -> None:
    targets = Targets(STRICT)
    with pytest.raises(Forbidden):
        targets.socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443)))
    with targets.socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 443))) as made:
        assert made.family == socket.AF_INET


def test_what_every_other_look_missed_is_not_connected_to(lite: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address in a URL is looked up by nobody: if the URL were read otherwise here than there, this is left."""
    monkeypatch.setattr(Targets, "check", lambda *_: None)

    async def story(scene: Scene) -> None:
        scene.poster = strict = scene.new_poster(Webhooks(allow_plain=True))
        hook = await scene.hook(retries=0)
        await scene.happen()
        await scene.post_all()
        assert scene.receiver.got == []
        assert (await scene.posts(hook))[0].attempts[0].said == f"its URL {NOT_ALLOWED}"
        await strict.close()

    staged(lite, story)


def test_a_name_that_changes_leads_nowhere(lite: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when it is looked at, this machine when it is posted to."""
    asked = names(monkeypatch, rebound=["93.184.216.34", "127.0.0.1"])

    async def story(scene: Scene) -> None:
        url = f"http://rebound.test:{scene.receiver.port}/"
        settings = Webhooks(allow_plain=True)
        await Targets(settings).require(url)
        scene.poster = strict = scene.new_poster(settings)
        hook = await scene.hook(url=url, retries=0)
        await scene.happen()
        await scene.post_all()
        assert scene.receiver.got == []
        [post] = await scene.posts(hook, PostState.DEAD)
        assert post.attempts[0].said == f"its URL {NOT_ALLOWED}"
        assert asked == ["rebound", "rebound"]  # one lookup a connection: what was checked is what is connected to
        await strict.close()

    staged(lite, story)


def test_a_name_without_an_address_is_a_failure_like_others(lite: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, nowhere=[""])

    async def story(scene: Scene) -> None:
        hook = await scene.hook(url="https://nowhere.test/", retries=0)
        await scene.happen()
        await scene.post_all()
        [post] = await scene.posts(hook, PostState.DEAD)
        assert post.attempts[0].said == f"its URL {NOT_FOUND}"

    staged(lite, story)


def test_tls_is_with_the_name_and_not_with_the_address(
    lite: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, hooks=["127.0.0.1"], other=["127.0.0.1"])
    certificate, key = self_signed(tmp_path, "hooks.test")
    served: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.sni_callback = lambda _tls, name, _context: served.append(name)

    async def story(scene: Scene) -> None:
        trusting = ssl.create_default_context(cafile=certificate)
        scene.poster = poster = scene.new_poster(HERE, trusting)
        hook = await scene.hook(url=f"https://hooks.test:{scene.receiver.port}/")
        wrong = await scene.hook(url=f"https://other.test:{scene.receiver.port}/", retries=0)
        await scene.happen()
        await scene.post_all()
        [got] = scene.receiver.got
        assert got.headers["host"] == f"hooks.test:{scene.receiver.port}"
        assert sorted(map(str, served)) == ["hooks.test", "other.test"]
        assert (await scene.posts(hook))[0].state is PostState.DELIVERED
        assert (await scene.posts(wrong))[0].attempts[0].said == "its TLS certificate is not valid"
        await poster.close()

        scene.poster = doubting = scene.new_poster(HERE)
        stranger = await scene.hook(url=f"https://hooks.test:{scene.receiver.port}/", retries=0)
        await scene.change(hook, enabled=False)
        await scene.change(wrong, enabled=False)
        await scene.happen()
        await scene.post_all()
        assert (await scene.posts(stranger))[0].attempts[0].said == "its TLS certificate is not valid"
        await doubting.close()

    staged(lite, story, server)


def test_the_proxy_of_the_environment_is_not_asked(lite: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)

    async def story(scene: Scene) -> None:
        await scene.hook()
        await scene.happen()
        await scene.post_all()
        assert len(scene.receiver.got) == 1

    staged(lite, story)


def test_who_speaks_no_http_is_a_failure_in_words(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-OpenSSH_9.6 secret-of-this-network\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            hook = await scene.hook(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", retries=0)
            await scene.happen()
            await scene.post_all()
        [post] = await scene.posts(hook, PostState.DEAD)
        assert post.attempts[0].said in {"no valid HTTP answer", "the connection broke off"}
        assert "secret" not in repr(post)

    staged(lite, story)
