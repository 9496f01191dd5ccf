"""The scene that the contract tests share, one for a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.scene import Scene, set_up


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with set_up(tmp_path_factory.mktemp("scene")) as scene:
        yield scene
