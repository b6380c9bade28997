package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

// Marshal writes the authority, its private key included, as PEM for [Load].
// Whoever reads it can issue certificates: keep it where only the authority can
// read it.
func (a *Authority) Marshal() ([]byte, error) {
	key, err := privateKeyPEM(a.key)
	if err != nil {
		return nil, err
	}
	return append(a.CertificatePEM(), key...), nil
}

// Load reads what [Authority.Marshal] wrote. An authority that was itself issued
// by another gives its own certificate along with its leaves, and nothing above
// it, so its issuer must be a root. The error tells everything that is wrong at
// once, an expired certificate included.
func Load(text []byte, options ...Option) (*Authority, error) {
	s := apply(options)
	certificate, key, problems := parse(text)
	if certificate != nil {
		if !certificate.BasicConstraintsValid || !certificate.IsCA || certificate.KeyUsage&x509.KeyUsageCertSign == 0 {
			problems = append(problems, errors.New("its certificate may not sign certificates: it is not a CA"))
		}
		if now := s.now(); now.After(certificate.NotAfter) {
			problems = append(problems, fmt.Errorf("its certificate expired on %s: make a new authority and have it trusted",
				rfc3339(certificate.NotAfter)))
		}
		if key != nil && !key.PublicKey.Equal(certificate.PublicKey) {
			problems = append(problems, errors.New("its key does not belong to its certificate"))
		}
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("authority cannot be loaded: %w", errors.Join(problems...))
	}
	return &Authority{certificate: certificate, key: key, settings: s}, nil
}

// parse takes exactly one certificate and one key. It quotes no error of a key's
// parser, so that no key can leak through an error.
func parse(text []byte) (certificate *x509.Certificate, key *ecdsa.PrivateKey, problems []error) {
	var certificates, keys int
	for rest := bytes.TrimSpace(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case certificateBlock:
			certificates++
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				problems = append(problems, fmt.Errorf("its certificate cannot be read: %w", err))
				continue
			}
			certificate = c
		case keyBlock:
			keys++
			k, _ := x509.ParsePKCS8PrivateKey(block.Bytes)
			p256, ok := k.(*ecdsa.PrivateKey)
			if !ok || p256.Curve != elliptic.P256() {
				problems = append(problems, errors.New("its key is not a PKCS #8 key on the curve P-256"))
				continue
			}
			key = p256
		default:
			problems = append(problems, fmt.Errorf("it holds a block of type %q that does not belong there", block.Type))
		}
	}
	if certificates != 1 || keys != 1 {
		problems = append(problems, fmt.Errorf("it must hold one certificate and one private key in PEM, and holds %d and %d",
			certificates, keys))
	}
	return certificate, key, problems
}

func certificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw})
}

func privateKeyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("marshal a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}
