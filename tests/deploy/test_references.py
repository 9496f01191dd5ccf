"""What the deployment files and the documentation refer to is there: paths, commands, options, extras and ports."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from relay import config
from relay.cli import starting
from relay.cli.main import app
from tests.support import World

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
IMAGE = "ses-relay"
# A file of a running server, or of the reader's machine.
ELSEWHERE = ("demo/", "/", "~", ".venv/")


def instructions(word: str) -> list[str]:
    """The arguments of one instruction of the Dockerfile, continued lines joined."""
    lines = re.sub(r"\\\n\s*", " ", DOCKERFILE).splitlines()
    return [line.partition(" ")[2].strip() for line in lines if line.startswith(f"{word} ")]


def shell_words(text: str) -> list[str]:
    return shlex.split(text, comments=True)


def parse(words: list[str], *, is_whole: bool = True) -> None:
    """Read a command line of `relay` as the program would, and run nothing. Fails for what it would not take.

    Prose may name a command without its arguments: then those that are there must be right.
    """
    command: Any = typer.main.get_command(app)
    name = "relay"
    while hasattr(command, "commands") and (words or is_whole):
        assert words, f"`{name}` alone is not a command"
        assert words[0] in command.commands, f"there is no command `{name} {words[0]}`"
        name, command, words = words[0], command.commands[words[0]], words[1:]
    if is_whole:
        with command.make_context(name, list(words)):
            return
    options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= options | {"--help"}, (name, words)


# -- the image -------------------------------------------------------------------------------------------------------


def test_every_path_the_image_copies_is_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    copied = [path for line in instructions("COPY") if "--from" not in line for path in line.split()[:-1]]
    assert copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert f"!{path.removeprefix('./')}" in ignored, f"{path} is kept out by .dockerignore"
    assert {line[1:] for line in ignored if line.startswith("!")} == {path.removeprefix("./") for path in copied}
    assert {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]} <= set(copied)


def test_the_image_installs_extras_and_constraints_that_are_there() -> None:
    (install,) = [line for line in instructions("RUN") if "pip install" in line]
    extras = re.findall(r"\.\[([^\]]+)\]", install)
    assert extras == ["postgres"]
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    constraints = shell_words(install)[shell_words(install).index("--constraint") + 1]
    assert (ROOT / constraints).is_file()
    pinned = {line.partition("==")[0].lower() for line in (ROOT / constraints).read_text().splitlines() if "==" in line}
    wanted = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["postgres"]
    names = {re.match(r"[A-Za-z0-9_-]+", each)[0].lower() for each in wanted}  # type: ignore[index]
    assert {name.replace("-", "_") for name in names} <= {name.replace("-", "_") for name in pinned}


def test_the_python_of_the_image_is_one_relay_takes() -> None:
    images = {line.split()[0] for line in instructions("FROM")}
    assert len(images) == 1
    version = re.search(r":(\d+)\.(\d+)-", images.pop())
    assert version is not None
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert (int(version[1]), int(version[2])) >= (3, 11)


def test_the_entry_point_is_a_command_in_exec_form() -> None:
    (line,) = instructions("ENTRYPOINT")
    program, *words = json.loads(line)
    assert program in PROJECT["project"]["scripts"]
    assert words[0] == "serve"
    parse(words)
    assert f"RELAY_CONFIG={words[words.index('--config') + 1]}" in instructions("ENV")[0].split()
    assert instructions("VOLUME") == ["/data"]
    assert words[-1].startswith("/data/")


def test_the_user_is_not_root() -> None:
    assert instructions("USER") == ["relay"]
    assert "--uid 10001 " in " ".join(instructions("RUN"))


def ports_of_init() -> list[int]:
    """What `relay init` writes."""
    raw = yaml.safe_load(starting.TEMPLATE.format(region="eu-west-1", domain="example.com", mode="shared"))
    addresses = [each["address"] for each in raw["smtp"]["listeners"]] + [raw["http"]["address"]]
    return [int(address.rpartition(":")[2]) for address in addresses]


def test_the_ports_are_those_that_init_writes() -> None:
    assert [int(port) for port in instructions("EXPOSE")[0].split()] == ports_of_init()
    published = [re.fullmatch(r"(?:[\d.]+:)?(\d+):(\d+)", port) for port in COMPOSE["services"]["relay"]["ports"]]
    assert [(int(each[1]), int(each[2])) for each in published if each] == [(port, port) for port in ports_of_init()]
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    in_page = [int(port) for port in re.findall(r"--publish (?:[\d.]+:)?\d+:(\d+)", page)]
    assert in_page == ports_of_init()


def health_check() -> list[str]:
    (line,) = instructions("HEALTHCHECK")
    words: list[str] = json.loads(line[line.index("[") :])
    return words


def test_the_health_check_is_python_and_asks_the_published_port() -> None:
    program, flag, code = health_check()
    assert (program, flag) == ("python", "-c")
    ast.parse(code)
    assert f"'127.0.0.1', {ports_of_init()[-1]}" in code


def test_the_health_check_tells_a_running_server_from_none(tmp_path: Path) -> None:
    code = health_check()[-1]
    with World(tmp_path) as world:
        here = code.replace(str(ports_of_init()[-1]), str(world.http))
        assert subprocess.run([sys.executable, "-c", here], check=False, timeout=60).returncode == 0
    gone = subprocess.run([sys.executable, "-c", here], check=False, timeout=60, capture_output=True)
    assert gone.returncode == 1


# -- compose and systemd ---------------------------------------------------------------------------------------------


def test_compose_mounts_what_the_image_keeps() -> None:
    service = COMPOSE["services"]["relay"]
    assert service["image"] == IMAGE
    (volume,) = service["volumes"]
    name, _, place = volume.partition(":")
    assert place in instructions("VOLUME")
    assert name in COMPOSE["volumes"]
    assert "entrypoint" not in service
    assert "command" not in service


def test_the_unit_starts_a_command() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", page, re.M)
    program, *words = shell_words(line)
    assert Path(program).name == "relay"
    parse(words)


# -- the pages -------------------------------------------------------------------------------------------------------


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Code blocks, continued lines joined. Blocks inside lists are indented."""
    for language, body in re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text("utf-8"), re.M | re.S):
        if language in languages:
            yield re.sub(r"\\\n\s*", " ", body)


def commands(page: Path) -> Iterator[list[str]]:
    """Every command line of `relay` in the code blocks of a page, without `relay` itself."""
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            yield from relay_in(line)


def mentions(page: Path) -> Iterator[list[str]]:
    """Every command of `relay` that the prose of a page names between backticks."""
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.M | re.S)
    for quoted in re.findall(r"`relay ([^`]+)`", prose):
        yield shell_words(quoted.replace("\n", " "))


def relay_in(line: str) -> Iterator[list[str]]:
    if line.startswith("docker run") and "--entrypoint relay " in line:
        yield shell_words(line.split(f" {IMAGE} ")[1])
    elif line.startswith("docker compose run") and "--entrypoint relay " in line:
        yield shell_words(line.split("--entrypoint relay relay ")[1])
    elif match := re.match(r"docker (?:exec|compose exec) relay relay (.*)", line):
        yield shell_words(match[1])
    elif match := re.match(r"(?:sudo -u relay )?(?:\S*/bin/)?relay (.*)", line):
        yield shell_words(re.split(r" [|>&] ", match[1])[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_is_one(page: Path) -> None:
    for words in commands(page):
        parse(words)
    for words in mentions(page):
        parse(words, is_whole=False)


def test_commands_are_found_and_wrong_ones_noticed() -> None:
    assert len(list(commands(ROOT / "docs" / "deploy.md"))) >= 11
    with pytest.raises(AssertionError):
        parse(["queue", "list", "--stat"], is_whole=False)
    for wrong in (["serv"], ["serve", "--confg", "x"], ["key"], ["key", "rotate"], ["queue", "list", "--state", "new"]):
        with pytest.raises(Exception, match=r"\w"):
            parse(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_on_a_page_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    named = re.findall(r"`((?:relay|tests|docs|bench|demo|\.ci)/[\w./*-]*)`", text)
    named += re.findall(r"`(\w[\w.-]*\.(?:md|yaml|toml|txt))`", text)
    linked = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text)
    for path in named:
        if not path.startswith(ELSEWHERE) and path not in {"config.yaml"}:
            assert list(ROOT.glob(path.rstrip("/"))) or list((ROOT / "docs").glob(path)), path
    for path in linked:
        assert (page.parent / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_a_page_names_is_there(page: Path) -> None:
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text("utf-8")):
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.M), f"{path}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_on_a_page_is_there(page: Path) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    for target in re.findall(r"(?:^|`)make (\w+)", page.read_text("utf-8"), re.M):
        assert target in targets, target


def test_the_readme_says_how_to_run_the_tests() -> None:
    assert "make test" in [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()]


def test_the_settings_on_the_pages_are_settings() -> None:
    """Each YAML block, laid over a configuration that works, still works."""
    for page in PAGES:
        for block in blocks(page, "yaml"):
            raw = {
                "smtp": {"listeners": [{"address": "127.0.0.1:2525"}]},
                "ses_accounts": {"main": {"region": "eu-west-1"}},
                "domains": {"example.com": {"mode": "shared", "account": "main"}},
                **yaml.safe_load(block),
            }
            environment = dict.fromkeys(re.findall(r"\$\{(\w+)\}", block), "some-text")
            config.check(raw, ROOT / "config.yaml", environment)
