"""The tags of a queue or a topic."""

from __future__ import annotations

from collections.abc import Iterable

from relay.sandbox.refusals import Refusal

_MOST = 50


class Tags:
    """By key."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def put(self, tags: dict[str, str]) -> None:
        """Add them, or change those of the same key. Raises Refusal, and nothing is changed then."""
        if any(not 0 < len(key) <= 128 or len(value) > 256 for key, value in tags.items()):
            raise Refusal("InvalidParameter", "A tag's key has 1 to 128 characters, its value at most 256.")
        if len(self.held | tags) > _MOST:
            raise Refusal("TagLimitExceeded", f"A resource has at most {_MOST} tags.")
        self.held |= tags

    def drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.held.pop(key, None)
