// Sends messages with nodemailer's pool over one connection: PORT MESSAGES
// RECIPIENTS OCTETS.

const nodemailer = require("nodemailer");

const [port, messages, recipients, octets] = process.argv.slice(2).map(Number);
const raw =
  "Subject: Hello\r\n\r\n" +
  ("x".repeat(70) + "\r\n").repeat(Math.floor((octets - 18) / 72));
const to = Array.from(
  { length: recipients },
  (_, number) => `recipient${number}@example.net`,
);
const transport = nodemailer.createTransport({
  host: "127.0.0.1",
  port,
  name: "client.example.org",
  ignoreTLS: true,
  pool: true,
  maxConnections: 1,
  maxMessages: Infinity,
});
const envelope = { from: "jane@example.org", to };

Promise.all(
  Array.from({ length: messages }, () => transport.sendMail({ envelope, raw })),
)
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(() => transport.close());
