// An SMTP server with smtp-server that prints a JSON line for each thing of
// note.
//
// PEER_OPTIONS holds a JSON object. With "tls" ("starttls" or "implicit"),
// "cert" and "key" are PEM files, "user" and "password" may log in,
// "mechanisms" are offered. With "folder", each message is written to a file in
// it, nobody has to log in, and the recipients "refused" are; "lmtp" tells
// whether it speaks LMTP, where messages for those that are "full" are refused.
//
// First it prints {"event": "listening", "port"}, then, for each message,
// {"event": "message", "sender", "recipients", "size", "sha256"}, with "tls",
// "user" and "mechanism", or else with "file", and "dsn" with what was said of
// notifications. It ends when its stdin does.

const crypto = require("crypto");
const fs = require("fs");
const path = require("path");
const { SMTPServer } = require("smtp-server");

const options = JSON.parse(process.env.PEER_OPTIONS);
const report = (event) => console.log(JSON.stringify(event));

const secure = options.tls && {
  secure: options.tls === "implicit",
  cert: fs.readFileSync(options.cert),
  key: fs.readFileSync(options.key),
  authMethods: options.mechanisms,
};
const open = {
  disabledCommands: ["AUTH", "STARTTLS"],
  lmtp: options.lmtp,
  hideDSN: false,
};

let count = 0;
const store = (chunks) => {
  const file = path.join(options.folder, String((count += 1)));
  fs.writeFileSync(file, Buffer.concat(chunks));
  return file;
};

const server = new SMTPServer({
  name: "smtp-server.example",
  ...(secure || open),
  disableReverseLookup: true,
  onRcptTo(to, session, done) {
    const refused = options.refused?.includes(to.address);
    done(
      refused &&
        Object.assign(new Error("No such user here"), { responseCode: 550 }),
    );
  },
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
    const chunks = [];
    let size = 0;
    stream.on("data", (chunk) => {
      hash.update(chunk);
      size += chunk.length;
      if (options.folder) chunks.push(chunk);
    });
    stream.on("end", () => {
      const addresses = session.envelope.rcptTo.map((to) => to.address);
      const recipients = addresses.filter((address) => !isFull(address));
      if (recipients.length) {
        report({
          event: "message",
          sender: session.envelope.mailFrom.address,
          recipients,
          ...(options.folder
            ? { file: store(chunks), dsn: notifications(session.envelope) }
            : {
                tls: session.secure,
                user: session.user.name,
                mechanism: session.user.mechanism,
              }),
          size,
          sha256: hash.digest("hex"),
        });
      }
      done(null, options.lmtp ? addresses.map(verdict) : "Taken");
    });
  },
});

const notifications = (envelope) => [
  envelope.dsn,
  ...envelope.rcptTo.map((to) => to.dsn || null),
];

const isFull = (address) => options.lmtp && options.full.includes(address);
const verdict = (address) =>
  isFull(address)
    ? Object.assign(new Error("Mailbox full"), { responseCode: 552 })
    : "Taken";

// Clients that go away in the middle of a handshake are none of our business.
server.on("error", (error) => console.error(error));
server.listen(0, "127.0.0.1", () => {
  report({ event: "listening", port: server.server.address().port });
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
