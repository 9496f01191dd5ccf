"""A stock aiosmtpd that throws every message away: what the library costs without storage. A process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

from bench.peers.target import Target
from bench.processes import START_WITHIN, free_port, listens, python, started, wait_for


class Null:
    async def handle_DATA(self, _server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802 - aiosmtpd's hook
        return "250 2.0.0 Thrown away"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Target]:
    port = free_port()
    with started(python("bench.peers.aiosmtpd_null", port), folder / "log") as process:
        wait_for("aiosmtpd listens", lambda: listens(port), START_WITHIN, process)
        yield Target(smtp_port=port, pid=process.pid)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Null(), hostname="aiosmtpd.bench.example", loop=loop), "127.0.0.1", port, backlog=512
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
