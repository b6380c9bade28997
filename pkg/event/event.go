package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// Limits of one event. A message beyond them is invalid.
const (
	// MaxSize is how many bytes the data and the ce- headers (names and values
	// as sent) may have together.
	MaxSize = 256 << 10
	// MaxAttributes is how many attributes an event may have, required ones
	// and extensions together.
	MaxAttributes = 64
	// MaxAttributeSize is how many bytes one attribute value may have, decoded.
	MaxAttributeSize = 4 << 10
	// MaxBodySize is an upper bound in bytes of what [Event.Body] returns for a
	// valid event. Text doubles at worst, when every character needs a
	// backslash.
	MaxBodySize = 2*MaxSize + 8<<10
)

// Mode is how an event was published.
type Mode uint8

// The two modes of the CloudEvents NATS binding. The zero Mode is neither.
const (
	// Binary is attributes in ce- headers and data as the message data.
	Binary Mode = iota + 1
	// Structured is the whole event as one JSON object.
	Structured
)

// String returns "binary" or "structured", and "unknown" for any other value.
func (m Mode) String() string {
	switch m {
	case Binary:
		return "binary"
	case Structured:
		return "structured"
	default:
		return "unknown"
	}
}

// form says how the data stands in the JSON event.
type form uint8

const (
	noData form = iota
	jsonData
	textData
	base64Data
)

// Event is one valid CloudEvent as it was published. [Parse] makes it; it never
// changes afterwards and is safe for concurrent use. The zero Event is no event:
// its attributes are empty and its Body is an error.
type Event struct { //nolint:recvcheck // values for callers; pointers only while it is read
	attributes

	tenant    string
	mode      Mode
	at        time.Time
	published []byte // the message data
	payload   []byte // binary: the data; structured: the JSON text of data or data_base64
	form      form
}

// Tenant returns whose event it is, from the NATS subject.
func (e Event) Tenant() string { return e.tenant }

// ID returns the attribute id.
func (e Event) ID() string { return e.core[attrID] }

// Source returns the attribute source exactly as it was published.
func (e Event) Source() string { return e.core[attrSource] }

// Type returns the attribute type, which is also the end of the NATS subject.
func (e Event) Type() string { return e.core[attrType] }

// Subject returns the CloudEvents attribute subject, or "" when it is absent. It
// is not the NATS subject.
func (e Event) Subject() string { return e.core[attrSubject] }

// Time returns the attribute time, or the zero time when it is absent.
func (e Event) Time() time.Time { return e.at }

// Mode returns how the event was published.
func (e Event) Mode() Mode { return e.mode }

// Digest is the identity of an event, CloudEvents 1.0 section "source": the pair
// of source and id. It is SHA-256 over both, each preceded by its length in
// bytes as eight bytes, big-endian, so that no two pairs share an encoding.
func (e Event) Digest() [sha256.Size]byte { return digest(e.Source(), e.ID()) }

// MessageID returns the Nats-Msg-Id of an event, by which the broker drops a
// repeated publish inside its duplicate window. It is base64url without padding
// of the first 18 bytes of SHA-256 over tenant, source and id, each preceded by
// its length in bytes as eight bytes, big-endian: 24 characters.
//
// The tenant is part of it because the window belongs to the whole stream: two
// tenants that both name an event /orders 1 must not drop each other's.
func MessageID(tenant, source, id string) string {
	sum := digest(tenant, source, id)
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

func digest(parts ...string) [sha256.Size]byte {
	var space [256]byte // enough for nearly every event, and it stays on the stack
	encoded := space[:0]
	for _, part := range parts {
		encoded = binary.BigEndian.AppendUint64(encoded, uint64(len(part)))
		encoded = append(encoded, part...)
	}
	return sha256.Sum256(encoded)
}

// CloudEvent returns the event in the model of the CloudEvents SDK, for CESQL
// filters. It is built anew on every call and belongs to the caller. The SDK
// keeps source and dataschema as parsed URLs and may write them a little
// differently, for example with their scheme in lower case.
func (e Event) CloudEvent() cloudevents.Event {
	out := cloudevents.New(cloudevents.CloudEventsVersionV1)
	out.SetID(e.ID())
	out.SetSource(e.Source())
	out.SetType(e.Type())
	if e.has(attrSubject) {
		out.SetSubject(e.Subject())
	}
	if e.has(attrTime) {
		out.SetTime(e.at)
	}
	if e.has(attrContentType) {
		out.SetDataContentType(e.core[attrContentType])
	}
	if e.has(attrSchema) {
		out.SetDataSchema(e.core[attrSchema])
	}
	for _, extension := range e.extensions {
		out.SetExtension(extension.name, extension.native())
	}
	out.DataEncoded = e.data()
	out.DataBase64 = e.form == base64Data
	return out
}

// data returns a copy of the data as the producer meant it: JSON text for JSON,
// the decoded bytes for everything else.
func (e Event) data() []byte {
	switch {
	case e.form == noData:
		return nil
	case e.mode == Binary || e.form == jsonData:
		return bytes.Clone(e.payload)
	case e.form == textData:
		text, _ := unquote(e.payload)
		return []byte(text)
	default:
		text, _ := unquote(e.payload)
		decoded, _ := base64.StdEncoding.DecodeString(text) // Parse has checked it
		return decoded
	}
}
