package mtls

import (
	"crypto/tls"
	"net/http"

	"go.opentelemetry.io/otel/trace"
)

// Mutual says what an exchange demands of the receiver beyond its own certificate.
type Mutual uint8

// The demands.
const (
	// Required: nothing is sent unless the receiver asks for our certificate. The zero value demands this too.
	Required Mutual = iota
	// Requested: our certificate is presented when the receiver asks, and a receiver that does not ask is served.
	Requested
)

// MinVersion is the lowest version of TLS that is spoken. It is a closed list; a value outside it is as strict as the
// last one.
type MinVersion uint8

// The versions.
const (
	// TLS12 is TLS 1.2 (RFC 5246) or newer. The zero value.
	TLS12 MinVersion = iota
	// TLS13 is TLS 1.3 (RFC 8446) or newer.
	TLS13
)

func (v MinVersion) wire() uint16 {
	if v == TLS12 {
		return tls.VersionTLS12
	}
	return tls.VersionTLS13
}

// Target is with whom to speak, and on which terms.
type Target struct {
	// Authority is host:port, with the port always present.
	Authority string
	// ServerName is the name that the receiver's certificate must carry; also sent as SNI unless it is an address.
	ServerName string
	Identity   Source
	Trust      Trust
	Mutual     Mutual
	MinVersion MinVersion
}

// Request is one HTTP request. Its body is in memory.
type Request struct {
	Method string
	// Path is the request target: path and query.
	Path string
	// Host is the Host header, usually the URL's own authority.
	Host string
	// Header holds end-to-end fields. Host, Content-Length, Expect, User-Agent, the trace context and hop-by-hop
	// fields are the pool's own and are left out when they stand here.
	Header http.Header
	Body   []byte
}

// Response is what the receiver answered.
type Response struct {
	Status int
	Header http.Header
	// Body holds the beginning, at most 4 KiB; the rest was drained or cut.
	Body []byte
	// Proof is the record of the handshake that opened the connection.
	Proof *Proof
	// Handshake is the span of that handshake.
	Handshake trace.SpanContext
	// Reused tells that the connection had carried a request before.
	Reused bool
	// BodySent tells that at least one byte of the message body may have left: a receiver can answer the header alone.
	BodySent bool
}
