package listener

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Handshake is one TLS handshake as the receiver saw it, whether it succeeded or not.
type Handshake struct {
	At time.Time `json:"at"`
	// Remote is the caller's address.
	Remote string `json:"remote,omitempty"`
	// Version, Cipher, Curve and Protocol are what was agreed, as far as it came.
	Version  string `json:"version,omitempty"`
	Cipher   string `json:"cipher,omitempty"`
	Curve    string `json:"curve,omitempty"`
	Protocol string `json:"alpn,omitempty"`
	// ServerName is the name that the caller asked for.
	ServerName string `json:"server_name,omitempty"`
	Resumed    bool   `json:"resumed"`
	// Chain is what the caller presented, leaf first, verified or not.
	Chain []Certificate `json:"chain,omitempty"`
	// Checked says, in words, what was verified. It is empty when the handshake failed.
	Checked []string `json:"checked,omitempty"`
	// Refusal says why it failed, in words; empty when it succeeded.
	Refusal string `json:"refusal,omitempty"`
	// Took is from the accepted connection to the end of the handshake.
	Took time.Duration `json:"took_ns,omitempty"`
}

// Certificate is one of a chain.
type Certificate struct {
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
	// Names are the subject alternative names.
	Names     []string  `json:"names,omitempty"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// Fingerprint is the SHA-256 of the certificate in hex.
	Fingerprint string `json:"sha256"`
}

// handshakeTime is how long a caller may take for it.
const handshakeTime = 10 * time.Second

// shake performs the handshake and describes it.
func (l *Listener) shake(ctx context.Context, raw net.Conn) (*tls.Conn, Handshake) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	connection := tls.Server(raw, l.config)
	err := connection.HandshakeContext(ctx)
	h := l.describe(connection.ConnectionState())
	h.At, h.Remote, h.Took = began.UTC(), raw.RemoteAddr().String(), time.Since(began)
	if err != nil {
		h.Refusal, h.Checked = refusal(err), nil
		if unverified := new(tls.CertificateVerificationError); errors.As(err, &unverified) {
			h.Chain = chain(unverified.UnverifiedCertificates)
		}
	}
	return connection, h
}

// refusal adds to an error whose turn it is.
func refusal(err error) string {
	remote := new(net.OpError)
	switch text := err.Error(); {
	case errors.As(err, &remote) && remote.Op == "remote error":
		return "the caller refused our certificate: " + text
	case strings.Contains(text, "EOF") || strings.Contains(text, "connection reset"):
		return "the caller hung up in the middle of it: " + text
	default:
		return text
	}
}

func (l *Listener) describe(state tls.ConnectionState) Handshake {
	h := Handshake{Protocol: state.NegotiatedProtocol, ServerName: state.ServerName, Resumed: state.DidResume, Chain: chain(state.PeerCertificates)}
	if state.Version != 0 {
		h.Version = tls.VersionName(state.Version)
	}
	if state.CipherSuite != 0 {
		h.Cipher = tls.CipherSuiteName(state.CipherSuite)
	}
	if state.CurveID != 0 {
		h.Curve = state.CurveID.String()
	}
	if len(state.VerifiedChains) > 0 {
		verified := state.VerifiedChains[0]
		name, _ := l.caller(verified[0])
		h.Checked = []string{
			"issued under " + verified[len(verified)-1].Subject.String(), "for clients (clientAuth)", "valid now",
			"key proved by its signature over this handshake", "name " + name + " compared whole",
		}
	}
	return h
}

func chain(certificates []*x509.Certificate) []Certificate {
	all := make([]Certificate, 0, len(certificates))
	for _, c := range certificates {
		sum := sha256.Sum256(c.Raw)
		all = append(all, Certificate{
			Subject: c.Subject.String(), Issuer: c.Issuer.String(), Names: names(c),
			NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), Fingerprint: hex.EncodeToString(sum[:]),
		})
	}
	return all
}

func names(c *x509.Certificate) []string {
	all := make([]string, 0, len(c.URIs)+len(c.DNSNames)+len(c.IPAddresses))
	for _, uri := range c.URIs {
		all = append(all, uri.String())
	}
	all = append(all, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return append(all, c.EmailAddresses...)
}

// caller gives the name by which the certificate's owner may call: one that is on the list, as a whole (RFC 9525). URIs
// are compared byte by byte, DNS names without regard to case.
func (l *Listener) caller(c *x509.Certificate) (string, error) {
	for _, allowed := range l.options.Clients {
		for _, uri := range c.URIs {
			if uri.String() == allowed {
				return allowed, nil
			}
		}
		if slices.ContainsFunc(c.DNSNames, func(name string) bool { return strings.EqualFold(name, allowed) }) {
			return allowed, nil
		}
	}
	return "", fmt.Errorf("the certificate is of our CA, but its names are %s, and only %s may call here; --client NAME lets another one in",
		orNone(names(c)), strings.Join(l.options.Clients, ", "))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// allow runs in every handshake, after the chain has been verified.
func (l *Listener) allow(state tls.ConnectionState) error {
	if len(state.VerifiedChains) == 0 {
		return errors.New("the client's certificate was not verified")
	}
	_, err := l.caller(state.VerifiedChains[0][0])
	return err
}

// proved is a net.Listener whose connections have a handshake behind them, so that one slow caller keeps nobody waiting
// and each handshake can be told.
type proved struct {
	net.Listener

	ready chan net.Conn
	ended chan struct{}
}

func (p *proved) Accept() (net.Conn, error) {
	select {
	case connection := <-p.ready:
		return connection, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

// prove accepts until the listener is closed.
func (l *Listener) prove(ctx context.Context, p *proved) {
	defer close(p.ended)
	for {
		raw, err := p.Listener.Accept()
		if err != nil {
			if temporary := net.Error(nil); errors.As(err, &temporary) && temporary.Timeout() {
				continue
			}
			return
		}
		go func() {
			connection, h := l.shake(ctx, raw)
			l.shook(h)
			if h.Refusal != "" {
				_ = connection.Close() // the alert has been sent
				return
			}
			select {
			case p.ready <- connection:
			case <-p.ended:
				_ = connection.Close() // nobody serves it any more
			}
		}()
	}
}

func (l *Listener) shook(h Handshake) {
	if l.options.Shook == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.options.Shook(h)
}
