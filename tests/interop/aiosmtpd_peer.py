"""An SMTP server with aiosmtpd that prints a JSON line for each thing of note.

Arguments: recipients to refuse.

PEER_OPTIONS may hold a JSON object. With "tls" ("none", "starttls" or
"implicit"), "cert" and "key" are PEM files, "user" and "password" may log in,
"mechanisms" are offered; nobody else can send mail then, nor without TLS if
there is some. With "folder", each message is written to a file in it, and
SMTPUTF8 is offered.

First it prints {"event": "listening", "port": N}, then, for each message,
{"event": "message", "sender", "recipients", "mail_options", "size", "sha256"},
and "file" if there is a folder, and "tls", "user" and "mechanism" if somebody
has to log in. It ends when its stdin does.
"""

import asyncio
import hashlib
import json
import os
import ssl
import sys
import tempfile

from aiosmtpd.smtp import SMTP, AuthResult

OPTIONS = json.loads(os.environ.get("PEER_OPTIONS", "{}"))


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
            **store(content),
            **log_in(server, session),
        )
        return "250 2.0.0 Taken"

    async def handle_QUIT(self, server, session, envelope):
        return "221 2.0.0 Bye"


def store(content):
    """Where the content is."""
    if "folder" not in OPTIONS:
        return {}
    descriptor, name = tempfile.mkstemp(dir=OPTIONS["folder"])
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return {"file": name}


def log_in(server, session):
    """How the client got in."""
    if "tls" not in OPTIONS:
        return {}
    user, mechanism = session.auth_data
    tls = server.transport.get_extra_info("ssl_object") is not None
    return {"tls": tls, "user": user, "mechanism": mechanism}


def authenticate(server, session, envelope, mechanism, auth_data):
    user, password = auth_data.login.decode(), auth_data.password.decode()
    if (user, password) != (OPTIONS["user"], OPTIONS["password"]):
        return AuthResult(success=False, handled=False)
    return AuthResult(success=True, auth_data=(user, mechanism))


def context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(OPTIONS["cert"], OPTIONS["key"])
    return context


def connection():
    arguments = {}
    if "tls" in OPTIONS:
        starttls = OPTIONS["tls"] == "starttls"
        offered = OPTIONS["mechanisms"]
        arguments = {
            "tls_context": context() if starttls else None,
            "require_starttls": starttls,
            # It does not count TLS that was there before the first command.
            "auth_require_tls": starttls,
            "auth_required": True,
            "auth_exclude_mechanism": {"PLAIN", "LOGIN"} - set(offered),
            "authenticator": authenticate,
        }
    return SMTP(
        Handler(),
        hostname="aiosmtpd.example",
        decode_data=False,
        enable_SMTPUTF8="folder" in OPTIONS,
        **arguments,
    )


async def main():
    loop = asyncio.get_running_loop()
    implicit = context() if OPTIONS.get("tls") == "implicit" else None
    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=implicit)
    report(event="listening", port=server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.buffer.read)


asyncio.run(main())
