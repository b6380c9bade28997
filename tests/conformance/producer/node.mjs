import { connect, headers } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";

const nc = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
const js = jetstream(nc);
const subject = "events.acme.com.acme.order.created"; // events.<tenant>.<type>

// Binary mode: the attributes are headers, the message is the payload.
const attributes = headers();
attributes.set("ce-specversion", "1.0");
attributes.set("ce-type", "com.acme.order.created");
attributes.set("ce-source", "/shop");
attributes.set("ce-id", "1001");
attributes.set("ce-subject", encodeURIComponent("Zürich"));
attributes.set("ce-datacontenttype", "application/json");
await js.publish(subject, JSON.stringify({ order: 1001, total: 19.9 }), { headers: attributes, msgID: "acme/shop/1001" });

// Structured mode: the message is the whole event.
const format = headers();
format.set("Content-Type", "application/cloudevents+json");
const event = {
  specversion: "1.0", type: "com.acme.order.created", source: "/shop", id: "1002", subject: "Zürich",
  datacontenttype: "application/json", data: { order: 1002, total: 19.9 },
};
await js.publish(subject, JSON.stringify(event), { headers: format, msgID: "acme/shop/1002" });

await nc.close();
