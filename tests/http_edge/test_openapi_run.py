"""schemathesis against a real server: nothing that the document does not say, and no fault of ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from relay.message import uuid_of
from tests.http_edge.managed import ROOT, Managed, managing
from tests.http_edge.test_management_access import ASKED

LETTER = {"from": "news@shared.example", "to": "ana@one.test", "subject": "Hi", "text": "Hi Ana"}
HERE = Path(__file__).parent
# Operations that are documented, and cannot succeed here, each with the reason.
NEVER = {"POST /api/ses-notifications": "it takes what Amazon SNS has signed"}


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("openapi")) as managed:
        yield managed


def seeded(managed: Managed) -> Any:
    """The document, in which every example names something that is there."""
    document = json.loads(managed.ask("GET", "/openapi.json").body.replace(b"mail.example.org", b"shared.example"))
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            in_path = [each for each in operation.get("parameters", ()) if each["in"] == "path"]
            for parameter, example in zip(
                in_path, named(managed, method.upper(), path) if in_path else (), strict=True
            ):
                parameter["example"] = example
    put_in(document, "/ses-accounts", "endpoint_url", managed.world.sandbox_url)
    for where in ("/webhooks", "/customer/webhooks"):
        put_in(document, where, "url", "http://127.0.0.1:9/hook")
    return document


def put_in(document: Any, path: str, member: str, value: str) -> None:
    """What is there, into the example of what is made."""
    content = document["paths"][f"{ROOT}{path}"]["post"]["requestBody"]["content"]["application/json"]
    content["examples"]["example_1"]["value"][member] = value


def named(managed: Managed, method: str, path: str) -> tuple[str, ...]:
    """What the parts of the path are to name: something fresh, for it may be the last that is done to it."""
    below = path.removeprefix(ROOT)
    if below.startswith("/customer/webhooks/"):
        return (uuid_of(managed.webhook(dialect="mailerlogic")),)
    if below.startswith("/emails/"):
        waiting = {"scheduled_at": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"}
        sent = managed.ask("POST", "/emails", LETTER | waiting)
        assert sent.status == 202, sent.body
        found: str = sent.json["id"]
        if below.endswith("/release"):
            assert managed.ask("POST", f"/emails/{found}/hold").status == 200
        return (found,)
    if below.startswith("/templates/"):
        return (managed.template(tenant="default"),)
    if below.startswith("/suppressions/"):
        address = f"{managed.name('gone')}@one.test"
        assert managed.ask("POST", "/suppressions", {"address": address}).status == 201
        return (address,)
    asked, _ = ASKED[f"{method} {below}"](managed)
    part = re.fullmatch(re.sub(r"\{\w+\}", "([^/]+)", below), asked)
    assert part, (asked, below)
    return part.groups()


def statuses(har: Path, document: Any) -> dict[str, set[int]]:
    """What every operation answered."""
    paths = sorted(document["paths"], key=lambda path: path.count("{"))
    patterns = [(path, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))) for path in paths]
    found: dict[str, set[int]] = defaultdict(set)
    for entry in json.loads(har.read_text())["log"]["entries"]:
        asked = unquote(urlsplit(entry["request"]["url"]).path)
        path = next((path for path, pattern in patterns if pattern.fullmatch(asked)), asked)
        found[f"{entry['request']['method']} {path}"].add(entry["response"]["status"])
    return found


@pytest.mark.soak  # most of a minute
def test_every_answer_is_one_that_the_document_has(managed: Managed, tmp_path: Path) -> None:
    document = seeded(managed)
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))
    found = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml", "run", file),
            *("--url", f"http://127.0.0.1:{managed.world.http}", "-H", f"Authorization: Bearer {managed.operator}"),
            *("--report", "har", "--report-dir", tmp_path),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
    [har] = tmp_path.glob("har*.json")
    answered = statuses(har, document)
    operations = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    never = {each for each in operations if not any(200 <= status < 300 for status in answered[each])}
    assert never == NEVER.keys(), {each: answered[each] for each in never}
