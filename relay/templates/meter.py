"""Counts the work that filling in a template takes, in steps that are the same everywhere, and ends too much."""

from __future__ import annotations

import gc
from time import sleep, thread_time

from relay.templates.limits import LONGEST_RESULT

LOOK_EVERY = 64  # steps between two looks at the clock
PER_STEP = 64  # characters that a filter goes through
STRETCH = 0.001  # seconds of work between two rests
REST = 0.00005  # seconds: whoever waits for the interpreter's lock, the event loop first of all, gets it then


class TooMuch(Exception):
    """The work is over its bounds. The text says over which."""


class Unfit(Exception):
    """A filter cannot take what it is given. It is named, and what it was given is not."""


class Meter:
    """For one template that is filled in once. `seconds`: of the processor, so that a busy machine refuses no mail.

    `gives_way`: it is in a thread, and others are to go on; else they would wait 5 ms for each turn of theirs.
    """

    def __init__(self, steps: int, seconds: float, *, gives_way: bool) -> None:
        self._left = steps
        self._look_at = steps - LOOK_EVERY
        now = thread_time()
        self._seconds = seconds
        self._end = now + seconds
        self._collections = _collections()
        self._rest_at = now + STRETCH if gives_way else self._end

    def spend(self, steps: int) -> None:
        """Raises TooMuch."""
        self._left -= steps
        if self._left < self._look_at:
            self.look()

    def look(self) -> None:
        """Raises TooMuch where steps or time are used up."""
        self._look_at = self._left - LOOK_EVERY
        now = thread_time()
        if now > self._end and self._collections != (collections := _collections()):
            # Looking through all memory for garbage is nobody's template's work, and can take longer than all of it.
            self._collections = collections
            self._end = now + self._seconds
        if self._left < 0 or now > self._end:
            raise TooMuch("takes too much work to fill in: loop over less, or filter less")
        if now > self._rest_at:
            self._rest_at = now + STRETCH
            sleep(REST)

    def weigh(self, value: object) -> int:
        """About how many characters a value has, which costs what going through it does. Raises TooMuch."""
        weight = weight_of(value)
        self.spend(1 + weight // PER_STEP)
        return weight


def _collections() -> int:
    return int(gc.get_stats()[-1]["collections"])


def weight_of(value: object, most: int = LONGEST_RESULT) -> int:
    """About how many characters a value has, with all that is in it. Raises TooMuch for more than `most`."""
    weight = 0
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            weight += len(each)
        elif isinstance(each, list | tuple):
            weight += 8 * len(each)
            waiting.extend(each)
        elif isinstance(each, dict):
            weight += 8 * len(each)
            waiting.extend(each)
            waiting.extend(each.values())
        elif isinstance(each, range):
            weight += 8 * (each.stop - each.start)
        elif isinstance(each, int):
            weight += each.bit_length() // 3
        if weight > most:
            raise TooMuch(f"makes more than {most} characters of a value")
    return weight
