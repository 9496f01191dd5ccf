"""Clients that send a large message each, all at once, as a process of their own: `python -m tests.faults.uploads`.

It prints how often each answer came, as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter

from tests.wire import Wire

MB = 1 << 20
LINE = b"The quick brown fox jumps over the lazy dog, and so on to the end of the line\r\n"
LARGE = b"From: me@byoc.example\r\nSubject: large\r\n\r\n" + LINE * (25 * MB // len(LINE))
PATIENCE = 120.0  # seconds


def upload(port: int, number: int, begin: threading.Barrier, answers: Counter[str]) -> None:
    """One client with an address of its own. Notes the code of the answer."""
    answer = "cut off"
    try:
        with Wire(port, source=f"127.0.0.{number + 2}") as wire:
            wire.socket.settimeout(PATIENCE)
            wire.open("me@byoc.example", "you@dest.example")
            begin.wait(PATIENCE)
            wire.socket.sendall(LARGE)
            answer = wire.say(b".")[:9]
    except (OSError, AssertionError, threading.BrokenBarrierError) as exc:
        answer = f"{type(exc).__name__} {exc}"[:60]
        begin.abort()  # nobody waits for one that will not come
    finally:
        answers[answer] += 1


def main(port: int, count: int) -> None:
    answers: Counter[str] = Counter()
    begin = threading.Barrier(count)
    crowd = [threading.Thread(target=upload, args=(port, number, begin, answers)) for number in range(count)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    print(json.dumps(answers))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
