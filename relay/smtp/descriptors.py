"""How many connections the file descriptors of this process are enough for."""

from __future__ import annotations

import resource

RESERVE = 64  # for the database, the log, connections to SES, and sockets that are just being opened
MOST = 1 << 16  # more are of no use to one process


def raise_limit() -> None:
    """Let the process have as many descriptors as it may: the usual soft limit of 1024 is made for select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def capacity() -> int:
    """The connections there is room for: under a very small limit a quarter of it, so that somebody is served."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MOST if soft == resource.RLIM_INFINITY else soft
    return max(limit - RESERVE, limit // 4)
