"""`relay sandbox` as a program: its options."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

SCOPE = "AWS4-HMAC-SHA256 Credential=ASIAIOSFODNN7EXAMPLE/20260101/eu-west-1/ses/aws4_request, x"
COMMAND = [sys.executable, "-W", "error", "-m", "relay", "sandbox", "--listen", "127.0.0.1:0"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def test_its_options_reach_the_sandbox() -> None:
    options = ["--account", "a=one.example", "--account", "b=two.example"]
    options += ["--temporary", "b", "--nameserver", "127.0.0.1:5353"]
    with subprocess.Popen([*COMMAND, *options], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stderr is not None
        started = process.stderr.readline()
        try:
            assert "sandbox.started url=http://127.0.0.1:" in started
            url = started.strip().rpartition("url=")[2]
            headers = {"Authorization": SCOPE, "X-Amz-Security-Token": "t"}
            request = urllib.request.Request(f"{url}/v2/email/identities/two.example", headers=headers)
            with urllib.request.urlopen(request, timeout=10) as response:
                assert b'"VerificationStatus": "SUCCESS"' in response.read()
        finally:
            process.terminate()
        assert process.wait(10) == 0
        process.stderr.read()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--temporary", "nobody"], "not one of the accounts"),
        (["--nameserver", "localhost:53"], "ADDR:PORT"),
        (["--nameserver", "127.0.0.1:0"], "port is not one"),
    ],
)
def test_options_that_make_no_sense(options: list[str], text: str) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    assert done.returncode == os.EX_USAGE
    assert text in done.stderr
