"""Programs of this machine that tests run. One that is missing is skipped, visibly."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

NODE = Path(__file__).with_name("node")  # where `npm ci --prefix` installs
WITHIN = 60  # seconds


def needs(program: str, package: str = "") -> str:
    """Its path. `package`: what Debian calls what has it, where that is another name."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed (package {package or program})")
    return found


def needs_swaks() -> str:
    """With what it speaks TLS by, which Debian only recommends."""
    found = needs("swaks")
    if subprocess.run(["perl", "-MNet::SSLeay", "-e", "1"], capture_output=True).returncode:
        pytest.skip("swaks cannot speak TLS (package libnet-ssleay-perl)")
    return found


def needs_file(path: str, package: str) -> str:
    if not Path(path).exists():
        pytest.skip(f"{path} is not there (package {package})")
    return path


def needs_node(module: str) -> str:
    """The path of `node`, where a module of npm is installed, too."""
    if not (NODE / "node_modules" / module).is_dir():
        pytest.skip(f"{module} is not installed (npm ci --prefix {NODE.relative_to(NODE.parents[2])})")
    return needs("node", "nodejs")


def call(
    *command: str, given: bytes = b"", environment: Mapping[str, str] = os.environ, folder: Path | None = None
) -> bytes:
    """What a program prints. It has to end well."""
    done = subprocess.run(command, input=given, env=environment, cwd=folder, capture_output=True, timeout=WITHIN)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
