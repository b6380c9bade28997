// Asks the libraries of others about copies of one request, and prints for each library why it refuses each copy; "" for yes.
import { readFileSync } from "node:fs";
import { verify } from "@octokit/webhooks-methods";
import { Webhook } from "standardwebhooks";
import { Webhook as Svix } from "svix";
import Stripe from "stripe";
import twilio from "twilio";

const stripe = new Stripe("sk_test_none");
const libraries = {
  standardwebhooks: ({ secrets, headers, text }) => new Webhook(secrets.v1).verify(text, headers),
  svix: ({ secrets, headers, text }) => new Svix(secrets.v1).verify(text, headers),
  octokit: ({ secrets, headers, text }) => verify(secrets.github, text, headers["x-hub-signature-256"]),
  stripe: ({ secrets, headers, text }) => stripe.webhooks.constructEvent(text, headers["stripe-signature"], secrets.stripe),
  twilio: ({ secrets, headers, text, url }) => twilio.validateRequestWithBody(secrets.twilio, headers["x-twilio-signature"] ?? "", url, text),
};

const copies = JSON.parse(readFileSync(0, "utf8"));
const refusals = {};
for (const [name, judge] of Object.entries(libraries)) {
  refusals[name] = [];
  for (const copy of copies) {
    copy.text = Buffer.from(copy.body, "base64").toString("utf8");
    try {
      refusals[name].push(await judge(copy) ? "" : "no");
    } catch (error) {
      refusals[name].push(error.message || "refused");
    }
  }
}
console.log(JSON.stringify(refusals));
