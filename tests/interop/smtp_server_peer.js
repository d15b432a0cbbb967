// An SMTP server with smtp-server that prints a JSON line for each thing of
// note.
//
// PEER_OPTIONS holds a JSON object: "tls" is "starttls" or "implicit", "cert"
// and "key" are PEM files, "user" and "password" may log in, "mechanisms" are
// offered.
//
// First it prints {"event": "listening", "port"}, then, for each message,
// {"event": "message", "sender", "recipients", "tls", "user", "mechanism",
// "size", "sha256"}. It ends when its stdin does.

const crypto = require("crypto");
const fs = require("fs");
const { SMTPServer } = require("smtp-server");

const options = JSON.parse(process.env.PEER_OPTIONS);
const report = (event) => console.log(JSON.stringify(event));

const server = new SMTPServer({
  name: "smtp-server.example",
  secure: options.tls === "implicit",
  cert: fs.readFileSync(options.cert),
  key: fs.readFileSync(options.key),
  authMethods: options.mechanisms,
  disableReverseLookup: true,
  onAuth(auth, session, done) {
    const known =
      auth.username === options.user &&
      (auth.method === "CRAM-MD5"
        ? auth.validatePassword(options.password)
        : auth.password === options.password);
    if (known) {
      done(null, { user: { name: auth.username, mechanism: auth.method } });
    } else {
      done(new Error("Wrong name or password"));
    }
  },
  onData(stream, session, done) {
    const hash = crypto.createHash("sha256");
    let size = 0;
    stream.on("data", (chunk) => {
      hash.update(chunk);
      size += chunk.length;
    });
    stream.on("end", () => {
      report({
        event: "message",
        sender: session.envelope.mailFrom.address,
        recipients: session.envelope.rcptTo.map((to) => to.address),
        tls: session.secure,
        user: session.user.name,
        mechanism: session.user.mechanism,
        size,
        sha256: hash.digest("hex"),
      });
      done(null, "Taken");
    });
  },
});
// Clients that go away in the middle of a handshake are none of our business.
server.on("error", (error) => console.error(error));
server.listen(0, "127.0.0.1", () => {
  report({ event: "listening", port: server.server.address().port });
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
