"""How much memory there is, read from made-up cgroups of both versions; and what the collector need not look at."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from relay.memory import allowed, leave_alone

MB = 1 << 20


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"memory.max": 400 * MB}, 400),
        ("0::/\n", {"memory.max": "max"}, None),
        ("0::/a/b\n", {"a/memory.max": 300 * MB, "a/b/memory.max": "max"}, 300),
        ("0::/a/b\n", {"a/memory.max": 300 * MB, "a/b/memory.max": 200 * MB}, 200),
        ("0::/the/host/calls/it\n", {"memory.max": 400 * MB}, 400),  # inside a container
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": 400 * MB}, 400),
        ("4:cpu,memory:/docker/x\n", {"memory/memory.limit_in_bytes": 400 * MB}, 400),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": 0x7FFFFFFFFFFFF000}, None),  # version 1 for no limit
        ("4:memory:/\n", {}, None),
        ("4:cpu:/\n", {"cpu/memory.limit_in_bytes": 1}, None),
    ],
)
def test_the_least_limit_counts(tmp_path: Path, groups: str, files: dict[str, object], expected: int | None) -> None:
    said = tmp_path / "cgroup"
    said.write_text(groups)
    for name, text in files.items():
        file = tmp_path / "mounted" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    machine = allowed(tmp_path / "none", tmp_path)
    assert machine > 64 * MB
    assert allowed(said, tmp_path / "mounted") == (machine if expected is None else expected * MB)


def test_what_is_there_is_left_alone_by_the_collector() -> None:
    before = gc.get_freeze_count()
    try:
        leave_alone()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
