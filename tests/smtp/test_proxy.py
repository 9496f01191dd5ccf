"""The PROXY protocol: headers by the book and beside it, then over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp import proxy
from relay.smtp.proxy import LONGEST_V2, SIGNATURE, Header, ProxyFailed, client_of, parse

PATIENCE = 10.0  # seconds


def v2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + (len(body) if length is None else length).to_bytes(2) + body


def of(source: str, destination: str = "") -> bytes:
    """The addresses of version 2, with ports."""
    there = ip_address(destination or source)
    return ip_address(source).packed + there.packed + struct.pack("!HH", 40000, 25)


TLV = b"\x20\0\5hello"
# fmt: off
WHOLE = {
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 25\r\n": "192.0.2.1",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 0 65535\r\n": "192.0.2.1",
    b"PROXY TCP6 2001:db8::1 2001:DB8::2 40000 25\r\n": "2001:db8::1",
    b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 40000 25\r\n": "192.0.2.1",
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff:f...f:ffff anything 65535 65535\r\n": None,
    v2(0x21, 0x11, of("192.0.2.1")): "192.0.2.1",
    v2(0x21, 0x11, of("192.0.2.1") + TLV): "192.0.2.1",
    v2(0x21, 0x21, of("2001:db8::1")): "2001:db8::1",
    v2(0x21, 0x21, of("::ffff:192.0.2.1")): "192.0.2.1",
    v2(0x21, 0x12, of("192.0.2.1")): None,  # over UDP, which this is not
    v2(0x21, 0x31, bytes(216)): None,  # a socket of the upstream's own machine
    v2(0x21, 0x00, b""): None,
    v2(0x20, 0x00, b""): None,
    v2(0x20, 0x11, of("192.0.2.1") + TLV): None,  # LOCAL: the addresses are to be passed over
    v2(0x20, 0x21, b"short"): None,
}
BAD = {
    b"EHLO client.test\r\n": "sent no PROXY header",
    b"\x16\x03\x01\x02\x00": "sent no PROXY header",
    b"proxy TCP4 192.0.2.1 198.51.100.1 40000 25\r\n": "sent no PROXY header",
    b"PROXIED\r\n": "sent no PROXY header",
    b"\r\n\r\n\0\r\nQUIT\r": "sent no PROXY header",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 25\n" + b"x" * 100: "without an end",
    b"PROXY UNKNOWN " + b"x" * 100: "without an end",
    b"PROXY UNKNOWNS\r\n": "not well formed",
    b"PROXY TCP4\r\n": "not well formed",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000\r\n": "not well formed",
    b"PROXY TCP4  192.0.2.1 198.51.100.1 40000 25\r\n": "not well formed",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 25 \r\n": "not well formed",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 040 25\r\n": "not well formed",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n": "not well formed",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 25\r\n": "not well formed",
    b"PROXY UDP4 192.0.2.1 198.51.100.1 40000 25\r\n": "not well formed",
    b"PROXY TCP4 192.0.2.\xff 198.51.100.1 40000 25\r\n": "not well formed",
    b"PROXY TCP4 192.0.2.256 198.51.100.1 40000 25\r\n": "bad address",
    b"PROXY TCP4 192.0.2 198.51.100.1 40000 25\r\n": "bad address",
    b"PROXY TCP6 2001::db8::1 2001:db8::1 40000 25\r\n": "bad address",
    b"PROXY TCP4 2001:db8::1 2001:db8::1 40000 25\r\n": "another family",
    b"PROXY TCP6 192.0.2.1 192.0.2.1 40000 25\r\n": "another family",
    b"PROXY TCP4 192.0.2.1 2001:db8::1 40000 25\r\n": "another family",
    v2(0x11, 0x11, of("192.0.2.1")): "kind that is not known",
    v2(0x22, 0x11, of("192.0.2.1")): "kind that is not known",
    v2(0x21, 0x41, of("192.0.2.1")): "kind that is not known",
    v2(0x21, 0x13, of("192.0.2.1")): "kind that is not known",
    v2(0x21, 0x11, of("192.0.2.1")[:-1]): "too short",
    v2(0x21, 0x21, of("192.0.2.1")): "too short",
    v2(0x21, 0x11, of("192.0.2.1"), 0xFFFF): "65551 octets",
}
# fmt: on


@pytest.mark.parametrize(("octets", "client"), WHOLE.items())
def test_a_header_ends_where_it_says(octets: bytes, client: str | None) -> None:
    for after in (b"", b"EHLO client.test\r\n", b"\r\n", b"\x16\3\1"):
        assert parse(octets + after) == Header(len(octets), client)


@pytest.mark.parametrize("octets", WHOLE)
def test_a_part_of_a_header_is_waited_for(octets: bytes) -> None:
    for end in range(len(octets)):
        assert parse(octets[:end]) is None


@pytest.mark.parametrize(("octets", "why"), BAD.items())
def test_a_bad_header_is_refused(octets: bytes, why: str) -> None:
    with pytest.raises(ProxyFailed, match=why) as failed:
        parse(octets)
    assert str(failed.value).isascii()
    for end in range(len(octets)):  # and before it is whole never taken for a good one
        with contextlib.suppress(ProxyFailed):
            assert parse(octets[:end]) is None


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=40), st.binary(max_size=40))
def test_any_address_comes_through(
    source: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address, port: int, tlv: bytes, after: bytes
) -> None:
    there = other if other.version == source.version else source
    line = f"PROXY TCP{source.version} {source} {there} {port} 25\r\n".encode()
    assert parse(line + after) == Header(len(line), proxy.plain(source))
    family = {4: 0x11, 6: 0x21}[source.version]
    header = v2(0x21, family, source.packed + there.packed + struct.pack("!HH", port, 25) + tlv)
    assert parse(header + after) == Header(len(header), proxy.plain(source))


@given(
    st.binary(max_size=300)
    | st.builds(b"PROXY ".__add__, st.binary(max_size=150))
    | st.builds(SIGNATURE.__add__, st.binary(max_size=300))
)
def test_whatever_comes_is_waited_for_taken_or_refused(octets: bytes) -> None:
    try:
        header = parse(octets)
    except ProxyFailed:
        return
    if header is None:
        assert len(octets) < LONGEST_V2
        return
    assert 0 < header.length <= len(octets)
    if header.client is not None:
        assert str(ip_address(header.client)) == header.client


# -- over sockets ----------------------------------------------------------------------------------------------------


class Host(asyncio.Protocol):
    """Hears for whom a client speaks, then reads on."""

    def __init__(self, timeout: float, proxies: str) -> None:
        loop = asyncio.get_running_loop()
        self.heard: asyncio.Future[str] = loop.create_future()
        self.ended: asyncio.Future[bytes] = loop.create_future()
        self._received = b""
        self._timeout, self._proxies = timeout, [ip_network(proxies)]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()
        self.task = asyncio.create_task(self._listen())

    def data_received(self, data: bytes) -> None:
        self._received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(self._received)

    async def _listen(self) -> None:
        try:
            self.heard.set_result(await client_of(self.transport, self._proxies, self._timeout))
        except ProxyFailed as failed:
            self.heard.set_result(str(failed))
            self.transport.close()
        else:
            self.transport.resume_reading()


def heard(
    *pieces: bytes, timeout: float = PATIENCE, proxies: str = "127.0.0.0/8", hangs_up: bool = True
) -> tuple[str, bytes]:
    """What the server heard of the client, and what was left to read. Each piece is looked at before the next."""

    async def story() -> tuple[str, bytes]:
        loop = asyncio.get_running_loop()
        hosts: asyncio.Queue[Host] = asyncio.Queue()

        def met() -> Host:
            hosts.put_nowait(one := Host(timeout, proxies))
            return one

        server = await loop.create_server(met, "127.0.0.1", 0)
        with socket.socket() as wire:
            wire.setblocking(False)
            await loop.sock_connect(wire, server.sockets[0].getsockname())
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(PATIENCE):
                one = await hosts.get()
                for piece in pieces:
                    with contextlib.suppress(ConnectionError):
                        await loop.sock_sendall(wire, piece)
                    await asyncio.sleep(0)
                if hangs_up:
                    with contextlib.suppress(OSError):
                        wire.shutdown(socket.SHUT_WR)
                outcome = await one.heard, await one.ended
                await one.task
        server.close()
        await server.wait_closed()
        return outcome

    return asyncio.run(story())


V1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 25\r\n"
V2 = v2(0x21, 0x21, of("2001:db8::1") + b"\x04" + (12_000).to_bytes(2) + bytes(12_000))


@pytest.mark.parametrize(
    ("header", "client"), [(V1, "192.0.2.1"), (V2, "2001:db8::1"), (v2(0x20, 0, b""), "127.0.0.1")]
)
def test_the_header_is_taken_and_nothing_more(header: bytes, client: str) -> None:
    rest = b"EHLO client.test\r\n" + b"\xff" * 70_000
    assert heard(header + rest) == (client, rest)
    assert heard(header, rest) == (client, rest)
    assert heard(header[:5], header[5:20], header[20:] + rest) == (client, rest)


def test_a_header_may_come_octet_by_octet() -> None:
    assert heard(*(V1[at : at + 1] for at in range(len(V1))), b"rest") == ("192.0.2.1", b"rest")


def test_a_client_from_elsewhere_is_served_as_itself() -> None:
    """What it says is not looked at: there is no header for it to send."""
    assert heard(V1 + b"rest", proxies="192.0.2.0/24") == ("127.0.0.1", V1 + b"rest")


@pytest.mark.parametrize("pieces", [[], [V1[:20]], [V2[:20]]], ids=["nothing", "a part of v1", "a part of v2"])
def test_an_upstream_that_says_nothing_more_is_let_go(pieces: list[bytes]) -> None:
    said, _ = heard(*pieces, timeout=0.1, hangs_up=False)
    assert said == "sent no whole PROXY header within 0 s"


@pytest.mark.parametrize("pieces", [[], [V1[:20]], [V2[:20]]], ids=["nothing", "a part of v1", "a part of v2"])
def test_an_upstream_that_hangs_up_is_not_waited_for(pieces: list[bytes]) -> None:
    said, _ = heard(*pieces)
    assert said == "hung up before its PROXY header was whole"


def test_an_upstream_without_a_header_is_refused() -> None:
    said, _ = heard(b"EHLO client.test\r\n", hangs_up=False)
    assert said == "sent no PROXY header, though it is in proxy_from of this listener"
