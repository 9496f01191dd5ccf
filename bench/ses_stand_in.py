"""Plays SES with as little work as can be: reads a request to its end, counts it, answers 200. A process of its own.

Nothing is parsed but the first line and the length, and nothing is checked: this is a clock's end, not an emulator.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from bench.keep_alive import KeepAlive


class Calls:
    """How many mails were taken, and when the last came."""

    def __init__(self, rate: float) -> None:
        self.count = 0
        self.last_at = 0.0
        self.account = answer(
            {
                "SendQuota": {"Max24HourSend": -1, "MaxSendRate": rate, "SentLast24Hours": 0},
                "SendingEnabled": True,
                "ProductionAccessEnabled": True,
            }
        )

        self.identity = answer(
            {
                "VerifiedForSendingStatus": True,
                "VerificationStatus": "SUCCESS",
                "DkimAttributes": {"Status": "SUCCESS", "Tokens": []},
            }
        )

    def sent(self) -> bytes:
        self.count += 1
        self.last_at = time.monotonic()  # the same clock in every process of the machine
        return answer({"MessageId": f"{self.count:016x}-bench"})

    def seen(self) -> bytes:
        return answer({"count": self.count, "last_at": self.last_at})


def answer(body: dict[str, object]) -> bytes:
    octets = json.dumps(body).encode("ascii")
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(octets), octets)


class Connection(KeepAlive):
    """One client's."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._calls = calls

    def take(self, head: bytes, body: bytes) -> None:
        self.transport.write(self._reply(head))

    def _reply(self, head: bytes) -> bytes:
        if head.startswith(b"POST /v2/email/outbound-emails"):
            return self._calls.sent()
        if head.startswith(b"GET /v2/email/account"):
            return self._calls.account
        if head.startswith(b"GET /v2/email/identities/"):
            return self._calls.identity
        return self._calls.seen()


async def serve(port: int, rate: float) -> None:
    calls = Calls(rate)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(calls), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="MaxSendRate, recipients a second")
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.rate))


if __name__ == "__main__":
    main()
