package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/net/http2"
)

// secureConn is a TLS connection that remembers its first read error. On TLS 1.3 that is where a refusal of our
// certificate shows, and whoever writes at that moment would otherwise see only a broken pipe.
type secureConn struct {
	*tls.Conn

	wire      *wire
	proof     *Proof
	handshake trace.SpanContext
	client    *http2.ClientConn // nil unless HTTP/2 was agreed
	starting  atomic.Bool       // HTTP/2 is being started

	mu    sync.Mutex
	first error
}

// Read remembers the first error.
func (c *secureConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.remember(err)
	}
	return n, err //nolint:wrapcheck // io.Reader must pass io.EOF through
}

// Write writes. While HTTP/2 is being started, a write that fails listens for the reason: the HTTP/2 client would close
// at once, with the alert that refuses our certificate unread.
func (c *secureConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil && c.starting.Load() {
		_ = c.SetReadDeadline(time.Now().Add(lastWord))
		var ignored [512]byte
		for range 64 {
			if _, silent := c.Read(ignored[:]); silent != nil {
				break
			}
		}
	}
	return n, err //nolint:wrapcheck // io.Writer
}

func (c *secureConn) remember(err error) {
	if isTimeout(err) {
		return // a wait that ended, not a word from the receiver
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil {
		c.first = err
	}
}

// firstReadError is the receiver's last word, or nil.
func (c *secureConn) firstReadError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}

// abort closes without waiting for the peer to take a close_notify.
func (c *secureConn) abort() { _ = c.wire.Close() }

// handshaker dials and authenticates; it holds the terms of one destination at one identity.
type handshaker struct {
	target   Target
	identity *Identity
	options  *Options
	tracer   trace.Tracer
	http2    *http2.Transport
	revoked  *Revocation
}

// open dials, shakes hands, checks both directions, and on HTTP/2 hears the receiver once. The span belongs to the
// request that caused the dial. The error is always a *Failure.
func (h *handshaker) open(ctx context.Context) (*secureConn, *Failure) {
	ctx, cancel := context.WithTimeout(ctx, h.options.HandshakeTimeout)
	defer cancel()
	ctx, span := h.tracer.Start(ctx, "tls.handshake")
	defer span.End()
	proof := &Proof{At: time.Now().UTC(), Authority: h.target.Authority, ServerName: h.target.ServerName}
	conn, failure := h.connect(ctx, proof)
	if failure == nil && proof.ALPN == "h2" {
		if err := startHTTP2(ctx, h.http2, conn); err != nil {
			conn.abort()
			failure = exchangeFailure(h.target, conn, err, false, false)
		}
	}
	if span.IsRecording() {
		span.SetAttributes(proof.Attributes()...)
	}
	if failure != nil {
		failure.Handshake = span.SpanContext()
		span.SetStatus(codes.Error, failure.Error())
		return nil, failure
	}
	conn.handshake = span.SpanContext()
	return conn, nil
}

func (h *handshaker) connect(ctx context.Context, proof *Proof) (*secureConn, *Failure) {
	raw, err := h.options.Dial(ctx, "tcp", h.target.Authority)
	proof.Connect = time.Since(proof.At)
	if err != nil {
		return nil, dialFailure(h.target, err)
	}
	if remote := raw.RemoteAddr(); remote != nil {
		proof.Remote = remote.String()
	}
	began := time.Now()
	under := newWire(raw)
	var chains [][]*x509.Certificate
	conn := &secureConn{Conn: tls.Client(under, h.config(proof, &chains)), wire: under, proof: proof}
	err = conn.HandshakeContext(ctx)
	proof.Handshake = time.Since(began)
	if err != nil {
		conn.abort()
		return nil, handshakeFailure(h.target, proof, err)
	}
	proof.complete(conn.ConnectionState())
	if h.target.Mutual == Required && !proof.Requested {
		conn.abort()
		return nil, notRequestedFailure(h.target, proof)
	}
	if err := h.checkRevocation(ctx, proof, chains, conn.ConnectionState().OCSPResponse); err != nil {
		conn.abort()
		return nil, handshakeFailure(h.target, proof, err)
	}
	return conn, nil
}

// checkRevocation stands between the handshake and the connection's first use, not in VerifyConnection: that has no
// context, and fetching a CRL must end in time.
func (h *handshaker) checkRevocation(ctx context.Context, proof *Proof, chains [][]*x509.Certificate, staple []byte) error {
	if deadline, ok := ctx.Deadline(); ok {
		// A soft check that finds nothing must leave the connection time for the rest of its beginning.
		part, cancel := context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
		ctx = part
	}
	finding, err := h.revoked.Check(ctx, chains, staple, h.target.Trust.Revocation())
	proof.Revocation = finding.String()
	return err
}

func (h *handshaker) config(proof *Proof, chains *[][]*x509.Certificate) *tls.Config {
	return &tls.Config{
		ServerName: h.target.ServerName,
		RootCAs:    h.target.Trust.RootCAs(),
		MinVersion: h.target.MinVersion.wire(),
		NextProtos: []string{"h2", "http/1.1"},
		// Certificates would silently send nothing when the receiver's list does not match; here we see the list.
		GetClientCertificate: func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			proof.requested(info)
			certificate := h.identity.Certificate()
			proof.Client = newParty(chainOf(certificate))
			if err := h.identity.Accepts(info); err != nil {
				// Present it all the same: the list is a hint (RFC 8446 section 4.2.4), some listeners send an
				// incomplete one, and a real refusal says more than a guess.
				proof.Unlisted = err.Error()
			}
			return &certificate, nil
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			proof.complete(cs)
			accepted, err := h.target.Trust.Chains(cs, h.target.ServerName, time.Now())
			*chains = accepted
			return err
		},
	}
}

func chainOf(certificate tls.Certificate) []*x509.Certificate {
	chain := make([]*x509.Certificate, 0, len(certificate.Certificate))
	for i, der := range certificate.Certificate {
		if i == 0 && certificate.Leaf != nil {
			chain = append(chain, certificate.Leaf)
			continue
		}
		if c, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, c)
		}
	}
	return chain
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
