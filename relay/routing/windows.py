"""Moving windows in memory: the storage that `limits` counts in here."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from limits.storage import MovingWindowSupport, Storage


class Windows(Storage, MovingWindowSupport):
    """When each key was let in, oldest first. All windows of one storage are equally long.

    The library's own memory storage starts a thread for every burst of hits, keeps every key it ever saw (5.8), and
    tells the time by a clock that may be set back. This one has no thread, forgets a key once its window is over and,
    beyond `most` keys, the one that was let in longest ago; `clock` is the seconds of any steady clock.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._windows: OrderedDict[str, deque[float]] = OrderedDict()  # the key that was let in last stands last

    def __len__(self) -> int:
        return len(self._windows)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Let `amount` more in, all or none of them: never over `limit` within any `expiry` seconds."""
        now = self._clock()
        held = self._current(key, now - expiry)
        if (len(held) if held else 0) + amount > limit:
            return False
        if held is None:
            held = self._windows[key] = deque()
        held.extend([now] * amount)
        self._windows.move_to_end(key)
        self._forget(now - expiry)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest that still counts was let in, and how many count."""
        now = self._clock()
        held = self._current(key, now - expiry)
        return (held[0], len(held)) if held else (now, 0)

    def _current(self, key: str, since: float) -> deque[float] | None:
        held = self._windows.get(key)
        while held and held[0] <= since:
            held.popleft()
        return held

    def _forget(self, since: float) -> None:
        while self._windows:
            key, held = next(iter(self._windows.items()))
            if held and held[-1] > since and len(self._windows) <= self._most:
                return
            del self._windows[key]

    # -- what any storage has to answer ------------------------------------------------------------------------------

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def check(self) -> bool:
        return True

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def reset(self) -> int:
        held = len(self._windows)
        self._windows.clear()
        return held

    def get(self, key: str) -> int:
        raise NotImplementedError("only moving windows are counted here, not fixed ones")

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError("only moving windows are counted here, not fixed ones")

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("only moving windows are counted here, not fixed ones")
