// Sends a file with nodemailer.
//
// Arguments: host, port, file, sender, recipients.

const fs = require("fs");
const nodemailer = require("nodemailer");

const [host, port, file, from, ...to] = process.argv.slice(1);
const transport = nodemailer.createTransport({
  host,
  port: Number(port),
  name: "nodemailer.example",
  ignoreTLS: true,
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
