"""Sends a file with Python's smtplib and prints {refused address: [code, text]}.

Arguments: host, port, file, sender, recipients.

PEER_OPTIONS may hold a JSON object: "tls" is "starttls" or "implicit", "ca"
the PEM file to verify the server with, "mechanism", "user" and "password" are
to log in with. A refused log-in ends it with status 77 and
{"refused": [code, text]}. "source" is the address to connect from; where it
connected from is printed first then. "mail" is a list of parameters for MAIL,
and "rcpt" has one for each recipient.
"""

import json
import os
import smtplib
import ssl
import sys

host, port, path, sender, *recipients = sys.argv[1:]
options = json.loads(os.environ.get("PEER_OPTIONS", "{}"))
tls = options.get("tls")
context = ssl.create_default_context(cafile=options["ca"]) if tls else None
with open(path, "rb") as file:
    content = file.read()


def connection():
    arguments = {"timeout": 120}
    if "source" in options:
        arguments["source_address"] = (options["source"], 0)
    if tls == "implicit":
        return smtplib.SMTP_SSL(host, int(port), "smtplib.example", context=context, **arguments)
    return smtplib.SMTP(host, int(port), "smtplib.example", **arguments)


def deliver(client):
    """What client.sendmail() does, with parameters for each recipient."""
    code, text = client.mail(sender, ["BODY=8BITMIME", *options.get("mail", [])])
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, text, sender)
    parameters = options.get("rcpt", {})
    replies = {address: client.rcpt(address, parameters.get(address, [])) for address in recipients}
    code, text = client.data(content)
    if code != 250:
        raise smtplib.SMTPDataError(code, text)
    return {address: reply for address, reply in replies.items() if reply[0] != 250}


def log_in(client):
    """What client.login() does with the first mechanism that both sides know."""
    mechanism = options["mechanism"]
    client.user, client.password = options["user"], options["password"]
    attempt = getattr(client, "auth_" + mechanism.lower().replace("-", "_"))
    # smtplib's CRAM-MD5 has no initial response to give.
    client.auth(mechanism, attempt)


with connection() as client:
    if "source" in options:
        print("%s:%d" % client.sock.getsockname())
    if tls == "starttls":
        client.starttls(context=context)
    client.ehlo()
    if "mechanism" in options:
        try:
            log_in(client)
        except smtplib.SMTPAuthenticationError as error:
            print(json.dumps({"refused": [error.smtp_code, error.smtp_error.decode()]}))
            sys.exit(77)
    refused = deliver(client)
print(json.dumps({a: [code, text.decode()] for a, (code, text) in refused.items()}))
