"""`python -m bench.ses_calls`: the processor time that one call to SES takes here, our own way and botocore's.

Each round measures both, one after the other, against the stand-in in a process of its own; figures are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median

from bench.peers.stand_in import FAST
from bench.processes import START_WITHIN, free_port, listens, python, started, wait_for
from relay.ses.access import Access, StaticKeys
from relay.ses.clients import Accounts
from relay.ses.errors import classify
from relay.ses.link import Link
from relay.ses.mail import Mail

AT_ONCE = 8
SIZES = {"5 KB": (5_000, 2000), "50 KB": (50_000, 1000), "1 MB": (1 << 20, 60)}  # octets, calls
HEADER = b"From: a@shared.example\r\nTo: ana@dest.example\r\nSubject: Measurement\r\n\r\n"


def mail_of(size: int, number: int) -> Mail:
    tags = [{"Name": "relay_id", "Value": str(number)}, {"Name": "attempt", "Value": "1"}]
    members = {"Destination": {"ToAddresses": ["ana@dest.example"]}, "EmailTags": tags, "ConfigurationSetName": "main"}
    return Mail(HEADER + b"y" * (size - len(HEADER)), members)


async def ours(link: Link, mail: Mail) -> None:
    await link.send(mail, partial(classify, domain="shared.example"))


async def botocores(link: Link, mail: Mail) -> None:
    await link.call("send_email", partial(classify, domain="shared.example"), is_repeatable=False, **mail.request())


WAYS: dict[str, Callable[[Link, Mail], Awaitable[None]]] = {"ours": ours, "botocore's": botocores}


async def cost(link: Link, way: Callable[[Link, Mail], Awaitable[None]], size: int, calls: int) -> float:
    """Milliseconds of processor time a call."""
    numbers = iter(range(calls))

    async def some() -> None:
        for number in numbers:
            await way(link, mail_of(size, number))

    await way(link, mail_of(size, 0))
    began = time.process_time()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return 1000 * (time.process_time() - began) / calls


async def measured(port: int, rounds: int) -> None:
    access = Access("bench", "eu-west-1", StaticKeys("bench", "bench"), f"http://127.0.0.1:{port}")
    async with Accounts() as accounts:
        link = accounts.open(access)._link
        print(f"{'':8}{'ours':>12}{'botocore':>12}{'ratio':>8}")
        for name, (size, calls) in SIZES.items():
            found: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(rounds):
                for way, call in WAYS.items():
                    found[way].append(await cost(link, call, size, calls))
            one, other = (median(found[way]) for way in WAYS)
            print(f"{name:8}{one:9.3f} ms{other:9.3f} ms{other / one:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ses_calls", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    port = free_port()
    command = python("bench.ses_stand_in", "--port", port, "--rate", FAST)
    with (
        tempfile.TemporaryDirectory() as folder,
        started(command, Path(folder) / "ses.log") as stand_in,
    ):
        wait_for("the SES stand-in listens", lambda: listens(port), START_WITHIN, stand_in)
        asyncio.run(measured(port, given.rounds))


if __name__ == "__main__":
    main()
