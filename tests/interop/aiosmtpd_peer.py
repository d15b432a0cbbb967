"""An SMTP server with aiosmtpd that prints a JSON line for each thing of note.

Arguments: recipients to refuse.

First it prints {"event": "listening", "port": N}, then, for each message,
{"event": "message", "sender", "recipients", "mail_options", "size", "sha256"}.
It ends when its stdin does.
"""

import asyncio
import hashlib
import json
import sys

from aiosmtpd.smtp import SMTP


def report(**event):
    print(json.dumps(event), flush=True)


class Handler:
    """Every reply has an enhanced status code, so that they can be announced."""

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        return [*responses[:-1], "250-ENHANCEDSTATUSCODES", responses[-1]]

    async def handle_MAIL(self, server, session, envelope, address, options):
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender fine"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in sys.argv[1:]:
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Recipient fine"

    async def handle_DATA(self, server, session, envelope):
        content = envelope.original_content
        report(
            event="message",
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            mail_options=envelope.mail_options,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        return "250 2.0.0 Taken"

    async def handle_QUIT(self, server, session, envelope):
        return "221 2.0.0 Bye"


def connection():
    return SMTP(
        Handler(),
        hostname="aiosmtpd.example",
        decode_data=False,
        enable_SMTPUTF8=False,
    )


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0)
    report(event="listening", port=server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.buffer.read)


asyncio.run(main())
