"""Relay itself, as `relay serve` runs it, with the stand-in for SES behind it."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench import letter
from bench.peers.stand_in import FAST, StandIn
from bench.peers.target import Target
from bench.processes import START_WITHIN, free_port, listens, python, started, wait_for
from relay.cli.starting import create_key
from relay.declared import Permission

TRICKLE = 0.1  # the least Relay paces to, so that accepting is nearly all it does

CONFIG = """\
database: relay.db
hostname: relay.bench.example
smtp:
  listeners:
    - address: 127.0.0.1:{smtp}
      tls: none
      trusted_networks: [127.0.0.0/8]
http:
  address: 127.0.0.1:{http}
  requests_per_minute: 1000000
ses_accounts:
  main:
    region: eu-west-1
    endpoint_url: http://127.0.0.1:{ses}
    credentials: {{access_key_id: bench, secret_access_key: bench}}
    rate: {rate}
    feedback: {{via: none}}
domains:
  {domain}: {{mode: {mode}, account: main}}
mx: {{policy: off}}
dns: {{nameservers: []}}
"""


@contextlib.contextmanager
def running(
    folder: Path, *, rate: float = FAST, mode: str = "shared", is_measured_to_ses: bool = True
) -> Iterator[Target]:
    """A relay on a database of its own. At a trickle nothing is counted at SES."""
    smtp, http, ses = free_port(), free_port(), free_port()
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(smtp=smtp, http=http, ses=ses, rate=rate, mode=mode, domain=letter.DOMAIN))
    key = create_key(config, "bench", Permission.SEND_ONLY)
    with (
        started(python("bench.ses_stand_in", "--port", ses, "--rate", rate), folder / "ses.log") as stand_in,
        started(python("relay", "serve", "--config", config), folder / "relay.log") as relay,
    ):
        wait_for("the SES stand-in listens", lambda: listens(ses), START_WITHIN, stand_in)
        wait_for("relay is ready", lambda: _is_ready(http), START_WITHIN, relay)
        time.sleep(1)  # GetAccount is answered
        yield Target(
            smtp_port=smtp,
            http_port=http,
            key=key,
            far_end=StandIn(ses) if is_measured_to_ses else None,
            settle=lambda: time.sleep(1.0 if is_measured_to_ses else 0.2),  # the last settlements, a sweep
            pid=relay.pid,
        )


def _is_ready(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
        return bool(answer.status == 200)
    return False
