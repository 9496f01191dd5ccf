"""The recipe of docs/clients.md for scanners and printers, with curl in the device's place."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator

import pytest

from tests.clients.page import recipe
from tests.clients.programs import needs
from tests.clients.server import Server, clear, listeners, made_key, relaying

DEVICE, ELSEWHERE = "127.0.0.2", "127.0.0.9"
PLACES = {"10.2.0.0/24": "127.0.0.0/29", "10.2.0.16/28": f"{DEVICE}/32"}
SCAN = (
    b"From: Scanner <scanner@printer>\r\nSubject: Scan\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n"
)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    command, settings = recipe("A scanner or a printer", "sh", "yaml")
    for there, here in PLACES.items():
        assert there in command + settings
        command, settings = command.replace(there, here), settings.replace(there, here)
    old, trusting = listeners(settings)
    smtp = {"listeners": [old, {"address": "127.0.0.1:0"}, trusting]}
    with relaying(tmp_path_factory.mktemp("office"), smtp) as world:
        yield Server(world, made_key(world, command), 587)


def scan(server: Server, place: str, to: str, *more: str) -> str:
    """Send as a scanner does, with an address of its own making. What curl says if it may not."""
    clear(server.world)
    command = [needs("curl"), "-sS", "-v", "--interface", place, "--mail-from", "scanner@printer", "--mail-rcpt", to]
    done = subprocess.run([*command, *more, "-T", "-"], input=SCAN, capture_output=True, timeout=60)
    return "" if done.returncode == 0 else done.stderr.decode()


@pytest.mark.skipif(not ssl.HAS_TLSv1, reason="this OpenSSL has no TLS 1.0")
def test_a_scanner_logs_in_by_tls_1_0(office: Server) -> None:
    tls = ["--ssl-reqd", "--cacert", office.certificate, "--tlsv1.0", "--tls-max", "1.0"]
    tls += ["--ciphers", "DEFAULT:@SECLEVEL=0", "--user", f"any:{office.key}"]
    tls.append(f"smtp://localhost:{office.world.starttls}")
    assert scan(office, DEVICE, "ana@example.com", *tls) == ""
    message = office.got("Scan", "scanner@example.com", "ana@example.com")
    assert message["Reply-To"] == "Scanner <scanner@printer>"
    assert message.get_content() == b"%PDF-1.4\n"
    assert "535 5.7.8 " in scan(office, ELSEWHERE, "ana@example.com", *tls)
    assert "550 5.7.1 " in scan(office, DEVICE, "ana@example.org", *tls)


def test_a_scanner_that_knows_neither_tls_nor_passwords(office: Server) -> None:
    url = f"smtp://localhost:{office.world.plain}"
    assert scan(office, DEVICE, "ana@example.com", url) == ""
    office.got("Scan", "scanner@example.com", "ana@example.com", protocol="ESMTP")
    assert "530 5.7.0 " in scan(office, ELSEWHERE, "ana@example.com", url)
    assert "550 5.7.1 " in scan(office, DEVICE, "ana@example.org", url)
