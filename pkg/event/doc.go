// Package event reads and writes CloudEvents 1.0 on NATS subjects. It is the
// public contract between Handfast and everybody who publishes: a producer in
// any language that follows this page needs nothing else from us.
//
// # Two ways to publish
//
//	subject  events.acme.order.created
//	                │    └─────┬─────┘
//	             tenant       type (the rest of the subject, dots included)
//
//	binary mode                            structured mode
//	┌────────────────────────────────┐     ┌─────────────────────────────────────────┐
//	│ ce-specversion: 1.0            │     │ Content-Type: application/cloudevents+  │
//	│ ce-id: 42                      │     │               json; charset=utf-8       │
//	│ ce-source: /shop               │     ├─────────────────────────────────────────┤
//	│ ce-type: order.created         │     │ {"specversion":"1.0","id":"42",         │
//	│ ce-datacontenttype: applica…   │     │  "source":"/shop",                      │
//	├────────────────────────────────┤     │  "type":"order.created",                │
//	│ {"total":1.10}                 │     │  "data":{"total":1.10}}                 │
//	└────────────────────────────────┘     └─────────────────────────────────────────┘
//	  attributes are headers,                the message data is the whole event
//	  the message data is the event's data
//
// A message is structured when its Content-Type starts with
// application/cloudevents; every other message is binary. In structured mode
// ce- headers are ignored. Receivers always get the structured form, see
// [Event.Body].
//
// # Rules
//
//	what                 rule
//	───────────────────  ──────────────────────────────────────────────────────────
//	tenant               1–63 of a–z, 0–9 and "-", no "-" at either end
//	type                 equals the subject after the tenant; printable ASCII, no
//	                     white space, "*" or ">", no empty token between dots.
//	                     Permission to publish is granted on subjects: a type that
//	                     differs from its subject would go round it
//	specversion          1.0
//	id, source           present and not empty; source is a URI-reference
//	time                 RFC 3339
//	dataschema           a URI with a scheme
//	datacontenttype      a media type; in binary mode the header
//	                     ce-datacontenttype, or Content-Type when that is absent;
//	                     when both are there they must agree
//	extension names      1–64 of a–z and 0–9; "data" is reserved
//	extension values     text; in structured mode also true, false and 32-bit
//	                     integers
//	text                 no control characters, no Unicode noncharacters
//	header names         any mix of cases; one name twice is invalid
//	ce- header values    percent-encoded UTF-8, see [EncodeHeaderValue]
//	structured format    JSON only, charset utf-8 only, no batches; one name twice
//	                     is invalid, as is data together with data_base64
//	JSON                 valid, UTF-8, nested at most 512 levels deep
//	size                 data and ce- headers together 256 KiB; 64 attributes;
//	                     4 KiB an attribute value
//	traceparent          the NATS headers traceparent and tracestate (lower case)
//	                     carry the trace of the publish and are no attributes;
//	                     ce-traceparent is an ordinary extension
//	Nats-Msg-Id          see [MessageID]; without it a repeated publish is stored
//	                     twice
//	other Nats- headers  what the broker says about a stored message (Nats-Stream,
//	                     -Subject, -Sequence, -Time-Stamp) is refused by signers
//
// # How binary data becomes JSON
//
// The content type decides, never the language of the producer:
//
//	datacontenttype                              the receiver sees
//	───────────────────────────────────────────  ─────────────────────────────────
//	application/json, text/json, */*+json        "data": the same bytes, untouched
//	text/*, application/xml, */*+xml in UTF-8    "data": a JSON string
//	absent, and the data is JSON                 "data": the same bytes, untouched
//	anything else                                "data_base64"
//
// Text that is not UTF-8, or holds control characters other than tab, line feed
// and carriage return, goes as data_base64 too, which bounds a body to
// [MaxBodySize].
//
// # What it must never do
//
//   - Change data: a number such as 12345678901234567890 or 1.10 reaches the
//     receiver as it was written.
//   - Give two bodies for one event: a retry is signed over the same bytes.
//   - Panic, whatever the message holds.
//   - Stop at the first mistake: [InvalidError] lists every one.
//   - Accept an event whose type or tenant is not that of its subject.
package event
