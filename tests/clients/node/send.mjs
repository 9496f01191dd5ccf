// Sends the message on standard input with nodemailer, as its one argument says in JSON.
import nodemailer from "nodemailer";
import { buffer } from "node:stream/consumers";

const { port, is_tls, mechanism, password, sender, recipients } = JSON.parse(process.argv[2]);
const transport = nodemailer.createTransport({
  host: "localhost",
  port,
  secure: is_tls,
  requireTLS: !is_tls,
  authMethod: mechanism,
  auth: { user: "anybody", pass: password },
});
await transport.sendMail({ envelope: { from: sender, to: recipients }, raw: await buffer(process.stdin) });
