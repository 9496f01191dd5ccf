"""The demo, and real clients in front of it. A client that the machine lacks is skipped, visibly."""

from __future__ import annotations

import base64
import contextlib
import email.policy
import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.programs import call, needs, needs_swaks
from tests.processes import answers, get, wait_until

PORTS = (2525, 2465, 8080, 8025)
SMTP, SMTPS, HTTP, SANDBOX = PORTS


@dataclass
class Demo:
    folder: Path
    process: subprocess.Popen[str]

    @property
    def key(self) -> str:
        return (self.folder / "demo" / "key").read_text().strip()

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    def arrived(self, subject: str) -> dict[str, Any]:
        """What the sandbox has with this subject; one message, no more."""

        def found() -> list[dict[str, Any]]:
            everything = get(f"http://127.0.0.1:{SANDBOX}/messages")
            for each in everything:
                each["raw"] = base64.b64decode(each["raw"])
            return [each for each in everything if f"\r\nSubject: {subject}\r\n".encode() in each["raw"]]

        (only,) = wait_until(found, f"the arrival of {subject}")
        return only  # type: ignore[no-any-return]


def start(folder: Path) -> Demo:
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "relay", "demo"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=output,
            text=True,
        )
    demo = Demo(folder, process)
    wait_until(lambda: "Stop with Ctrl-C" in demo.output or process.poll() is not None, "the demo's start", 60)
    assert process.poll() is None, demo.output
    return demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    for port in PORTS:
        with contextlib.closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port} is taken: is a demo running?")
    made = start(tmp_path_factory.mktemp("demo"))
    try:
        yield made
    finally:
        made.process.send_signal(signal.SIGINT)
        made.process.wait(40)


def mail(sender: str, subject: str) -> bytes:
    """8-bit text, a line that begins with a dot, a Bcc that nobody must see."""
    return (
        f"From: Me <{sender}>\r\nTo: ana@dest.example\r\nBcc: hidden@dest.example\r\nSubject: {subject}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        "Grüße\r\n.dot\r\n\r\nend\r\n"
    ).encode()


ACCOUNTS = [("shared.example", "operator", "eu-west-1"), ("byoc.example", "customer", "us-east-1")]
both = pytest.mark.parametrize(("domain", "account", "region"), ACCOUNTS)


def check(demo: Demo, sent: bytes, subject: str, account: str, region: str) -> None:
    """Under the right account, with the right envelope, without Bcc, and otherwise byte for byte."""
    found = demo.arrived(subject)
    assert (found["account"], found["region"]) == (account, region)
    assert sorted(found["recipients"]) == ["ana@dest.example", "hidden@dest.example"]
    assert sorted(found["tags"]) == ["attempt", "relay_id"]
    assert found["raw"].endswith(sent.replace(b"Bcc: hidden@dest.example\r\n", b""))
    assert b"hidden@dest.example" not in found["raw"]


@both
def test_smtplib(demo: Demo, domain: str, account: str, region: str) -> None:
    for port, subject in ((SMTP, f"smtplib {domain}"), (SMTPS, f"smtplib tls {domain}")):
        text = mail(f"me@{domain}", subject)
        context = ssl._create_unverified_context()
        if port == SMTP:
            smtp = smtplib.SMTP("127.0.0.1", port, timeout=20)
            smtp.starttls(context=context)
        else:
            smtp = smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=context)
        with smtp:
            smtp.login("anybody", demo.key)
            smtp.sendmail(f"me@{domain}", ["ana@dest.example", "hidden@dest.example"], text)
        check(demo, text, subject, account, region)


@both
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks(demo: Demo, domain: str, account: str, region: str, mechanism: str, tmp_path: Path) -> None:
    subject = f"swaks {mechanism} {domain}"
    file = tmp_path / "m.eml"
    file.write_bytes(mail(f"me@{domain}", subject).replace(b"\r\n", b"\n"))
    command = [needs_swaks(), "--server", f"127.0.0.1:{SMTP}", "--tls", "--auth", mechanism]
    command += ["--auth-user", "demo", "--auth-password", demo.key, "--from", f"me@{domain}"]
    command += ["--to", "ana@dest.example,hidden@dest.example", "--data", f"@{file}"]
    call(*command)
    found = demo.arrived(subject)
    assert (found["account"], found["region"]) == (account, region)
    assert sorted(found["recipients"]) == ["ana@dest.example", "hidden@dest.example"]
    assert "Grüße\r\n.dot\r\n\r\nend\r\n".encode() in found["raw"]


@both
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_curl_by_smtp(demo: Demo, domain: str, account: str, region: str, scheme: str) -> None:
    subject = f"curl {scheme} {domain}"
    text = mail(f"me@{domain}", subject)
    port = SMTP if scheme == "smtp" else SMTPS
    command = [needs("curl"), "-sS", "--ssl-reqd", "-k", "--url", f"{scheme}://127.0.0.1:{port}"]
    command += ["--user", f"demo:{demo.key}", "--mail-from", f"me@{domain}", "--mail-auth", f"me@{domain}"]
    command += ["--mail-rcpt", "ana@dest.example", "--mail-rcpt", "hidden@dest.example", "-T", "-"]
    call(*command, given=text)
    check(demo, text, subject, account, region)


@both
@pytest.mark.parametrize("starttls", ["on", "off"])
def test_msmtp(demo: Demo, domain: str, account: str, region: str, starttls: str) -> None:
    subject = f"msmtp {starttls} {domain}"
    port = SMTP if starttls == "on" else SMTPS
    command = [needs("msmtp"), "--host=127.0.0.1", f"--port={port}", "--auth=login", "--user=demo", "--tls=on"]
    command += [f"--passwordeval=echo {demo.key}", f"--tls-starttls={starttls}", "--tls-certcheck=off"]
    call(
        *command, f"--from=me@{domain}", "ana@dest.example", "hidden@dest.example", given=mail(f"me@{domain}", subject)
    )
    found = demo.arrived(subject)
    assert (found["account"], found["region"]) == (account, region)
    assert sorted(found["recipients"]) == ["ana@dest.example", "hidden@dest.example"]
    assert b"hidden@dest.example" not in found["raw"]


@both
def test_curl_by_http(demo: Demo, domain: str, account: str, region: str) -> None:
    subject = f"curl http {domain}"
    body = {
        "from": f"app@{domain}",
        "to": "ana@dest.example",
        "bcc": ["hidden@dest.example"],
        "subject": subject,
        "text": "Grüße\n.dot\n",
        "html": "<p>Grüße</p>",
        "attachments": [{"filename": "ä.bin", "content": base64.b64encode(bytes(range(256))).decode()}],
    }
    command = [
        needs("curl"),
        "-sS",
        f"http://127.0.0.1:{HTTP}/api/v1/emails",
        "-H",
        f"Authorization: Bearer {demo.key}",
    ]
    answer = json.loads(call(*command, "-H", "Content-Type: application/json", "-d", json.dumps(body)))
    assert len(answer["id"]) == 24
    found = demo.arrived(subject)
    assert (found["account"], found["region"]) == (account, region)
    assert sorted(found["recipients"]) == ["ana@dest.example", "hidden@dest.example"]
    message = email.message_from_bytes(found["raw"], policy=email.policy.default)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().replace("\r\n", "\n") == "Grüße\n.dot\n"
    assert html.get_content().strip() == "<p>Grüße</p>"
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("ä.bin", bytes(range(256)))
    assert b"hidden@dest.example" not in found["raw"]


def test_if_the_relay_dies_the_demo_lives_and_the_relay_can_be_brought_back(demo: Demo) -> None:
    children = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True).stdout.splitlines()
    (serving,) = [line for line in children if "relay serve" in line and "demo/config.yaml" in line]
    os.kill(int(serving.split()[0]), signal.SIGKILL)
    wait_until(lambda: "the relay ended" in demo.output, "the demo's notice")
    time.sleep(0.5)
    assert demo.process.poll() is None
    assert answers(f"http://127.0.0.1:{SANDBOX}/healthz")
    assert not answers(f"http://127.0.0.1:{HTTP}/healthz")
    again = subprocess.Popen(
        [sys.executable, "-m", "relay", "serve", "--config", "demo/config.yaml"],
        cwd=demo.folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{HTTP}/readyz"), "the relay's return")
        with smtplib.SMTP("127.0.0.1", SMTP, timeout=20) as smtp:
            smtp.starttls(context=ssl._create_unverified_context())
            smtp.login("anybody", demo.key)
            smtp.sendmail("me@byoc.example", ["ana@dest.example"], mail("me@byoc.example", "back again"))
        demo.arrived("back again")
    finally:
        again.terminate()
        assert again.wait(30) == 0


def test_a_second_demo_keeps_its_files_and_key(demo: Demo) -> None:
    key, config = demo.key, (demo.folder / "demo" / "config.yaml").read_text()
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(40) == 0
    second = start(demo.folder)
    demo.process = second.process
    assert (second.key, (demo.folder / "demo" / "config.yaml").read_text()) == (key, config)
    assert key in second.output


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_demo_that_is_killed_leaves_no_port_taken(demo: Demo) -> None:
    demo.process.kill()
    demo.process.wait()

    def are_free() -> bool:
        with contextlib.ExitStack() as stack:
            probes = [stack.enter_context(contextlib.closing(socket.socket())) for _ in PORTS]
            return all(probe.connect_ex(("127.0.0.1", port)) for probe, port in zip(probes, PORTS, strict=True))

    wait_until(are_free, "the end of the relay and the sandbox")
