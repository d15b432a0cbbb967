"""SCRAM by the package scramp, with pyOpenSSL and just enough SMTP around it.

PEER_OPTIONS holds a JSON object. In both roles it has "role", "tls"
("starttls" or "implicit"), "mechanism", "user" and "password".

"role": "client" logs in and delivers "file". It has "port", "ca", and may have
"binding", the type of the channel binding. With a binding and a mechanism
without -PLUS the client says that it could bind but that the server does not
offer it. With the "fault" "binding" it binds to another channel. It prints {"accepted": true} when the server let it in and proved that
it knows the password, else {"accepted": false, "code", "text"}.

"role": "server" takes one session, with "cert", "key" and "mechanisms" for
EHLO. "fault" names what it does wrong: "iterations=N", "nonce", "signature", or
"unproven" when it says yes without a signature. It prints {"listening": PORT},
then, when the client has gone, {"accepted", "flag", "sha256", "said", "heard"}:
whether the client got in and delivered, what it said about channel binding,
the content it delivered, the last that was said on either side.
"""

import base64
import hashlib
import json
import os
import socket

import scramp
from OpenSSL import SSL
from scramp import core

OPTIONS = json.loads(os.environ["PEER_OPTIONS"])

# scramp leaves out this type because the ssl module cannot give its data.
# pyOpenSSL can.
core.CbName.UNSUPPORTED_TYPES = frozenset()
core.CbName.SUPPORTED_TYPES |= {"tls-exporter"}


def report(**what):
    print(json.dumps(what), flush=True)


class Lines:
    """A connection, before and after it has TLS."""

    def __init__(self, stream):
        self.stream = stream
        self.read = b""

    def send(self, line):
        self.stream.sendall(line.encode() + b"\r\n")

    def line(self):
        """The next line; None when the other side has gone."""
        while b"\r\n" not in self.read:
            try:
                got = self.stream.recv(65536)
            except (SSL.Error, OSError):
                got = b""
            if not got:
                return None
            self.read += got
        line, self.read = self.read.split(b"\r\n", 1)
        return line.decode()

    def reply(self):
        """Code and lines of the next reply."""
        lines = []
        while True:
            line = self.line()
            if line is None:
                raise SystemExit("the server went away")
            lines.append(line[4:])
            if line[3:4] != "-":
                return int(line[:3]), lines

    def ask(self, command, *codes):
        self.send(command)
        code, lines = self.reply()
        if codes and code not in codes:
            raise SystemExit(f"{command!r} gave {code} {lines}")
        return code, lines

    def start_tls(self, context, is_client):
        # Nothing that came before TLS counts under it.
        assert not self.read, self.read
        self.stream = SSL.Connection(context, self.stream)
        if is_client:
            self.stream.set_tlsext_host_name(b"localhost")
            self.stream.set_connect_state()
        else:
            self.stream.set_accept_state()
        self.stream.do_handshake()


def encode(text):
    return base64.b64encode(text.encode()).decode()


def decode(text):
    return base64.b64decode(text).decode()


def binding(name, stream):
    """What scramp takes as channel_binding."""
    if name is None:
        return None
    if name == "tls-exporter":
        return name, stream.export_keying_material(b"EXPORTER-Channel-Binding", 32)
    assert name == "tls-unique"
    return name, stream.get_finished()


def client():
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.load_verify_locations(OPTIONS["ca"])
    context.set_verify(SSL.VERIFY_PEER)
    lines = Lines(socket.create_connection(("127.0.0.1", OPTIONS["port"])))
    if OPTIONS["tls"] == "implicit":
        lines.start_tls(context, True)
    lines.reply()
    lines.ask("EHLO scramp.example", 250)
    if OPTIONS["tls"] == "starttls":
        lines.ask("STARTTLS", 220)
        lines.start_tls(context, True)
        lines.ask("EHLO scramp.example", 250)

    mechanism = OPTIONS["mechanism"]
    bound = binding(OPTIONS.get("binding"), lines.stream)
    if OPTIONS.get("fault") == "binding":
        bound = bound[0], bytes(octet ^ 1 for octet in bound[1])
    scram = scramp.ScramClient(
        [mechanism], OPTIONS["user"], OPTIONS["password"], channel_binding=bound
    )

    def refused(code, text):
        report(accepted=False, code=code, text=text[0])

    code, text = lines.ask(f"AUTH {mechanism} {encode(scram.get_client_first())}")
    if code != 334:
        return refused(code, text)
    scram.set_server_first(decode(text[0]))
    code, text = lines.ask(encode(scram.get_client_final()))
    if code != 334:
        return refused(code, text)
    # Raises unless the server knows the password.
    scram.set_server_final(decode(text[0]))
    code, text = lines.ask("")
    if code != 235:
        return refused(code, text)

    lines.ask("MAIL FROM:<sender@example.org>", 250)
    lines.ask("RCPT TO:<one@example.net>", 250)
    lines.ask("DATA", 354)
    with open(OPTIONS["file"], "rb") as file:
        for line in file.read().split(b"\r\n")[:-1]:
            stuffing = b"." if line.startswith(b".") else b""
            lines.stream.sendall(stuffing + line + b"\r\n")
    lines.ask(".", 250)
    lines.ask("QUIT", 221)
    report(accepted=True)


class Gone(Exception):
    """The client went away."""


class Session:
    """The server's side of one session."""

    def __init__(self, stream):
        self.lines = Lines(stream)
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate_file(OPTIONS["cert"])
        self.context.use_privatekey_file(OPTIONS["key"])
        self.said = None
        self.heard = None
        self.secure = False
        self.flag = None
        self.authenticated = False

    def say(self, reply):
        self.said = reply
        self.lines.send(reply)

    def next(self):
        line = self.lines.line()
        if line is None:
            raise Gone
        self.heard = line
        return line

    def start_tls(self):
        self.lines.start_tls(self.context, False)
        self.secure = True

    def run(self):
        if OPTIONS["tls"] == "implicit":
            self.start_tls()
        self.say("220 scramp.example")
        digest = None
        while True:
            command = self.next()
            verb = command.split(" ")[0].upper()
            if verb == "EHLO":
                self.lines.send("250-scramp.example")
                if self.secure:
                    self.say(f"250 AUTH {' '.join(OPTIONS['mechanisms'])}")
                else:
                    self.say("250 STARTTLS")
            elif verb == "STARTTLS":
                self.say("220 Go ahead")
                self.start_tls()
            elif verb == "AUTH":
                self.log_in(*command.split(" ")[1:])
            elif verb == "DATA":
                self.say("354 Go ahead")
                digest = self.content()
                self.say("250 Taken")
            elif verb == "QUIT":
                self.say("221 Bye")
                return digest
            elif verb in ("MAIL", "RCPT") and not self.authenticated:
                self.say("530 5.7.0 Authentication required")
            else:
                self.say("250 Fine")

    def content(self):
        digest = hashlib.sha256()
        while (line := self.next()) != ".":
            digest.update(line.removeprefix(".").encode() + b"\r\n")
        return digest.hexdigest()

    def challenge(self, text):
        self.say(f"334 {encode(text)}")
        return self.next()

    def log_in(self, name, initial):
        if name != OPTIONS["mechanism"]:
            return self.say("504 5.5.4 Another one was expected")
        kind, faulty = OPTIONS.get("fault", "").partition("=")[::2]
        mechanism = scramp.ScramMechanism(name.removesuffix("-PLUS"))
        info = mechanism.make_auth_info(OPTIONS["password"], iteration_count=4096)
        first = decode(initial)
        self.flag = first.split(",")[0]
        # What the client chose; scramp compares the data.
        chosen = self.flag[2:] if self.flag.startswith("p=") else None
        scram = scramp.ScramMechanism(name).make_server(
            lambda user: info if user == OPTIONS["user"] else None,
            channel_binding=binding(chosen, self.lines.stream),
        )
        try:
            scram.set_client_first(first)
            server_first = scram.get_server_first()
            if kind == "iterations":
                server_first = server_first.replace("i=4096", f"i={faulty}")
            if kind == "nonce":
                server_first = "r=somebodyelse" + server_first.removeprefix("r=")
            final = self.challenge(server_first)
            if final == "*":
                return self.say("501 5.7.0 Cancelled")
            scram.set_client_final(decode(final))
        except scramp.ScramException as error:
            return self.say(f"535 5.7.8 {error.args[0]}".splitlines()[0])
        server_final = scram.get_server_final()
        if kind == "signature":
            forged = bytes(octet ^ 1 for octet in base64.b64decode(server_final[2:]))
            server_final = "v=" + base64.b64encode(forged).decode()
        if kind != "unproven" and self.challenge(server_final):
            return self.say("501 5.7.0 Cancelled")
        self.authenticated = True
        return self.say("235 2.7.0 In")


def server():
    listener = socket.create_server(("127.0.0.1", 0))
    report(listening=listener.getsockname()[1])
    stream, _ = listener.accept()
    session = Session(stream)
    try:
        digest = session.run()
    except (Gone, SSL.Error):
        digest = None
    report(
        accepted=session.authenticated and digest is not None,
        flag=session.flag,
        sha256=digest,
        said=session.said,
        heard=session.heard,
    )


{"client": client, "server": server}[OPTIONS["role"]]()
