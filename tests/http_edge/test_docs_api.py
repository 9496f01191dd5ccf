"""docs/api.md: what a reader pastes works, and the members it lists are those that are taken."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.http.emails.request import EmailBody
from tests.support import World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
COMMANDS = re.findall(r"(?s)```sh\n(curl .*?)```", PAGE)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("docs")) as world:
        yield world


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_what_is_to_be_pasted_works(world: World, number: int) -> None:
    told = subprocess.run(
        ["sh", "-c", COMMANDS[number].strip() + " -w '\n%{http_code}'"],
        env=os.environ | {"RELAY": f"http://127.0.0.1:{world.http}", "KEY": world.key},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    body, _, status = told.stdout.rpartition("\n")
    assert status in {"200", "202"}, told.stdout
    json.loads(body)


def test_there_is_a_command_for_each_product() -> None:
    assert len(COMMANDS) >= 7
    for product in ("SendFleet", "Sendex", "MailerLogic", "Sendmux"):
        assert (
            f"$RELAY/{product.lower()}/" in PAGE.partition(f"## Moving here from {product}\n")[2].partition("\n## ")[0]
        )


def test_the_page_has_every_member_of_a_native_message() -> None:
    table = PAGE.partition("## Sending\n")[2].partition("Members that")[0]
    listed = {name for row in re.findall(r"(?m)^\| (`.*?) \|", table) for name in re.findall(r"`(\w+)`", row)}
    assert listed == {field.alias or name for name, field in EmailBody.model_fields.items()}
