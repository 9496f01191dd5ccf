"""Sends the message on standard input with aiosmtplib, as its one argument says in JSON. A program of its own, for
aiosmtplib leaves its connection to be closed after the event loop."""

import asyncio
import json
import ssl
import sys

import aiosmtplib


async def send(
    port: int, is_tls: bool, mechanism: str, password: str, trusted: str, sender: str, recipients: list[str]
) -> None:
    smtp = aiosmtplib.SMTP(
        hostname="localhost",
        port=port,
        use_tls=is_tls,
        start_tls=not is_tls,
        tls_context=ssl.create_default_context(cafile=trusted),
    )
    async with smtp:
        await smtp.ehlo()
        await {"PLAIN": smtp.auth_plain, "LOGIN": smtp.auth_login}[mechanism]("anybody", password)
        await smtp.sendmail(sender, recipients, sys.stdin.buffer.read())


asyncio.run(send(**json.loads(sys.argv[1])))
