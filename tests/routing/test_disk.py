"""The room on the disk, as the file system tells it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from relay.errors import Kind, Problem
from relay.routing.disk import Disk

LARGEST = 1000


def found(room: int, inodes: int = 1000, of: int = 1000) -> os.statvfs_result:
    return cast(os.statvfs_result, SimpleNamespace(f_bavail=room, f_frsize=1, f_favail=inodes, f_files=of))


@pytest.mark.parametrize(
    ("answer", "lack"),
    [
        (found(1500), ""),
        (found(1499), "space"),
        (found(10**9, inodes=50), ""),
        (found(10**9, inodes=49), "inodes"),
        (found(10**9, inodes=0, of=0), ""),  # made as they are needed
    ],
)
def test_what_there_is_too_little_of(tmp_path: Path, answer: os.statvfs_result, lack: str) -> None:
    assert Disk(tmp_path, LARGEST, lambda _: answer).lack == lack


def test_it_refuses_until_there_is_room_again(tmp_path: Path) -> None:
    answers = {"room": 0}
    now = [0.0]
    disk = Disk(tmp_path, LARGEST, lambda _: found(answers["room"]), lambda: now[0])
    with pytest.raises(Problem) as caught:
        disk.require_room()
    assert caught.value.kind is Kind.STORAGE_FULL
    answers["room"] = 5000
    assert disk.lack  # asked once a second at most
    now[0] = 1.0
    disk.require_room()


def test_the_real_disk_has_room(tmp_path: Path) -> None:
    Disk(tmp_path, 1).require_room()


def test_a_folder_that_is_gone_refuses_nothing(tmp_path: Path) -> None:
    Disk(tmp_path / "gone", LARGEST).require_room()
    Disk(None, LARGEST).require_room()
