package endpoint

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
)

const systemRoots = "system"

func (b builder) trust() Trust {
	given := section(section(b.root, "tls"), "trust")
	var out Trust
	switch roots := given["roots"].(type) {
	case string:
		if roots != systemRoots && b.found.clean("tls.trust.roots") {
			out.RootsPEM = []string{roots}
			out.Roots = b.certificates("tls.trust.roots", roots)
		}
	case []any:
		out.RootsPEM = list(given, "roots")
		for i, text := range out.RootsPEM {
			if path := element("tls.trust.roots", i); b.found.clean(path) {
				out.Roots = append(out.Roots, b.certificates(path, text)...)
			}
		}
		b.distinct("tls.trust.roots", out.RootsPEM)
	}
	out.Pins = list(given, "pins")
	for i, pin := range out.Pins {
		b.pin(element("tls.trust.pins", i), pin)
	}
	b.distinct("tls.trust.pins", out.Pins)
	switch text(given, "revocation") {
	case RevocationSoft.String():
		out.Revocation = RevocationSoft
	case RevocationHard.String():
		out.Revocation = RevocationHard
	}
	return out
}

// pin checks what the schema's pattern leaves open: base64 whose last character
// carries bits that mean nothing has several spellings of one pin, and two
// spellings must not count as two pins.
func (b builder) pin(path, pin string) {
	if !b.found.clean(path) {
		return
	}
	digest, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(pin, "sha256/"))
	if err != nil || len(digest) != 32 {
		b.found.addf(path, "%s is not allowed: %s", quote(pin), rule("tls.trust.pins[]"))
	}
}

// certificates reads one PEM text. Anything between the blocks is a comment, as
// bundles have it; a block that is damaged is not.
func (b builder) certificates(path, text string) []*x509.Certificate {
	if !strings.Contains(text, "-----BEGIN ") {
		if text == systemRoots {
			b.found.addf(path, `"system" cannot stand in a list: write roots: system, or list PEM texts only`)
		} else {
			b.found.addf(path, "is not PEM text: %s", rootsRule) // not quoted: it may be a key
		}
		return nil
	}
	var roots []*x509.Certificate
	rest, count := []byte(text), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		count++
		if root := b.judge(path, count, block); root != nil {
			roots = append(roots, root)
		}
	}
	if count < strings.Count(text, "-----BEGIN ") {
		b.found.addf(path, "holds a PEM block that is damaged or cut off: copy the certificates again")
	}
	return roots
}

// judge judges the block with the given number (from 1).
func (b builder) judge(path string, number int, block *pem.Block) *x509.Certificate {
	which := fmt.Sprintf("block %d", number)
	switch {
	case strings.Contains(block.Type, "PRIVATE KEY"):
		b.found.addf(path, "%s is a private key: remove it, no document ever needs one, and replace that key if others could read it", which)
		return nil
	case block.Type != "CERTIFICATE":
		b.found.addf(path, "%s is %s; only CERTIFICATE blocks are accepted", which, quote(block.Type))
		return nil
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		b.found.addf(path, "%s is not a readable certificate: %s", which, strings.TrimPrefix(err.Error(), "x509: "))
		return nil
	}
	which = fmt.Sprintf("certificate %d (%s)", number, quote(certificate.Subject.String()))
	switch {
	case !certificate.IsCA || !certificate.BasicConstraintsValid:
		b.found.addf(path, "%s is not a CA: give the root that issued it", which)
	case certificate.KeyUsage != 0 && certificate.KeyUsage&x509.KeyUsageCertSign == 0:
		b.found.addf(path, "%s is a CA that may not sign certificates (key usage): give the right root", which)
	}
	if !b.now.IsZero() && b.now.After(certificate.NotAfter) {
		b.found.addf(path, "%s expired on %s: remove it or give its successor", which, certificate.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
	}
	return certificate
}
