package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
)

// stage is how far a connection came.
type stage uint8

const (
	atConnect stage = iota + 1
	atHandshake
	atExchange
	done
)

// probe is one connection: what was presented, and what came of it.
type probe struct {
	presented Identity
	stage     stage
	err       error // what ended it before an answer

	state     tls.ConnectionState // as far as known; PeerCertificates are set once they have passed trust
	refused   []*x509.Certificate // the receiver's chain, when it did not
	chains    [][]*x509.Certificate
	finding   mtls.Finding // what is known of their revocation
	requested bool         // the receiver asked for a certificate
	cas       []string     // whose; empty when it does not say
	unlisted  error        // why what was presented does not fit that request
	banner    []byte       // the first bytes from the other side
	answer    answer
}

// untrusted is the receiver's chain and why we refused it, if we did.
func (p *probe) untrusted() ([]*x509.Certificate, error) {
	if verification, ok := errors.AsType[*tls.CertificateVerificationError](p.err); ok {
		return verification.UnverifiedCertificates, verification.Err
	}
	if len(p.refused) > 0 {
		return p.refused, p.err
	}
	return nil, nil
}

// terms are what differs between one probe and another.
type terms struct {
	presented Identity
	// roots and name and now replace those of the endpoint, for a look at a receiver that is not trusted.
	look *look
	// versions and ciphers beyond what deliveries use, to find out what the receiver does speak.
	old bool
	// path and host are what is asked for; no request is sent when path is empty.
	path, host string
	protocol   string // ALPN
}

// look is a way to see past a certificate that is not trusted, without trusting it for anything.
type look struct {
	chain []*x509.Certificate
	name  string
	now   time.Time
}

// try makes one connection. Its errors are in the probe.
func (e *examination) try(ctx context.Context, t terms) *probe {
	ctx, cancel := context.WithTimeout(ctx, e.options.Timeout)
	defer cancel()
	p := &probe{presented: t.presented, stage: atConnect}
	raw, err := e.options.Dial(ctx, "tcp", e.address)
	if err != nil {
		p.err = err
		return p
	}
	defer raw.Close() //nolint:errcheck // the probe has its answer
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline) // a connection that cannot have one ends by the context
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	under := &wire{Conn: raw}
	p.stage = atHandshake
	conn := tls.Client(under, e.config(t, p))
	p.err = conn.HandshakeContext(ctx)
	p.banner = under.banner()
	if p.err != nil {
		if ctx.Err() != nil {
			p.err = ctx.Err()
		}
		return p
	}
	p.state = conn.ConnectionState()
	if t.path == "" {
		p.stage = done
		return p
	}
	// Before the request, and on every connection: another one may show another certificate.
	if t.look == nil {
		if p.finding, p.err = e.options.Revocation.Check(ctx, p.chains, p.state.OCSPResponse, e.target.Trust.Revocation()); p.err != nil {
			return p
		}
	}
	p.stage = atExchange
	p.answer, p.err = ask(ctx, conn, request{path: t.path, host: t.host, origin: e.options.Origin}, e.options.Now)
	if p.err == nil {
		p.stage = done
	} else if ctx.Err() != nil {
		p.err = ctx.Err()
	}
	return p
}

// config is that of a delivery, but for what the terms change. There is no session cache: each probe is judged anew.
func (e *examination) config(t terms, p *probe) *tls.Config {
	c := &tls.Config{
		ServerName: e.target.serverName(), RootCAs: e.target.Trust.RootCAs(), MinVersion: e.target.minVersion(),
		NextProtos: []string{t.protocol}, Time: e.options.Now,
		// Certificates would silently send nothing when the receiver's list does not match.
		GetClientCertificate: func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			p.requested = true
			for _, raw := range info.AcceptableCAs {
				p.cas = append(p.cas, distinguishedName(raw))
			}
			if t.presented.pair == nil {
				return &tls.Certificate{}, nil
			}
			if t.presented.accepts != nil {
				p.unlisted = t.presented.accepts(info)
			}
			return t.presented.pair, nil
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			var chains [][]*x509.Certificate
			if t.look == nil {
				var err error
				chains, err = e.target.Trust.Chains(cs, e.target.serverName(), e.options.Now())
				if err != nil {
					p.refused = cs.PeerCertificates
					return err //nolint:wrapcheck // says what already
				}
			}
			p.state, p.chains = cs, chains
			return nil
		},
	}
	if t.look != nil {
		c.RootCAs = x509.NewCertPool()
		for _, certificate := range t.look.chain {
			c.RootCAs.AddCert(certificate)
		}
		c.ServerName = t.look.name
		c.Time = func() time.Time { return t.look.now }
	}
	if t.old {
		c.MinVersion = tls.VersionTLS10
		for _, suites := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
			for _, suite := range suites {
				c.CipherSuites = append(c.CipherSuites, suite.ID)
			}
		}
	}
	return c
}

// distinguishedName reads a name of the receiver's list.
func distinguishedName(der []byte) string {
	var sequence pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &sequence); err != nil || len(rest) > 0 {
		return fmt.Sprintf("(a name that cannot be read, %d bytes)", len(der))
	}
	return sequence.String()
}

// reach opens a TCP connection to the first address that takes one, and closes it again.
func (e *examination) reach(ctx context.Context, addresses []string) (failed []string, err error) {
	for _, address := range addresses {
		var conn net.Conn
		conn, err = func() (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, e.options.Timeout)
			defer cancel()
			return e.options.Dial(ctx, "tcp", address)
		}()
		if err == nil {
			_ = conn.Close()
			e.address = address
			return failed, nil
		}
		failed = append(failed, address)
	}
	return failed, err //nolint:wrapcheck // put into words by the caller
}
