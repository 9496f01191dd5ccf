"""A changed file, taken over by a running server: by SIGHUP and by `relay reload`, all or nothing."""

from __future__ import annotations

import signal
from pathlib import Path

from tests import processes
from tests.cli.program import found, refused, relay
from tests.processes import Relay, get, wait_until

MORE = "  third.example: {mode: shared, account: operator}\n"


def written(server: Relay, text: str) -> None:
    """The file as it was, and this at the end of its domains."""
    at = server.config.read_text()
    server.config.write_text(at.replace("mx: {policy: off}\n", text + "mx: {policy: off}\n"))


def held(server: Relay) -> str:
    return str(get(f"http://127.0.0.1:{server.http}/readyz")["faults"])


def test_a_running_server_takes_over_what_the_file_says(tmp_path: Path) -> None:
    accounts = ("--account", "operator=shared.example,third.example", "--account", "customer=byoc.example")
    with processes.sandbox(*accounts) as sandbox, processes.relay(tmp_path, sandbox.url) as server:
        server.start()
        assert server.process is not None
        written(server, MORE)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "config.applied" in server.log.read_text(), "the new file")
        assert [each["name"] for each in found(tmp_path, "domain", "list")] == [
            "byoc.example",
            "shared.example",
            "third.example",
        ]
        before = server.config.read_text()
        server.config.write_text(before.replace("byoc.example: {mode: byoc", "byoc.example: {mode: shared"))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "config.refused" in server.log.read_text(), "the refusal")
        assert "byoc.example is byoc, and that stays" in server.log.read_text()
        assert "domains.byoc.example.mode" in refused(tmp_path, "reload")
        server.config.write_text(before.replace(MORE, ""))
        assert "third.example" in relay(tmp_path, "reload")
        wait_until(lambda: "third.example" in held(server), "the domain's end in the server")
        assert server.stop() == 0
