"""The queue's clock and spans, in milliseconds since 1970: the database's own where several machines share it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Connection, cast, extract, func, select

LEASE = timedelta(minutes=10)  # longer than any call to SES may take
HELD_AT_MOST = timedelta(days=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def milliseconds(span: timedelta) -> int:
    return int(span / timedelta(milliseconds=1))


def moment_ms(at: datetime) -> int:
    """A moment with its zone, as columns have it. In whole numbers: by way of a float one moment in 160 loses 1 ms."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def rfc3339(at: int, timespec: str = "milliseconds") -> str:
    """A moment as people and programs read it: RFC 3339, UTC."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec=timespec).replace("+00:00", "Z")


def clock(db: Connection) -> int:
    """Now, for what is written: on PostgreSQL leases are judged by one clock, the server's."""
    if db.dialect.name == "sqlite":
        return now_ms()
    return db.execute(select(cast(extract("epoch", func.clock_timestamp()) * 1000, BigInteger))).scalar_one()
