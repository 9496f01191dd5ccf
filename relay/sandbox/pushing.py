"""Posts to the endpoints of subscriptions, as SNS does: bounded in time, tried again when the other side failed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_PATIENCE = 15.0  # seconds for an answer (SNS guide, delivery to HTTP endpoints)
_MOST_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Post:
    """`retries` come `apart` seconds after each failure; `lost` hears why, when there are none left."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    retries: int
    apart: float
    lost: Callable[[str], None]


class Pusher:
    """The posts under way. A redirect is not followed, and what is refused by a 4xx is not sent again."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, post: Post) -> None:
        """Begin, in the running loop."""
        if len(self._tasks) >= _MOST_AT_ONCE:
            post.lost("too many posts")
            return
        task = asyncio.get_running_loop().create_task(_deliver(post))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End them all, delivered or not."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _deliver(post: Post) -> None:
    for left in range(post.retries, -1, -1):
        status = await _post(post)
        if status is not None and 200 <= status < 300:
            return
        if status is not None and status < 500:
            post.lost("endpoint refused")
            return
        if left:
            await asyncio.sleep(post.apart)
    post.lost("endpoint failed")


async def _post(post: Post) -> int | None:
    """The status of the answer; None when there was none."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await _exchange(post)
    except (OSError, TimeoutError, ValueError):
        return None


async def _exchange(post: Post) -> int:
    url = urlsplit(post.url)
    secure = ssl.create_default_context() if url.scheme == "https" else None
    port = url.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(url.hostname, port, ssl=secure)
    try:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = {
            "Host": url.netloc.rpartition("@")[2],
            "Content-Length": str(len(post.body)),
            "Connection": "close",
            **post.headers,
        }
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + post.body)
        await writer.drain()
        version, status, *_ = (await reader.readline()).decode("latin-1").split(" ", 2)
        if not version.startswith("HTTP/1."):
            raise ValueError("no HTTP")
        return int(status)
    finally:
        writer.close()
