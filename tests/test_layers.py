"""Reads every import under relay/, those for type checkers and inside functions too, and holds them to the design."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

RELAY = Path(__file__).parent.parent / "relay"
FILES = sorted(RELAY.rglob("*.py"))

# Each may import what stands further to the left, and itself (design: layout and the direction of imports).
ORDER = """
errors | log,metrics,certificates,container,memory,templates,__init__ | message | delivery,judging,telling | values | declared,following | settings | config | sealing | store | ses,dns
| routing | dispatch | feedback | management | smtp,http | core | app | cli | __main__
"""
RANKS = {name: rank for rank, group in enumerate(ORDER.split("|")) for name in group.strip().split(",")}
# A stand-in for another company's servers: it knows nothing of ours, and only the command line starts it.
SANDBOX_MAY = {"sandbox", "errors", "log", "__init__"}
SANDBOX_FOR = {"sandbox", "cli"}

# One door per library.
DOORS = {
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "asyncpg": {"store"},
    "aiosqlite": {"store"},
    "botocore": {"ses"},
    "aiobotocore": {"ses"},
    "aiohttp": {"ses", "feedback", "cli"},  # it comes with aiobotocore, and is the one HTTP client
    "dns": {"dns", "sandbox"},  # the sandbox verifies identities as SES does
    "aiosmtpd": {"smtp"},
    "starlette": {"http", "sandbox"},
    "uvicorn": {"http", "sandbox"},
    "httptools": {"http", "sandbox"},
    "pydantic": {"values", "declared", "following", "settings", "config", "http", "cli"},
    "limits": {"routing"},
    "liquid": {"templates"},
    "yaml": {"config"},
    "typer": {"cli"},
    "click": {"cli"},
    "rich": {"cli"},
    "prometheus_client": {"metrics"},
    "cryptography": {"sealing", "certificates", "feedback", "sandbox"},  # each signs or checks something of its own
    "idna": {"message"},
}


def part(path: Path) -> str:
    """The file or folder right under relay/ that a file belongs to."""
    return path.relative_to(RELAY).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Whole names: `relay.store.queue.accept`, `yaml`. For `from relay.store import queue` both readings are one."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """Parts of Relay that a file imports. What is no part is a name of the package itself."""
    found = {name.split(".")[1] for name in imports(path) if name.startswith("relay.")}
    return {name if name in RANKS or name == "sandbox" else "__init__" for name in found}


def theirs(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] not in {"relay", *sys.stdlib_module_names}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(RELAY)))
def test_imports_go_one_way(path: Path) -> None:
    here = part(path)
    if here == "sandbox":
        assert ours(path) <= SANDBOX_MAY
        return
    assert here in RANKS, "a new part needs its place in the order"
    assert "sandbox" not in ours(path) or here in SANDBOX_FOR
    breaches = {name for name in ours(path) - {here, "sandbox"} if RANKS[name] >= RANKS[here]}
    # Those that stand together may know each other only at the very bottom.
    assert not {name for name in breaches if {name, here} - {"log", "metrics", "certificates", "__init__"}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(RELAY)))
def test_each_library_has_one_door(path: Path) -> None:
    for name in theirs(path):
        library = name.split(".")[0]
        assert library in DOORS, f"{library} needs a door"
        assert part(path) in DOORS[library], name


def test_every_library_is_one_that_is_installed() -> None:
    """What is imported is declared, or comes with what is: nothing is there by chance."""
    declared = (RELAY.parent / "pyproject.toml").read_text("utf-8")
    come_along = {"botocore": "aiobotocore", "aiohttp": "aiobotocore", "click": "typer"}
    names = packages_distributions()
    for library in {name.split(".")[0] for path in FILES for name in theirs(path)}:
        distributions = [come_along.get(library, each).lower().replace("_", "-") for each in names[library]]
        assert any(f'"{each}' in declared.lower() for each in distributions), library


def test_nobody_shadows_the_standard_library_by_accident() -> None:
    """relay/http is the one folder that does; so a file inside relay/ is never run as a script."""
    assert {part(path) for path in FILES} & sys.stdlib_module_names == {"http"}


def test_a_command_loads_no_library_that_it_may_not_need() -> None:
    """Every command would take that much longer."""
    loaded = "import relay.cli.main, sys; print([name for name in sys.argv[1:] if name in sys.modules])"
    heavy = ["aiobotocore", "aiosmtpd", "alembic", "asyncpg", "starlette", "uvicorn"]
    found = subprocess.run([sys.executable, "-c", loaded, *heavy], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
