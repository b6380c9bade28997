// Reads one delivery as JSON from standard input and verifies it with the official library for JavaScript, as it came and
// with its last byte changed.
import { Webhook } from "standardwebhooks";

let text = "";
for await (const chunk of process.stdin) text += chunk;
const { secret, headers, body } = JSON.parse(text);

const webhook = new Webhook(secret);
const event = webhook.verify(body, headers);
try {
  webhook.verify(body.slice(0, -1) + " }", headers);
  console.log("accepted what nobody signed");
  process.exit(1);
} catch (err) {
  console.log(`${event.id}: verified, and refused when changed: ${err.message}`);
}
