package mtls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// PinError is a receiver whose certificate leads to a trusted root for the right
// name, but through none of the pinned keys. Either the receiver changed its
// keys without a word, or somebody stands in between: it must not be retried
// with the pins removed before a person has asked.
type PinError struct {
	ServerName string   // whom we wanted to reach
	Presented  []string // pins of the verified chains' keys, leaf first, without repetitions
}

// Error names the keys that were presented, for comparison with the receiver.
func (e *PinError) Error() string {
	return fmt.Sprintf("the certificate of %q is trusted, but none of its keys is pinned; it presented %s; "+
		"ask the receiver whether it changed its keys, and only then pin a new one",
		e.ServerName, strings.Join(e.Presented, ", "))
}

// Verify accepts or refuses the receiver's certificate. It is for
// tls.Config.VerifyConnection, which runs on resumed connections as well.
//
// serverName is the receiver's host: a DNS name or an IP address, an IPv6
// address with or without brackets. It must be among the certificate's subject
// alternative names; the common name is never looked at (RFC 9525 section 2).
//
// On a full handshake the chains that crypto/tls has verified count, as long as
// they end in this Trust's own roots. On a resumed one those chains are as old as
// the session, there are none at all with InsecureSkipVerify, and with the
// system's roots nobody can tell whose they are: then everything is verified
// here and now, for server authentication.
//
// The error wraps what crypto/x509 says (in a [*tls.CertificateVerificationError],
// as a full handshake does) or is a [*PinError].
func (t Trust) Verify(cs tls.ConnectionState, serverName string, now time.Time) error {
	_, err := t.Chains(cs, serverName, now)
	return err
}

// Chains is [Trust.Verify], and returns the chains by which the certificate is
// accepted, leaf first and root last: for [Revocation.Check].
func (t Trust) Chains(cs tls.ConnectionState, serverName string, now time.Time) ([][]*x509.Certificate, error) {
	switch {
	case len(cs.PeerCertificates) == 0:
		return nil, fmt.Errorf("%q presented no certificate", serverName)
	case serverName == "":
		return nil, errors.New("cannot verify a receiver's certificate without the receiver's name")
	}
	chains, err := t.verifiedChains(cs, serverName, now)
	if err != nil {
		return nil, fmt.Errorf("the certificate of %q is not trusted: %w", serverName,
			&tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err})
	}
	return t.pinned(chains, serverName)
}

func (t Trust) verifiedChains(cs tls.ConnectionState, serverName string, now time.Time) ([][]*x509.Certificate, error) {
	leaf := cs.PeerCertificates[0]
	if !cs.DidResume {
		if chains := t.ownChains(cs.VerifiedChains); len(chains) > 0 {
			// The TLS stack has compared the name of its own configuration,
			// which is not necessarily the one that is asked for here.
			return chains, leaf.VerifyHostname(serverName)
		}
	}
	intermediates := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	return leaf.Verify(x509.VerifyOptions{
		DNSName:       serverName,
		Roots:         t.pool,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// ownChains keeps the chains that end in one of our roots. They all do, unless a
// tls.Config was built with other roots than [Trust.RootCAs]. Which roots are
// the system's cannot be asked, so with those nothing is kept and everything is
// verified again: it costs a small part of a handshake.
func (t Trust) ownChains(chains [][]*x509.Certificate) (own [][]*x509.Certificate) {
	for _, chain := range chains {
		if len(chain) == 0 {
			continue
		}
		if _, ours := t.roots[sha256.Sum256(chain[len(chain)-1].Raw)]; ours {
			own = append(own, chain)
		}
	}
	return own
}

// pinned keeps the chains with a pinned key. It looks at verified chains only:
// what else a peer sends along is unproven, and a copy of a pinned certificate is
// easy to send.
func (t Trust) pinned(chains [][]*x509.Certificate, serverName string) (accepted [][]*x509.Certificate, err error) {
	if len(t.pins) == 0 {
		return chains, nil
	}
	var presented []string
	seen := make(map[[sha256.Size]byte]struct{})
	for _, chain := range chains {
		for _, c := range chain {
			sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
			if _, pinned := t.pins[sum]; pinned {
				accepted = append(accepted, chain)
				break
			}
			if _, repeated := seen[sum]; !repeated {
				seen[sum] = struct{}{}
				presented = append(presented, formatPin(sum))
			}
		}
	}
	if len(accepted) > 0 {
		return accepted, nil
	}
	return nil, &PinError{ServerName: serverName, Presented: presented}
}
