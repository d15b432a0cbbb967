"""Sends a file with Python's smtplib and prints {refused address: [code, text]}.

Arguments: host, port, file, sender, recipients.
"""

import json
import smtplib
import sys

host, port, path, sender, *recipients = sys.argv[1:]
with open(path, "rb") as file:
    content = file.read()
with smtplib.SMTP(host, int(port), "smtplib.example", timeout=120) as client:
    client.ehlo()
    refused = client.sendmail(sender, recipients, content, ["BODY=8BITMIME"])
print(json.dumps({a: [code, text.decode()] for a, (code, text) in refused.items()}))
