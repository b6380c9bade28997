package mtls

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// pinPrefix names the hash of a pin; it is the only one there is.
const pinPrefix = "sha256/"

// Trust is by which rules a receiver's certificate is accepted: which roots it
// must lead to and, optionally, which public keys must appear on the way and
// whether its issuers are asked if they have withdrawn it. It is a value that
// never changes and may be shared. The zero value trusts the roots of the
// operating system, pins nothing and asks nobody.
type Trust struct {
	pool        *x509.CertPool                 // nil: the system's roots
	roots       map[[sha256.Size]byte]struct{} // SHA-256 of each root's DER; nil with the system's roots
	pins        map[[sha256.Size]byte]struct{} // SHA-256 of a SubjectPublicKeyInfo
	revocation  RevocationPolicy
	fingerprint string
}

// NewTrust makes a Trust of these roots, or of the system's if roots is nil. A
// list that is empty but not nil is an error: it would trust nobody, and a
// caller that filtered its list to nothing does not mean everybody.
//
// A pin is "sha256/" and the standard base64 of the SHA-256 of a certificate's
// SubjectPublicKeyInfo, as in RFC 7469; see [Pin]. Pin a CA's key, or a key that
// its owner keeps across renewals, and always pin a second one that is kept in
// reserve: receivers' certificates change every few weeks.
//
// The error tells everything that is wrong at once.
func NewTrust(roots []*x509.Certificate, pins []string) (Trust, error) {
	var t Trust
	var problems []error
	if roots != nil {
		t.pool = x509.NewCertPool()
		t.roots = make(map[[sha256.Size]byte]struct{}, len(roots))
		if len(roots) == 0 {
			problems = append(problems, errors.New("the list of roots is empty, so no receiver would be trusted: "+
				"give a root, or leave the list out to trust the system's"))
		}
	}
	for n, root := range roots {
		if root == nil {
			problems = append(problems, fmt.Errorf("root %d is missing", n+1))
			continue
		}
		t.pool.AddCert(root)
		t.roots[sha256.Sum256(root.Raw)] = struct{}{}
	}
	t.pins = make(map[[sha256.Size]byte]struct{}, len(pins))
	for n, pin := range pins {
		sum, err := parsePin(pin)
		if err != nil {
			problems = append(problems, fmt.Errorf("pin %d (%q): %w", n+1, pin, err))
			continue
		}
		t.pins[sum] = struct{}{}
	}
	if len(problems) > 0 {
		return Trust{}, fmt.Errorf("trust cannot be used: %w", errors.Join(problems...))
	}
	t.fingerprint = trustFingerprint(t.roots, t.pins, t.revocation)
	return t, nil
}

// WithRevocation is the same trust under another policy on revoked certificates.
// [Trust.Verify] does not apply it, because it has no time to ask anybody: a pool
// does, after the handshake and before the first request; see [Revocation].
func (t Trust) WithRevocation(policy RevocationPolicy) Trust {
	t.revocation = policy
	t.fingerprint = trustFingerprint(t.roots, t.pins, policy)
	return t
}

// Revocation is the policy on revoked certificates.
func (t Trust) Revocation() RevocationPolicy { return t.revocation }

// Pin is the pin of a certificate's public key, in the form that [NewTrust]
// takes.
func Pin(c *x509.Certificate) string { return formatPin(sha256.Sum256(c.RawSubjectPublicKeyInfo)) }

func formatPin(sum [sha256.Size]byte) string {
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

func parsePin(pin string) (sum [sha256.Size]byte, err error) {
	encoded, ok := strings.CutPrefix(pin, pinPrefix)
	if !ok {
		return sum, fmt.Errorf("must begin with %q", pinPrefix)
	}
	// Strict, so that one key has exactly one spelling, and with the check for
	// line ends that the decoder would skip.
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	switch {
	case err != nil || strings.ContainsAny(encoded, "\r\n"):
		return sum, errors.New("is not standard base64 with padding")
	case len(raw) != sha256.Size:
		return sum, fmt.Errorf("has %d bytes, and a SHA-256 has %d", len(raw), sha256.Size)
	}
	return [sha256.Size]byte(raw), nil
}

// RootCAs is for tls.Config.RootCAs: a copy of the roots, or nil, which stands
// for the system's roots there as well.
func (t Trust) RootCAs() *x509.CertPool {
	if t.pool == nil {
		return nil
	}
	return t.pool.Clone()
}

// Fingerprint is a SHA-256 in lower-case hex over roots, pins and policy. Two
// Trusts with the same content have the same fingerprint, in whatever order it
// was given. The system's roots count as one constant: what the operating system
// changes underneath is not seen.
func (t Trust) Fingerprint() string {
	if t.fingerprint == "" {
		return trustFingerprint(t.roots, t.pins, t.revocation)
	}
	return t.fingerprint
}

func trustFingerprint(roots, pins map[[sha256.Size]byte]struct{}, revocation RevocationPolicy) string {
	h := sha256.New()
	if roots == nil {
		h.Write([]byte("system roots\n"))
	}
	for _, sum := range sortedSums(roots) {
		h.Write(fmt.Appendf(nil, "root %x\n", sum))
	}
	for _, sum := range sortedSums(pins) {
		h.Write(fmt.Appendf(nil, "pin %x\n", sum))
	}
	if revocation != RevocationIgnore {
		h.Write(fmt.Appendf(nil, "revocation %d\n", revocation))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sortedSums(set map[[sha256.Size]byte]struct{}) [][sha256.Size]byte {
	return slices.SortedFunc(maps.Keys(set), func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
}
