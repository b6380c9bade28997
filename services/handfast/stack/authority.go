package stack

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"time"
)

// soon is when an end is worth a word.
const soon = 30 * 24 * time.Hour

// authority reads the CA certificates and writes them anew, without whatever else stood there: a development authority
// keeps its key in the same file.
func (c *checker) authority() {
	if len(bytes.TrimSpace(c.in.CA)) == 0 {
		c.wrongf("--ca: is needed: the certificate of the CA that issues Handfast's client certificates, as PEM")
		return
	}
	var text bytes.Buffer
	count := 0
	for rest := c.in.CA; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		count++
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			c.wrongf("--ca: certificate %d cannot be read: %w", count, err)
			continue
		}
		c.issuer(certificate)
		_ = pem.Encode(&text, &pem.Block{Type: block.Type, Bytes: block.Bytes}) // into memory
	}
	if count == 0 {
		c.wrongf("--ca: has no certificate in PEM: a block that begins with -----BEGIN CERTIFICATE-----")
	}
	c.page.CA = text.String()
}

func (c *checker) issuer(certificate *x509.Certificate) {
	subject, now := certificate.Subject.String(), time.Now()
	switch end := certificate.NotAfter.UTC().Format(time.RFC3339); {
	case !certificate.IsCA || !certificate.BasicConstraintsValid:
		c.wrongf("--ca: %q is no CA certificate; give the issuer of the client certificate, not the certificate itself", subject)
	case now.After(certificate.NotAfter):
		c.wrongf("--ca: %q ended on %s", subject, end)
	case certificate.NotAfter.Sub(now) < soon:
		c.warnings = append(c.warnings, "the CA "+subject+" ends on "+end+"; give its successor, too")
	}
	if !public(certificate) {
		return
	}
	if c.kind.header != "" && c.kind.wire == escapedPEM || c.kind.uses&usesSubject != 0 {
		c.wrongf("--ca: %q is a CA that this system trusts for everybody, and %s cannot compare a SAN; use a CA that issues to Handfast only", subject, c.kind.name)
		return
	}
	c.warnings = append(c.warnings, "the CA "+subject+" is one that this system trusts for everybody: only the exact name keeps others out, and public CAs are ending client certificates")
}

// public tells whether the system trusts it. A system without roots trusts nobody.
func public(certificate *x509.Certificate) bool {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return false
	}
	_, err = certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}
