package mtls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
)

// maxChain bounds the work that one file can cause. Real chains have two to
// four certificates.
const maxChain = 16

// parseCertificates reads every certificate of a PEM text, without repetitions.
func parseCertificates(text []byte) (certificates []*x509.Certificate, problems []string) {
	blocks, problems := pemBlocks("certificate", text)
	for n, block := range blocks {
		switch {
		case block.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				problems = append(problems, fmt.Sprintf("certificate %d of the certificate PEM cannot be read: %v", n+1, err))
				continue
			}
			if !containsCertificate(certificates, c) {
				certificates = append(certificates, c)
			}
		case isKeyBlock(block.Type):
			// A combined file, with the key beside the certificate, is common.
		default:
			problems = append(problems, "the certificate PEM holds "+foreignBlock(block.Type))
		}
	}
	if len(certificates) > maxChain {
		problems = append(problems, fmt.Sprintf("the certificate PEM holds %d certificates, more than the %d that make sense: "+
			"give the client certificate and its intermediates, not a bundle of roots", len(certificates), maxChain))
		certificates = certificates[:maxChain]
	}
	if len(certificates) == 0 && len(problems) == 0 {
		problems = append(problems, "the certificate PEM holds no certificate")
	}
	return certificates, problems
}

func containsCertificate(certificates []*x509.Certificate, c *x509.Certificate) bool {
	for _, have := range certificates {
		if have.Equal(c) {
			return true
		}
	}
	return false
}

// parsePrivateKey reads the one private key of a PEM text. Its problems never
// quote a parser's error: that is the one place where key bytes could leak.
func parsePrivateKey(text []byte) (key crypto.Signer, problems []string) {
	blocks, problems := pemBlocks("key", text)
	found := 0
	for _, block := range blocks {
		switch {
		case !isKeyBlock(block.Type) && block.Type == "CERTIFICATE", block.Type == "EC PARAMETERS":
			continue // a combined file; parameters that OpenSSL writes before an EC key
		case !isKeyBlock(block.Type):
			problems = append(problems, "the key PEM holds "+foreignBlock(block.Type))
			continue
		}
		found++
		k, problem := parseKeyBlock(block)
		if problem != "" {
			problems = append(problems, problem)
			continue
		}
		key = k
	}
	switch {
	case found == 0 && len(problems) == 0:
		problems = append(problems, "the key PEM holds no private key")
	case found > 1:
		problems = append(problems, fmt.Sprintf("the key PEM holds %d private keys: give exactly one", found))
	}
	return key, problems
}

func parseKeyBlock(block *pem.Block) (key crypto.Signer, problem string) {
	// RFC 1421 headers are how OpenSSL encrypts the older formats.
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, "the private key is encrypted with a passphrase, which nobody is there to type: " +
			"decrypt it (openssl pkey -in … -out …) and protect the file instead"
	}
	switch k := decodeKey(block).(type) {
	case *rsa.PrivateKey:
		return k, ""
	case *ecdsa.PrivateKey:
		return k, ""
	case ed25519.PrivateKey:
		return k, ""
	case nil:
		return nil, fmt.Sprintf("the private key (PEM type %q) cannot be read: it is damaged, or not PKCS #8, PKCS #1 or SEC 1", block.Type)
	default:
		return nil, fmt.Sprintf("a private key of kind %T cannot sign a TLS handshake: use ECDSA, RSA or Ed25519", k)
	}
}

// decodeKey tries the three formats whatever the label says, because labels in
// the wild are wrong often enough. It returns nil when none fits.
func decodeKey(block *pem.Block) any {
	if k, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return k
	}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k
	}
	if k, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return k
	}
	return nil
}

func isKeyBlock(kind string) bool {
	switch kind {
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return true
	default:
		return false
	}
}

func foreignBlock(kind string) string {
	switch kind {
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return "a certificate signing request, not a certificate: send it to the CA and use what comes back"
	case "PKCS7", "CMS":
		return "a PKCS #7 bundle: convert it with openssl pkcs7 -print_certs"
	case "TRUSTED CERTIFICATE":
		return "an OpenSSL trusted certificate: convert it with openssl x509"
	case "OPENSSH PRIVATE KEY":
		return "an OpenSSH key: convert it with ssh-keygen -p -m PKCS8"
	default:
		return fmt.Sprintf("a block of type %q that does not belong there", kind)
	}
}

// pemBlocks decodes all blocks. pem.Decode skips silently what it cannot read,
// which would turn a half-written file into a shorter chain, so the number of
// beginnings is compared with the number of blocks.
func pemBlocks(what string, text []byte) (blocks []*pem.Block, problems []string) {
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return nil, []string{fmt.Sprintf("the %s PEM is empty", what)}
	case text[0] == 0x30: // an ASN.1 SEQUENCE
		return nil, []string{fmt.Sprintf("the %s is DER or PKCS #12, not PEM: convert it with openssl", what)}
	}
	begun := bytes.Count(text, []byte("-----BEGIN "))
	if begun == 0 {
		return nil, []string{fmt.Sprintf("the %s is not PEM: it holds no line \"-----BEGIN …-----\"", what)}
	}
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		blocks = append(blocks, block)
	}
	if len(blocks) != begun {
		problems = append(problems, fmt.Sprintf("only %d of %d blocks of the %s PEM can be read: it is damaged, or still being written",
			len(blocks), begun, what))
	}
	return blocks, problems
}
