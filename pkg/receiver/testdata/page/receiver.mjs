// A receiver with node:https and the official library (npm install standardwebhooks).
import { createServer } from "node:https";
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const { CERT, KEY, CLIENT_CA, CLIENT_SAN, WEBHOOK_SECRET, LISTEN } = process.env;
const webhook = new Webhook(WEBHOOK_SECRET);
const seen = new Map(); // id -> when; several processes need a shared store, with an expiry
const kept = 96 * 60 * 60 * 1000; // longer than Handfast retries

const server = createServer({
  cert: readFileSync(CERT),
  key: readFileSync(KEY),
  ca: readFileSync(CLIENT_CA),
  requestCert: true,
  rejectUnauthorized: true,
  minVersion: "TLSv1.2",
}, async (request, response) => {
  const answer = (status) => response.writeHead(status, { connection: status > 299 ? "close" : "keep-alive" }).end();
  // One whole name of the certificate. Never search in its subject.
  const names = (request.socket.getPeerCertificate().subjectaltname ?? "").split(", ");
  if (!names.includes(`URI:${CLIENT_SAN}`)) return answer(495); // the certificate is the trouble, not the message
  if (request.method === "OPTIONS") return answer(204);

  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > 1 << 20) return answer(413);
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks).toString("utf8"); // before any parser
  try {
    webhook.verify(body, request.headers);
  } catch {
    return answer(401);
  }

  const id = request.headers["webhook-id"];
  const now = Date.now();
  for (const [old, at] of seen) if (now - at > kept) seen.delete(old);
  if (!seen.has(id)) {
    seen.set(id, now);
    console.log(`${id}: ${body}`); // your work; when it fails, forget the id and answer 500
  }
  answer(204);
});
server.requestTimeout = 30_000;

const [host, port] = LISTEN.split(":");
server.listen(Number(port), host, () => console.log(`listening on ${host}:${server.address().port}`));
