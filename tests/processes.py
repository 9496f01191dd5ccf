"""The relay and the sandbox as processes of their own, for tests that kill and stop them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from relay.cli.starting import create_key
from relay.declared import Permission

Found = TypeVar("Found")
PATIENCE = 30.0  # seconds for anything that should take a moment
LEAST_GIVEN = 32_000  # below the ports that connections get (ip_local_port_range)
_chance = random.SystemRandom()

CONFIG = """\
database: {database}
hostname: relay.test
smtp:
  listeners:
    - {{address: "127.0.0.1:{smtp}", tls: none, trusted_networks: [127.0.0.1/32]}}
    - {{address: "127.0.0.1:{tls}", tls: starttls}}
http: {{address: "127.0.0.1:{http}"}}
ses_accounts:
  operator: {{region: eu-west-1, endpoint_url: "{ses}", credentials: {{access_key_id: operator, secret_access_key: s}}, rate: 900, feedback: {{via: {via}}}}}
  customer: {{region: us-east-1, endpoint_url: "{ses}", credentials: {{access_key_id: customer, secret_access_key: s}}, rate: 900, feedback: {{via: {via}}}}}
domains:
  shared.example: {{mode: shared, account: operator}}
  byoc.example: {{mode: byoc, account: customer}}
mx: {{policy: off}}
"""


def free_ports(count: int) -> list[int]:
    """Ports that are free now, and that the kernel gives to nobody who did not ask for them by number."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = _chance.randrange(10_000, LEAST_GIVEN)
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found


def get(url: str, timeout: float = 10.0) -> Any:
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return json.loads(answer.read())


def wait_until(condition: Callable[[], Found], what: str, patience: float = PATIENCE) -> Found:
    """Poll until `condition` gives something true; what it gave."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {patience} s; last seen: {found!r}"
        time.sleep(0.02)
    return found


def answers(url: str) -> bool:
    try:
        get(url, 1.0)
    except OSError:
        return False
    return True


@dataclass
class Sandbox:
    """A running sandbox."""

    url: str
    process: subprocess.Popen[bytes]

    def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = get(f"{self.url}/messages", 60.0)
        return [message | {"raw": base64.b64decode(message["raw"])} for message in found]

    def fault(self, **fault: Any) -> None:
        request = urllib.request.Request(
            f"{self.url}/faults", json.dumps(fault).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status < 300

    def clear_faults(self) -> None:
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/faults", method="DELETE"), timeout=10):
            pass


@contextlib.contextmanager
def sandbox(*arguments: str) -> Iterator[Sandbox]:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "relay", "sandbox", "--listen", f"127.0.0.1:{port}", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(f"{url}/healthz"), "the sandbox's start")
        yield Sandbox(url, process)
    finally:
        process.terminate()
        process.wait(PATIENCE)


@dataclass
class Relay:
    """A relay that can be started, killed and started again on the same files."""

    folder: Path
    smtp: int
    tls: int
    http: int
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()  # a command that starts another one under them, such as prlimit

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def log(self) -> Path:
        return self.folder / "relay.log"

    def key(self, permission: Permission = Permission.FULL) -> str:
        return create_key(self.config, "test", permission)

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [
                *self.limits,
                sys.executable,
                "-W",
                "error",
                "-m",
                "relay",
                "serve",
                "--config",
                str(self.config),
            ]
            self.process = subprocess.Popen(command, stderr=log, env=os.environ | self.environment)
        self.starts += 1
        process = self.process
        wait_until(
            lambda: answers(f"http://127.0.0.1:{self.http}/readyz") or process.poll() is not None, "the relay's start"
        )
        assert process.poll() is None, self.log.read_text()[-2000:]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def relay(
    folder: Path, ses_url: str, database: str = "relay.db", extra: str = "", via: str = "none"
) -> Iterator[Relay]:
    """Configured and not yet started. `via`: how events come; without them nothing waits to learn an outcome."""
    smtp, tls, http = free_ports(3)
    made = Relay(folder, smtp, tls, http)
    made.config.write_text(
        CONFIG.format(smtp=smtp, tls=tls, http=http, ses=ses_url, database=database, via=via) + extra
    )
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()
