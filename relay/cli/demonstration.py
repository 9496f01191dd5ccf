"""The demo: a sandbox and a relay as two processes, and lines to paste."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import typer

from relay.cli.starting import create_key, write_private
from relay.declared import Permission
from relay.sealing import MasterKey

SANDBOX = "127.0.0.1:8025"
PORTS = (2525, 2465, 8080, 8025)
ACCOUNTS = ("operator=shared.example", "customer=byoc.example")
PR_SET_PDEATHSIG = 1  # prctl(2)
START_WITHIN = 30.0  # seconds

CONFIG = """\
# The demo's configuration: two SES accounts, both played by `relay sandbox` on port 8025.
database: relay.db
master_key: file:master.key
hostname: relay.demo.example

smtp:
  listeners:
    - address: 127.0.0.1:2525
      tls: starttls
    - address: 127.0.0.1:2465
      tls: implicit

http:
  address: 127.0.0.1:8080

ses_accounts:
  operator:
    region: eu-west-1
    endpoint_url: http://127.0.0.1:8025
    credentials: {access_key_id: operator, secret_access_key: demo}
    rate: 900
  customer:
    region: us-east-1
    endpoint_url: http://127.0.0.1:8025
    credentials: {access_key_id: customer, secret_access_key: demo}
    rate: 900

domains:
  shared.example:
    mode: shared
    account: operator
    configuration_set: relay
  byoc.example:
    mode: byoc
    account: customer
    configuration_set: relay

# What became of a call that was cut off the sandbox tells at once, so nobody has to wait two minutes for it.
delivery: {unknown_window: 5s}

# Webhooks may be tried with a receiver on this machine.
webhooks: {allow_networks: [127.0.0.0/8], allow_plain: true}

# The demo works without a network, so it asks no DNS: neither what its domains publish, nor who takes mail.
dns: {nameservers: []}
mx: {policy: off}
"""

PASTE = """
Relay is running. The API key is the SMTP password too, with any user name (it is also in {folder}/key):

  KEY={key}

Send by SMTP (STARTTLS on 2525, TLS from the start on 2465):

  swaks --server 127.0.0.1:2525 --tls --auth PLAIN --auth-user demo --auth-password $KEY \\
        --from app@shared.example --to ana@example.com --header "Subject: Hello by SMTP"

  printf 'From: app@byoc.example\\nTo: ana@example.com\\nSubject: Hello by curl\\n\\nHi Ana\\n' |
    curl --ssl-reqd -k --url smtp://127.0.0.1:2525 --user demo:$KEY --crlf \\
         --mail-from app@byoc.example --mail-rcpt ana@example.com -T -

Send by HTTP:

  curl http://127.0.0.1:8080/api/v1/emails -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
       -d '{{"from": "app@shared.example", "to": "ana@example.com", "subject": "Hello by HTTP", "text": "Hi Ana"}}'

What arrived at SES:  http://127.0.0.1:8025/
Stop with Ctrl-C.
"""


def prepare(folder: Path) -> str:
    """Make the demo's files where they are missing, and return its key."""
    folder.mkdir(parents=True, exist_ok=True)
    config_file, key_file = folder / "config.yaml", folder / "key"
    MasterKey.read_or_create(folder / "master.key")
    if not config_file.exists():
        write_private(config_file, CONFIG)
    if not key_file.exists():
        write_private(key_file, create_key(config_file, "demo", Permission.FULL) + "\n")
    return key_file.read_text("ascii").strip()


def run(folder: Path) -> int:
    """Run until Ctrl-C or SIGTERM. Returns an exit code."""
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopping.set())
    if taken := [port for port in PORTS if _is_taken(port)]:
        # Another program on them would answer in our place.
        typer.echo(f"the demo needs the ports {', '.join(map(str, taken))}, and something has them already", err=True)
        return os.EX_UNAVAILABLE
    key = prepare(folder)
    relay = [sys.executable, "-m", "relay"]
    accounts = [word for account in ACCOUNTS for word in ("--account", account)]
    processes = {"sandbox": _start([*relay, "sandbox", "--listen", SANDBOX, *accounts])}
    try:
        if not _answers(f"http://{SANDBOX}/healthz", processes["sandbox"], stopping):
            return _failed("the sandbox did not start", stopping)
        processes["relay"] = _start([*relay, "serve", "--config", str(folder / "config.yaml")])
        if not _answers("http://127.0.0.1:8080/readyz", processes["relay"], stopping):
            return _failed("the relay did not start", stopping)
        _set_up(folder / "config.yaml")
        typer.echo(PASTE.format(folder=folder, key=key))
        return _watch(processes, folder, stopping)
    finally:
        for process in reversed(processes.values()):
            if process.poll() is None:
                process.terminate()
        for process in processes.values():
            process.wait()


def _set_up(config: Path) -> None:
    """Let the sandbox tell what becomes of mail, in the way that AWS does."""
    command = [sys.executable, "-m", "relay", "account", "setup"]
    running = {
        name: subprocess.Popen(  # noqa: S603 - our own program
            [*command, name, "--config", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for name in ("operator", "customer")
    }
    for name, process in running.items():
        if process.wait():
            typer.echo(f"events are not set up: `relay account setup {name} --config {config}` says why", err=True)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # A group of its own: Ctrl-C is ours to pass on, in order.
    return subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_end_with_the_demo
    )


def _end_with_the_demo() -> None:
    """In the new process: ask for SIGTERM if the demo is killed, so that no port stays taken. Linux only."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


def _answers(url: str, process: subprocess.Popen[bytes], stopping: threading.Event) -> bool:
    """Wait until a server answers. False if it ends, or we are stopped, or it takes too long."""
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline and process.poll() is None and not stopping.is_set():
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own address
                return process.poll() is None
        except OSError:
            stopping.wait(0.1)
    return False


def _failed(message: str, stopping: threading.Event) -> int:
    if stopping.is_set():
        return os.EX_OK
    typer.echo(f"{message}: is one of the ports 2525, 2465, 8080, 8025 taken?", err=True)
    return os.EX_UNAVAILABLE


def _watch(processes: dict[str, subprocess.Popen[bytes]], folder: Path, stopping: threading.Event) -> int:
    """Say when the relay ends, and leave it at that: kill it, start it again, and see that nothing was lost."""
    is_relay_told = False
    while not stopping.wait(0.2):
        if processes["sandbox"].poll() is not None:
            return _failed("the sandbox ended", stopping)
        if processes["relay"].poll() is not None and not is_relay_told:
            is_relay_told = True
            typer.echo(
                "the relay ended; the sandbox goes on. Bring the relay back with:\n"
                f"  .venv/bin/relay serve --config {folder}/config.yaml",
                err=True,
            )
    return os.EX_OK
