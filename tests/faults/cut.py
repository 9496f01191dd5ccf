"""Runs a command again and again, each time on a fresh copy of a folder, and kills it a step later each time.

As a program: FOLDER, how many steps later each time, then the command. A step is what changes files, or begins or ends a transaction: opening to write,
rename, link, remove, begin, commit. It prints the copies, one a line: how many steps the command had made there before its
SIGKILL; the last one was not killed.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from relay.cli import backup, main, master_key  # loaded once, before all forks
from relay.store import rewrapping

STEPS = {"os.rename", "os.link", "os.remove"}


def run(folder: Path, command: list[str], last: int) -> bool:
    """In this process, which does not come back. It dies before the step after `last`."""
    made = 0

    def step(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal made
        is_step = name in STEPS or (name == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if not is_step or not any(isinstance(each, str | Path) and str(folder) in str(each) for each in arguments):
            return
        made += 1
        if made > last:
            os.kill(os.getpid(), signal.SIGKILL)

    os.chdir(folder)
    sys.addaudithook(step)
    for name in ("begin", "commit"):
        event.listen(Engine, name, lambda _: step("os.rename", (str(folder),)))
    sys.argv = ["relay", *command]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    main.main()
    os._exit(0)


def cut(folder: Path, stride: int, command: list[str]) -> None:
    for last in itertools.count(step=stride):
        copy = folder.with_name(f"{folder.name}-{last}")
        shutil.copytree(folder, copy)
        if (child := os.fork()) == 0:
            try:
                run(copy, [each.replace(str(folder), str(copy)) for each in command], last)
            except SystemExit as exc:
                os._exit(exc.code if isinstance(exc.code, int) else int(exc.code is not None))
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        print(copy, flush=True)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    assert backup
    assert master_key
    rewrapping.WIDTH, rewrapping.SLICE = 7, 5
    cut(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
