package mtls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of RSA keys, in bits. Below the first the key is weak (NIST SP
// 800-131A); above the second Go peers refuse the handshake.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// findLeaf returns the index of the certificate that belongs to the key. Without
// a key, or with one that fits nowhere, it is the first, so that its other
// problems are found as well.
func findLeaf(certificates []*x509.Certificate, key crypto.Signer) (int, error) {
	if key == nil {
		return 0, nil
	}
	public := key.Public()
	for n, c := range certificates {
		if k, ok := c.PublicKey.(interface{ Equal(x crypto.PublicKey) bool }); ok && k.Equal(public) {
			return n, nil
		}
	}
	if len(certificates) == 1 {
		return 0, fmt.Errorf("the private key does not belong to %s", certificateLabel(certificates[0]))
	}
	return 0, fmt.Errorf("the private key does not belong to any of the %d certificates, the first of which is %s",
		len(certificates), certificateLabel(certificates[0]))
}

// chainOrder sorts certificates into the order that goes on the wire (RFC 8446
// section 4.4.2): the leaf, then issuers, nearest first. Several certificates of
// one issuer (cross-signing) all stay. What remains is told as problems.
func chainOrder(leaf int, certificates []*x509.Certificate) (chain []*x509.Certificate, problems []string) {
	chain = []*x509.Certificate{certificates[leaf]}
	rest := slices.Delete(slices.Clone(certificates), leaf, leaf+1)
	for n := 0; n < len(chain); n++ { // chain grows while it is walked
		child := chain[n]
		rest = slices.DeleteFunc(rest, func(c *x509.Certificate) bool {
			if issuedBy(child, c) != nil {
				return false
			}
			chain = append(chain, c)
			return true
		})
	}
	for _, stray := range rest {
		problems = append(problems, strayProblem(stray, chain))
	}
	return chain, problems
}

var errOtherIssuer = errors.New("issued by another name")

// issuedBy returns nil when parent issued child. A SHA-1 signature, which the
// standard library will not check, counts as right here; checkSignature reports
// it on its own.
func issuedBy(child, parent *x509.Certificate) error {
	if !bytes.Equal(child.RawIssuer, parent.RawSubject) {
		return errOtherIssuer
	}
	err := child.CheckSignatureFrom(parent)
	if _, insecure := errors.AsType[x509.InsecureAlgorithmError](err); insecure {
		return nil
	}
	return err
}

func strayProblem(stray *x509.Certificate, chain []*x509.Certificate) string {
	for _, child := range chain {
		if err := issuedBy(child, stray); !errors.Is(err, errOtherIssuer) {
			return fmt.Sprintf("%s carries the name of the issuer of %s but did not sign it (%v): "+
				"use the issuer's certificate that came with this one", certificateLabel(stray), certificateLabel(child), err)
		}
	}
	return fmt.Sprintf("%s is not part of the chain of %s: remove it", certificateLabel(stray), certificateLabel(chain[0]))
}

// checkLeaf finds everything that would make receivers refuse the certificate.
func checkLeaf(c *x509.Certificate, now time.Time) []string {
	label := certificateLabel(c)
	problems := checkValidity(label, c, now)
	if c.BasicConstraintsValid && c.IsCA {
		problems = append(problems, label+" is a CA: a CA signs certificates and is never presented as an identity itself")
	}
	if !allowsClientAuth(c) {
		problems = append(problems, label+" may not be used as a client certificate: "+
			"its extended key usage lacks clientAuth; have it issued for TLS client authentication")
	}
	// A certificate without the extension may be used for anything (RFC 5280
	// section 4.2.1.3). Every handshake that we make signs.
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		problems = append(problems, label+" may not sign a TLS handshake: its key usage lacks digitalSignature")
	}
	problems = append(problems, checkPublicKey(label, c)...)
	return append(problems, checkSignature(label, c)...)
}

// checkIssuers looks at the rest of the chain. A root is the receiver's own
// business: it uses its own copy, and nobody checks a root's signature.
func checkIssuers(issuers []*x509.Certificate, now time.Time) (problems []string) {
	for _, c := range issuers {
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			continue
		}
		label := "issuing " + certificateLabel(c)
		problems = append(problems, checkValidity(label, c, now)...)
		if !allowsClientAuth(c) {
			problems = append(problems, label+" may not issue client certificates: its extended key usage lacks clientAuth")
		}
		problems = append(problems, checkPublicKey(label, c)...)
		problems = append(problems, checkSignature(label, c)...)
	}
	return problems
}

// checkValidity speaks of absolute times only, so that one problem has one text
// however often it is found.
func checkValidity(label string, c *x509.Certificate, now time.Time) []string {
	switch {
	case now.After(c.NotAfter):
		return []string{fmt.Sprintf("%s expired on %s: renew it", label, utc(c.NotAfter))}
	case now.Before(c.NotBefore):
		return []string{fmt.Sprintf("%s is not valid before %s: wait, or check the clock of this machine", label, utc(c.NotBefore))}
	default:
		return nil
	}
}

// allowsClientAuth holds for a certificate without the extension, too (RFC 5280
// section 4.2.1.12): such certificates are accepted by receivers.
func allowsClientAuth(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

func checkPublicKey(label string, c *x509.Certificate) []string {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return []string{fmt.Sprintf("%s has an RSA key of %d bits: use %d to %d bits, or better ECDSA P-256",
				label, bits, minRSABits, maxRSABits)}
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P224() {
			return []string{label + " has a key on the curve P-224, which TLS 1.3 does not have: use P-256"}
		}
	case ed25519.PublicKey:
	default:
		return []string{fmt.Sprintf("%s has a kind of key (%s) that TLS 1.3 does not have: use ECDSA P-256", label, c.PublicKeyAlgorithm)}
	}
	return nil
}

func checkSignature(label string, c *x509.Certificate) []string {
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.DSAWithSHA256, x509.ECDSAWithSHA1:
		return []string{fmt.Sprintf("%s is signed with %s, which receivers reject: have it issued again with SHA-256",
			label, c.SignatureAlgorithm)}
	case x509.UnknownSignatureAlgorithm:
		return []string{label + " is signed with an algorithm that TLS stacks do not know: have it issued again with SHA-256"}
	default:
		return nil
	}
}
