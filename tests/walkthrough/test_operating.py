"""docs/operating.md, followed to the letter: its file, its commands in their order, on both databases."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.store.clock import now_ms
from relay.store.usage import month_of
from tests import processes
from tests.dns_server import DnsServer, records

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(yaml|sh)(?: (?:refused (\d+)|changes))?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SECRET_HEAD = "relay_"
NOTICED_WITHIN = 2.0  # seconds, as the page says; a busy machine gets more


@dataclass
class Followed:
    """An operator with a shell, in a folder of its own."""

    folder: Path
    ports: dict[str, int]
    environment: dict[str, str]
    printed: list[str] = field(default_factory=list)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        for port, here in self.ports.items():
            script = script.replace(f"127.0.0.1:{port}", f"127.0.0.1:{here}")
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def follow(self, script: str, refused: str) -> str:
        """A block as the page has it. What asks the server is asked again until the server has noticed the change."""
        deadline = time.monotonic() + (10 * NOTICED_WITHIN if "curl" in script else 0)
        while True:
            done = self.run(script)
            said = done.stdout + done.stderr
            is_right = f"error: {refused}" in said if refused else done.returncode == 0
            if is_right or time.monotonic() > deadline:
                assert is_right, f"{script}\n{said}"
                self.printed.append(said)
                return said
            time.sleep(0.1)


@contextlib.contextmanager
def moto() -> Iterator[str]:
    [port] = processes.free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        processes.wait_until(lambda: processes.answers(f"{url}/moto-api/data.json"), "moto's start")
        yield url
    finally:
        process.terminate()
        process.wait()


def configured(folder: Path, database: str, dns: DnsServer) -> dict[str, int]:
    """The page's file, on free ports, with a database and a DNS of ours. Returns the ports."""
    [text] = [body for language, _, body in BLOCKS if language == "yaml"]
    smtp, http = processes.free_ports(2)
    raw: dict[str, Any] = yaml.safe_load(text.replace("0.0.0.0:587", f"127.0.0.1:{smtp}").replace(":8080", f":{http}"))
    raw |= {"database": database, "dns": {"nameservers": [dns.nameserver]}}
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    return {"587": smtp, "8080": http}


class Sending:
    """An application that sends all the time, with the key it is given at the moment."""

    def __init__(self, url: str, key: str) -> None:
        self.key = key
        self.answers: list[int] = []
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        body = {"from": "orders@shop.example", "to": "ana@dest.example", "subject": "All the time", "text": "x"}
        while not self._stop.wait(0.25):
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    self.answers.append(answer.status)
            except urllib.error.HTTPError as refusal:
                self.answers.append(refusal.code)

    def __enter__(self) -> Sending:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def go_on(self, count: int = 5) -> None:
        """Wait until so many more were answered."""
        wanted = len(self.answers) + count
        processes.wait_until(lambda: len(self.answers) >= wanted, "the application's next sends")


def publish(file: Path, dns: DnsServer) -> None:
    for record in json.loads(file.read_text()):
        value = f'"{record["value"]}"' if record["type"] == "TXT" else f"{record['value']}."
        dns.zone[record["name"], record["type"]] = records(f"{record['type']} {value}")


@pytest.mark.skipif(
    month_of(now_ms()) != month_of(now_ms() + 120_000), reason="the month, and with it the quota, is about to turn"
)
@pytest.mark.soak  # more than a minute each: every command is a process of its own
@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_an_operator_follows_the_page(tmp_path: Path, database: str) -> None:
    with contextlib.ExitStack() as stack:
        known = {"dest.example": records("MX 10 mx.dest.example."), "amazon.com": records("MX 10 mx.amazon.com.")}
        dns = stack.enter_context(DnsServer(known))
        accounts = ("--account", "ops=ops.example", "--account", "acme=ready.example", "--temporary", "acme")
        sandbox = stack.enter_context(processes.sandbox(*accounts, "--nameserver", dns.nameserver))
        ports = configured(tmp_path, database, dns)
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            # Where botocore is told that AWS is; the page knows nothing of it.
            "AWS_ENDPOINT_URL_SESV2": sandbox.url,
            "AWS_ENDPOINT_URL_SNS": sandbox.url,
            "AWS_ENDPOINT_URL_SQS": sandbox.url,
            "AWS_ENDPOINT_URL_STS": stack.enter_context(moto()),
            "AWS_ACCESS_KEY_ID": "ops",
            "AWS_SECRET_ACCESS_KEY": "ops-secret-of-the-operator",
        }
        operator = Followed(tmp_path, ports, environment)
        if database != "relay.db":
            assert operator.run("relay migrate").returncode == 0
        server = processes.Relay(tmp_path, ports["587"], 0, ports["8080"], environment=environment)
        server.start()
        stack.callback(server.kill)
        follow_all(operator, sandbox, dns, server)
        assert server.stop() == 0
        nothing_was_told([*operator.printed, server.log.read_text()], tmp_path, environment)


def follow_all(operator: Followed, sandbox: processes.Sandbox, dns: DnsServer, server: processes.Relay) -> None:
    blocks = [(script, refused) for language, refused, script in BLOCKS if language == "sh"]
    sending: Sending | None = None
    for script, refused in blocks:
        if "domain verify" in script:
            early = operator.run(script)  # nothing is published yet
            assert early.returncode != 0
            assert "_domainkey.shop.example" in early.stdout
            publish(operator.folder / "records.json", dns)
        if "key rotate" in script:
            url = f"http://127.0.0.1:{server.http}/api/v1/emails"
            first = (operator.folder / "webshop.key").read_text().strip()
            processes.wait_until(lambda key=first: asked(server, key)[1] == "600", "the new plan")  # type: ignore[misc]
            sending = Sending(url, first).__enter__()
            sending.go_on()
        if "key revoke" in script:
            assert sending is not None
            sending.go_on()  # with the old one, after the rotation
            sending.key = (operator.folder / "webshop-new.key").read_text().strip()
            wait_for_key(operator, server, sending.key)
            sending.go_on()
        if "While suspended" in script:  # asked too early, it would be accepted, and rightly
            processes.wait_until(lambda: "shop.example" in str(held(server)), "the suspension")
        said = operator.follow(script, refused)
        if "key revoke" in script:
            assert sending is not None
            sending.go_on()
            sending.__exit__()
            assert set(sending.answers) == {202}
            old = (operator.folder / "webshop.key").read_text().strip()
            processes.wait_until(lambda old=old: status(server, old) == 401, "the revocation")  # type: ignore[misc]
        if refused:
            assert json.loads(said[: said.index("}") + 1])["reason"] in {"quota_exceeded", "account_suspended"}
    subjects = arrived(sandbox)
    assert {"By HTTP", "By SMTP", "After all"} <= subjects.keys()
    assert "While suspended" not in subjects
    assert all(each["account"] == "acme" for each in (subjects["By HTTP"], subjects["By SMTP"]))
    for told in ("Sending is suspended", "Sending is resumed"):
        processes.wait_until(lambda told=told: told in arrived(sandbox), told)  # type: ignore[misc]
        notice = arrived(sandbox)[told]
        assert (notice["account"], notice["recipients"]) == ("ops", ["it@acme-office.example"])
    audit = next(text for text in reversed(operator.printed) if "key.rotate" in text)
    for action in ("tenant.create", "account.add", "domain.add", "key.create", "key.rotate", "tenant.suspend"):
        assert action in audit


def wait_for_key(operator: Followed, server: processes.Relay, key: str) -> None:
    processes.wait_until(lambda: status(server, key) == 400, "the new key's arrival in the server")


def status(server: processes.Relay, key: str) -> int:
    """What an empty message is answered: 400 with a key that is good."""
    return asked(server, key)[0]


def asked(server: processes.Relay, key: str) -> tuple[int, str]:
    """That status, and how many requests a minute the key has."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.http}/api/v1/emails",
        b"{}",
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status), answer.headers["X-RateLimit-Limit"]
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers["X-RateLimit-Limit"]


def held(server: processes.Relay) -> Any:
    return processes.get(f"http://127.0.0.1:{server.http}/readyz")["faults"]


def arrived(sandbox: processes.Sandbox) -> dict[str, dict[str, Any]]:
    """What SES has, by subject; of many the last."""
    found: dict[str, dict[str, Any]] = {}
    for each in sandbox.messages():
        subject = message_from_bytes(each["raw"], policy=policy.default)["Subject"]
        found[subject] = each
    return found


def nothing_was_told(texts: list[str], folder: Path, environment: dict[str, str]) -> None:
    """No secret in what commands printed and the server logged; a key only in the file it was printed into."""
    keys = [file.read_text().strip() for file in folder.glob("*.key") if file.name.startswith("webshop")]
    assert all(key.startswith(SECRET_HEAD) for key in keys)
    secrets = [key.partition(".")[2] for key in keys] + [environment["AWS_SECRET_ACCESS_KEY"]]
    for text in texts:
        assert not [secret for secret in secrets if secret in text]
