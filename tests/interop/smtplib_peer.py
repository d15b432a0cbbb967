"""Sends a file with Python's smtplib and prints {refused address: [code, text]}.

Arguments: host, port, file, sender, recipients.

PEER_OPTIONS may hold a JSON object: "tls" is "starttls" or "implicit", "ca"
the PEM file to verify the server with, "mechanism", "user" and "password" are
to log in with. A refused log-in ends it with status 77 and
{"refused": [code, text]}.
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
    arguments = (host, int(port), "smtplib.example")
    if tls == "implicit":
        return smtplib.SMTP_SSL(*arguments, timeout=120, context=context)
    return smtplib.SMTP(*arguments, timeout=120)


def log_in(client):
    """What client.login() does with the first mechanism that both sides know."""
    mechanism = options["mechanism"]
    client.user, client.password = options["user"], options["password"]
    attempt = getattr(client, "auth_" + mechanism.lower().replace("-", "_"))
    # smtplib's CRAM-MD5 has no initial response to give.
    client.auth(mechanism, attempt)


with connection() as client:
    if tls == "starttls":
        client.starttls(context=context)
    client.ehlo()
    if "mechanism" in options:
        try:
            log_in(client)
        except smtplib.SMTPAuthenticationError as error:
            print(json.dumps({"refused": [error.smtp_code, error.smtp_error.decode()]}))
            sys.exit(77)
    refused = client.sendmail(sender, recipients, content, ["BODY=8BITMIME"])
print(json.dumps({a: [code, text.decode()] for a, (code, text) in refused.items()}))
