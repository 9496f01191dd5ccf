"""The whole way against moto's server: an implementation of SES that is not ours.

moto has no GetAccount, so lanes keep their configured rate; and it adds the recipients named in headers to the envelope,
so the headers here name only people who are in the envelope, too.
"""

from __future__ import annotations

import contextlib
import json
import smtplib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from relay.declared import Permission
from tests import processes
from tests.faults.load import counted_duplicates
from tests.processes import free_ports, get, wait_until


@pytest.fixture
def moto() -> Iterator[str]:
    """moto as a process of its own, with both domains verified in it."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: is_up(f"{url}/moto-api/data.json"), "moto's start")
        for account, region, domain in (
            ("operator", "eu-west-1", "shared.example"),
            ("customer", "us-east-1", "byoc.example"),
        ):
            client = boto3.client(
                "sesv2", region_name=region, endpoint_url=url, aws_access_key_id=account, aws_secret_access_key="s"
            )
            client.create_email_identity(EmailIdentity=domain)
            client.close()
        yield url
    finally:
        process.terminate()
        process.wait()


def is_up(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
        return True
    return False


def arrived(moto: str) -> list[dict[str, Any]]:
    data = get(f"{moto}/moto-api/data.json")
    found: list[dict[str, Any]] = data.get("ses", {}).get("RawMessage", [])
    return found


def test_mail_by_smtp_and_http_arrives_at_moto(tmp_path: Path, moto: str) -> None:
    with processes.relay(tmp_path, moto) as relay:
        relay.start()
        text = "From: me@byoc.example\r\nTo: ana@dest.example\r\nSubject: by smtp\r\n\r\nGr\u00fc\u00dfe\r\n..\r\n".encode()
        with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=10) as smtp:
            smtp.sendmail("me@byoc.example", ["ana@dest.example", "hidden@dest.example"], text)
        key = relay.key(Permission.SEND_ONLY)
        wait_until(lambda: post(relay.http, key) == 202, "the key's arrival in the server")
        wait_until(lambda: counted_duplicates(tmp_path)[0] == 0, "an empty queue")
        by_subject = {("by smtp" if "by smtp" in each["raw_data"] else "by http"): each for each in arrived(moto)}
        assert by_subject.keys() == {"by smtp", "by http"}
        smtp_mail = by_subject["by smtp"]
        assert set(addresses(smtp_mail)) == {"ana@dest.example", "hidden@dest.example"}
        assert smtp_mail["raw_data"].encode().endswith(text)  # byte for byte, below what was added
        assert "Bcc" not in by_subject["by http"]["raw_data"]
        assert "bo@dest.example" in addresses(by_subject["by http"])
        # The lane says that it runs on its configured rate.
        faults = get(f"http://127.0.0.1:{relay.http}/readyz")["faults"]
        assert set(faults) == {"quota of operator", "quota of customer"}


def addresses(mail: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for each in mail["destinations"] if isinstance(mail["destinations"], list) else mail["destinations"].values():
        found += [each] if isinstance(each, str) else each
    return found


def post(port: int, key: str) -> int:
    body = {"from": "app@shared.example", "to": "ana@dest.example", "bcc": "bo@dest.example", "subject": "by http"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/emails",
        json.dumps(body | {"text": "Hi"}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        exc.close()
        return exc.code
