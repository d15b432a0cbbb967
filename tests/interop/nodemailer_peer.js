// Sends a file with nodemailer.
//
// Arguments: host, port, file, sender, recipients.
//
// PEER_OPTIONS may hold a JSON object: "tls" is "starttls" or "implicit", "ca"
// the PEM file to verify the server with, "mechanism", "user" and "password"
// are to log in with.

const fs = require("fs");
const nodemailer = require("nodemailer");

const [host, port, file, from, ...to] = process.argv.slice(1);
const options = JSON.parse(process.env.PEER_OPTIONS || "{}");
const transport = nodemailer.createTransport({
  host,
  port: Number(port),
  name: "nodemailer.example",
  secure: options.tls === "implicit",
  requireTLS: options.tls === "starttls",
  ignoreTLS: !options.tls,
  tls: options.tls && { ca: fs.readFileSync(options.ca) },
  auth: options.mechanism && {
    user: options.user,
    pass: options.password,
  },
  authMethod: options.mechanism,
});

transport
  .sendMail({ envelope: { from, to }, raw: fs.readFileSync(file) })
  .then((sent) => {
    if (sent.rejected.length > 0) {
      throw new Error(`rejected: ${sent.rejected}`);
    }
  })
  .finally(() => transport.close())
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
