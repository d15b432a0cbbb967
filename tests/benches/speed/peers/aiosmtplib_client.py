"""Sends messages with aiosmtplib over one connection: PORT MESSAGES RECIPIENTS OCTETS."""

import asyncio
import sys

import aiosmtplib

port, messages, recipients, octets = map(int, sys.argv[1:])
content = "Subject: Hello\r\n\r\n" + ("x" * 70 + "\r\n") * ((octets - 18) // 72)
to = [f"recipient{number}@example.net" for number in range(recipients)]


async def main():
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, local_hostname="client.example.org") as client:
        for _ in range(messages):
            await client.sendmail("jane@example.org", to, content)


asyncio.run(main())
