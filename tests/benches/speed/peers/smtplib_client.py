"""Sends messages with smtplib over one connection: PORT MESSAGES RECIPIENTS OCTETS."""

import smtplib
import sys

port, messages, recipients, octets = map(int, sys.argv[1:])
content = "Subject: Hello\r\n\r\n" + ("x" * 70 + "\r\n") * ((octets - 18) // 72)
to = [f"recipient{number}@example.net" for number in range(recipients)]
with smtplib.SMTP("127.0.0.1", port, "client.example.org", timeout=60) as client:
    for _ in range(messages):
        client.sendmail("jane@example.org", to, content)
