"""Runs the `relay` command as a program, in a folder with a configuration."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from relay.cli.main import main

ROOT = Path(__file__).parents[2]
LISTENING: dict[str, Any] = {"http": {"address": "127.0.0.1:0"}, "dns": {"nameservers": []}}


def configure(folder: Path, **sections: Any) -> Path:
    """Write `config.yaml`, which is the default of every command in this folder."""
    (folder / "config.yaml").write_text(json.dumps(LISTENING | sections))  # JSON is YAML
    return folder


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def run(folder: Path, *arguments: str, environment: dict[str, str] | None = None, stdin: str | bytes = "") -> Done:
    """The command in this process: starting Python takes twenty times as long as most commands do.

    `started` is for those that are about the process itself.
    """
    root, ours = logging.getLogger(), logging.getLogger("relay")
    before = (root.handlers[:], root.level, ours.level, root.manager.disable)
    octets = stdin.encode() if isinstance(stdin, str) else stdin
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as source,
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, environment or {}),
        mock.patch.object(sys, "argv", ["relay", *arguments]),
        mock.patch.object(sys, "stdin", source),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        source.buffer.write(octets)
        source.buffer.seek(0)
        try:
            main()
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        finally:  # a command sets up the logging of its process, and this one has others to come
            root.handlers[:], root.level, ours.level, root.manager.disable = before
            root.manager._clear_cache()  # type: ignore[attr-defined]
    return Done(code, out.getvalue(), err.getvalue())


def started(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "relay", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {}),
        capture_output=True,
        input=stdin,
        text=True,
        timeout=60,
    )


def relay(folder: Path, *arguments: str, stdin: str = "") -> str:
    """What a command prints that goes well."""
    done = run(folder, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(folder: Path, *arguments: str, stdin: str = "") -> str:
    """The words with which a command is refused: clean ones, and nothing printed besides."""
    done = run(folder, *arguments, stdin=stdin)
    assert (done.returncode, done.stdout) == (os.EX_DATAERR, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def found(folder: Path, *arguments: str) -> Any:
    """What a command prints for programs."""
    return json.loads(relay(folder, *arguments, "--json"))
