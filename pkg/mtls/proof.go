package mtls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// maxListedCAs bounds what a receiver's acceptable-CA list can add to a receipt; some listeners send every public root.
const maxListedCAs = 16

// Proof is the record of one handshake: who each side was, what was asked, what was accepted. It is written once, when
// the handshake ends, and is read-only afterwards.
type Proof struct {
	// At is when the handshake began.
	At time.Time `json:"at"`
	// Authority is the host and port that was dialled, Remote the address it led to.
	Authority string `json:"authority"`
	Remote    string `json:"remote,omitempty"`
	// ServerName is the name that the receiver's certificate had to carry.
	ServerName string `json:"server_name"`
	Version    string `json:"version,omitempty"`
	Cipher     string `json:"cipher,omitempty"`
	Curve      string `json:"curve,omitempty"`
	// ALPN is the agreed application protocol, empty when the receiver chose none.
	ALPN    string `json:"alpn,omitempty"`
	Resumed bool   `json:"resumed"`
	Server  *Party `json:"server,omitempty"`
	// Requested tells whether the receiver asked for our certificate.
	Requested bool `json:"client_certificate_requested"`
	// Client is what we presented, nil when nothing was asked.
	Client *Party `json:"client,omitempty"`
	// AcceptableCAs holds the names that the receiver listed, at most 16 of AcceptableCount.
	AcceptableCAs   []string `json:"acceptable_cas,omitempty"`
	AcceptableCount int      `json:"acceptable_ca_count,omitempty"`
	// Unlisted says in words why our certificate does not match that list or its algorithms; empty when it matches.
	Unlisted string `json:"unlisted,omitempty"`
	// Revocation says what the check for revoked certificates found, as [Finding.String] writes it; empty when the
	// trust asks nobody.
	Revocation string `json:"revocation,omitempty"`
	// Connect and Handshake are the durations of name look-up with TCP, and of TLS.
	Connect   time.Duration `json:"connect_ns"`
	Handshake time.Duration `json:"handshake_ns"`

	encode  sync.Once
	encoded []byte
}

// JSON is the proof as JSON, written once: it stands in the receipt of every request on its connection. The proof must be
// complete; the caller must not change the bytes.
func (p *Proof) JSON() []byte {
	p.encode.Do(func() {
		var err error
		if p.encoded, err = json.Marshal(p); err != nil { // times and texts always can
			p.encoded = []byte("null")
		}
	})
	return p.encoded
}

// Party is one side's certificate.
type Party struct {
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
	// Names holds the subject alternative names.
	Names     []string  `json:"names,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after"`
	// Fingerprints holds the hex SHA-256 of each certificate of the chain, leaf first.
	Fingerprints []string `json:"fingerprints"`
}

// Name is the identity in one word: the first subject alternative name, or the subject.
func (p *Party) Name() string {
	if p == nil {
		return ""
	}
	if len(p.Names) > 0 {
		return p.Names[0]
	}
	return p.Subject
}

func newParty(chain []*x509.Certificate) *Party {
	if len(chain) == 0 {
		return nil
	}
	leaf := chain[0]
	p := &Party{Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(), NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), Names: subjectNames(leaf)}
	for _, c := range chain {
		sum := sha256.Sum256(c.Raw)
		p.Fingerprints = append(p.Fingerprints, hex.EncodeToString(sum[:]))
	}
	return p
}

func subjectNames(c *x509.Certificate) []string {
	names := make([]string, 0, len(c.URIs)+len(c.DNSNames)+len(c.IPAddresses))
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	names = append(names, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return append(names, c.EmailAddresses...)
}

func (p *Proof) complete(cs tls.ConnectionState) {
	p.Version = tls.VersionName(cs.Version)
	p.Cipher = tls.CipherSuiteName(cs.CipherSuite)
	if cs.CurveID != 0 {
		p.Curve = cs.CurveID.String()
	}
	p.ALPN = cs.NegotiatedProtocol
	p.Resumed = cs.DidResume
	if p.Server == nil {
		p.Server = newParty(cs.PeerCertificates)
	}
}

func (p *Proof) requested(info *tls.CertificateRequestInfo) {
	p.Requested = true
	p.AcceptableCount = len(info.AcceptableCAs)
	for _, raw := range info.AcceptableCAs[:min(len(info.AcceptableCAs), maxListedCAs)] {
		p.AcceptableCAs = append(p.AcceptableCAs, distinguishedName(raw))
	}
}

// maxName bounds, in bytes, a name that somebody else chose: it stands in every receipt of the connection.
const maxName = 512

// distinguishedName is a name in words. T61Strings are any bytes at all, so that a name need not be text.
func distinguishedName(raw []byte) string {
	var sequence pkix.RDNSequence
	if rest, err := asn1.Unmarshal(raw, &sequence); err != nil || len(rest) > 0 {
		return "unreadable name " + hex.EncodeToString(raw[:min(len(raw), 32)])
	}
	name := strings.ToValidUTF8(sequence.String(), "\uFFFD")
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "") + "…"
	}
	return name
}

// Attributes are the span attributes of the handshake (DESIGN.md section 9), with the names of OpenTelemetry's TLS
// conventions where those exist.
func (p *Proof) Attributes() []attribute.KeyValue {
	as := []attribute.KeyValue{
		attribute.String("server.address", p.Authority),
		attribute.String("network.peer.address", p.Remote),
		attribute.String("tls.client.server_name", p.ServerName),
		attribute.Bool("tls.resumed", p.Resumed),
		attribute.Bool("handfast.client_certificate.requested", p.Requested),
	}
	text := func(key, value string) {
		if value != "" {
			as = append(as, attribute.String(key, value))
		}
	}
	text("tls.protocol.version", p.Version)
	text("tls.cipher", p.Cipher)
	text("tls.curve", p.Curve)
	text("tls.next_protocol", p.ALPN)
	text("handfast.client_certificate.unlisted", p.Unlisted)
	text("handfast.revocation", p.Revocation)
	if p.AcceptableCount > 0 {
		as = append(as, attribute.StringSlice("handfast.acceptable_cas", p.AcceptableCAs))
	}
	as = append(as, p.Server.attributes("tls.server")...)
	return append(as, p.Client.attributes("tls.client")...)
}

func (p *Party) attributes(prefix string) []attribute.KeyValue {
	if p == nil {
		return nil
	}
	return []attribute.KeyValue{
		attribute.String(prefix+".subject", p.Subject),
		attribute.String(prefix+".issuer", p.Issuer),
		attribute.String(prefix+".name", p.Name()),
		attribute.String(prefix+".not_after", p.NotAfter.Format(time.RFC3339)),
		attribute.String(prefix+".hash.sha256", p.Fingerprints[0]),
	}
}
